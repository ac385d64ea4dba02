// Owns opening a Parquet file: whole or clearly refused, its footer checked against the file before anything is read.
// Reads rows of chosen columns. Knows no column's meaning.

import { open, type FileHandle } from 'node:fs/promises';
import { parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet';
import type { AsyncBuffer, FileMetaData, ParquetParsers, RowGroup, SchemaTree } from 'hyparquet';
import { GIB, MIB } from '../../lib/byte-sizes.ts';
import { SwarmError } from '../../protocol/errors.ts';
import { badInput, errnoOf, toReadFailure } from './list-item.ts';

/** `PAR1`, at both ends of a file. */
const MAGIC = 0x31524150;
const SMALLEST_FILE_BYTES = 12;
/** A footer names every column of every row group: this is one of about 100,000 row groups. */
const MAX_FOOTER_BYTES = 64 * MIB;
/** One read of columns is held in memory. */
const MAX_READ_BYTES = GIB / 4;
const MAX_ROWS_PER_GROUP = 10_000_000;
const CODECS: ReadonlySet<string> = new Set(['UNCOMPRESSED', 'SNAPPY']);

export type ParquetRow = Readonly<Record<string, unknown>>;

/** An open file. `close` it. */
export type ParquetFile = AsyncDisposable & {
  readonly path: string;
  readonly rowCount: number;
  readonly groups: readonly ParquetGroup[];
  /** Top-level columns in order. */
  readonly columns: readonly SchemaTree[];
  /** Key-value metadata of the footer. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Rows [start, end) of the named columns; throws `bad-input` when the pages are damaged. */
  readRows(start: number, end: number, columns: readonly string[]): Promise<ParquetRow[]>;
};

export type ParquetGroup = { readonly start: number; readonly end: number; readonly group: RowGroup };

/** Opens a file; `bad-input` says whether it is no Parquet, empty, truncated, or of a kind that is not read. */
export async function openParquet(path: string, parsers?: Partial<ParquetParsers>): Promise<ParquetFile> {
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw toReadFailure(path, cause);
  });
  try {
    return await readFooter(path, handle, parsers);
  } catch (cause) {
    await handle.close();
    if (cause instanceof SwarmError || errnoOf(cause) !== undefined) throw toReadFailure(path, cause);
    throw damaged(path, 'its footer cannot be read', cause);
  }
}

async function readFooter(path: string, handle: FileHandle, parsers?: Partial<ParquetParsers>): Promise<ParquetFile> {
  const { size } = await handle.stat();
  await checkEnds(path, handle, size);
  const file = toBuffer(path, handle, size);
  const metadata = await parquetMetadataAsync(file, { geoparquet: false });
  const groups = toGroups(path, metadata, size);
  const columns = parquetSchema(metadata).children;
  const readRows = (start: number, end: number, names: readonly string[]): Promise<ParquetRow[]> =>
    readObjects({ path, file, metadata, groups, ...(parsers && { parsers }) }, start, end, names);
  return {
    path,
    rowCount: groups.at(-1)?.end ?? 0,
    groups,
    columns,
    metadata: new Map(metadata.key_value_metadata?.map(({ key, value }) => [key, value ?? ''])),
    readRows,
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

/** A truncated file has lost its end, an empty one everything; both are told apart from a file of another kind. */
async function checkEnds(path: string, handle: FileHandle, sizeBytes: number): Promise<void> {
  if (sizeBytes === 0) throw badInput(`${path} is empty (0 bytes), not Parquet; write it again`);
  const head = await readAt(handle, 0, Math.min(4, sizeBytes));
  if (sizeBytes < 4 || head.readUInt32LE() !== MAGIC) {
    throw badInput(`${path} is not Parquet: it does not begin with PAR1; give it its right ending or leave it out`);
  }
  if (sizeBytes < SMALLEST_FILE_BYTES) throw damaged(path, `it ends after ${sizeBytes} bytes, so it is truncated`);
  const tail = await readAt(handle, sizeBytes - 8, 8);
  if (tail.readUInt32LE(4) !== MAGIC) throw damaged(path, 'it does not end with PAR1, so it is truncated');
  const footerBytes = tail.readUInt32LE();
  if (footerBytes > Math.min(MAX_FOOTER_BYTES, sizeBytes - SMALLEST_FILE_BYTES)) {
    throw damaged(path, `its footer claims ${footerBytes} of ${sizeBytes} bytes`);
  }
}

function damaged(path: string, what: string, cause?: unknown): SwarmError {
  return badInput(`${path} is a damaged Parquet file: ${what}; copy or write it again`, cause);
}

async function readAt(handle: FileHandle, start: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, start + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

function toBuffer(path: string, handle: FileHandle, sizeBytes: number): AsyncBuffer {
  return {
    byteLength: sizeBytes,
    slice: async (start, end = sizeBytes) => {
      if (start < 0 || end > sizeBytes || start > end) throw damaged(path, `it names bytes ${start} to ${end}`);
      const bytes = await readAt(handle, start, end - start).catch((cause: unknown) => {
        throw toReadFailure(path, cause);
      });
      if (bytes.length < end - start) throw damaged(path, 'it became shorter while it was read');
      const copy = new ArrayBuffer(bytes.length);
      new Uint8Array(copy).set(bytes);
      return copy;
    },
  };
}

function toGroups(path: string, metadata: FileMetaData, sizeBytes: number): ParquetGroup[] {
  let start = 0;
  const groups = metadata.row_groups.map((group, i) => {
    const rows = Number(group.num_rows);
    if (!(rows >= 0 && rows <= MAX_ROWS_PER_GROUP)) throw damaged(path, `row group ${i} claims ${rows} rows`);
    for (const column of group.columns) checkChunk(path, i, column, sizeBytes);
    start += rows;
    return { start: start - rows, end: start, group };
  });
  if (start !== Number(metadata.num_rows)) throw damaged(path, `its groups hold ${start} of ${metadata.num_rows} rows`);
  return groups;
}

function checkChunk(path: string, group: number, column: RowGroup['columns'][number], sizeBytes: number): void {
  const meta = column.meta_data;
  if (!meta || column.file_path) throw badInput(`${path} keeps its columns in other files; write it as one file`);
  const start = Number(meta.dictionary_page_offset ?? meta.data_page_offset);
  const end = start + Number(meta.total_compressed_size);
  if (!(start >= 4 && end >= start && end <= sizeBytes)) {
    throw damaged(path, `row group ${group} names bytes ${start} to ${end} of ${sizeBytes}`);
  }
}

type Source = {
  readonly path: string;
  readonly file: AsyncBuffer;
  readonly metadata: FileMetaData;
  readonly groups: readonly ParquetGroup[];
  readonly parsers?: Partial<ParquetParsers>;
};

async function readObjects(
  source: Source,
  start: number,
  end: number,
  columns: readonly string[],
): Promise<ParquetRow[]> {
  const { path, file, metadata, groups, parsers } = source;
  checkReadable(path, groups, start, end, columns);
  const range = { rowStart: start, rowEnd: end, columns: [...columns] };
  try {
    // The offset index lets a read of a few rows decode the pages that hold them, not the whole row group.
    const options = { file, metadata, ...range, useOffsetIndex: true, ...(parsers && { parsers }) };
    return await parquetReadObjects(options);
  } catch (cause) {
    if (cause instanceof SwarmError) throw cause;
    const reason = cause instanceof Error ? cause.message.slice(0, 200) : String(cause);
    throw damaged(path, `rows ${start} to ${end} of ${columns.join(', ')} cannot be decoded (${reason})`, cause);
  }
}

function checkReadable(
  path: string,
  groups: readonly ParquetGroup[],
  start: number,
  end: number,
  columns: readonly string[],
): void {
  for (const [i, { start: groupStart, end: groupEnd, group }] of groups.entries()) {
    if (groupEnd <= start || groupStart >= end) continue;
    for (const { meta_data: meta } of group.columns) {
      if (!meta || !columns.includes(meta.path_in_schema[0] ?? '')) continue;
      const sizeBytes = Number(meta.total_uncompressed_size);
      if (sizeBytes > MAX_READ_BYTES) {
        const what = `row group ${i} holds ${sizeBytes} bytes of ${meta.path_in_schema[0]}`;
        throw badInput(`${path} ${what}; write it with smaller row groups (for pyarrow: row_group_size=10000)`);
      }
      if (!CODECS.has(meta.codec)) {
        const what = `column ${meta.path_in_schema[0]} is compressed with ${meta.codec}`;
        throw badInput(`${path} ${what}; only snappy and none are read: write it with compression="snappy"`);
      }
    }
  }
}
