// Owns writing vector files: row groups to any byte sink, and the part of one range as bytes. The same rows give the
// same bytes. Does not know where the bytes go.

import type { ColumnChunk } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { writeColumn } from 'hyparquet-writer/src/column.js';
import { snappyCompress } from 'hyparquet-writer/src/snappy.js';
import { assert } from '../../lib/assert.ts';
import { SwarmError } from '../../protocol/errors.ts';
import type { TextItem } from './list-item.ts';
import { toKeyValues, VECTOR_SCHEMA, type VectorMaker } from './parquet-vectors.ts';

/** Rows of a full row group; at 512 dimensions about 20 MB of vectors. */
export const ROW_GROUP_ROWS = 10_000;
/** Keeps a row group of long vectors in memory's bounds. */
const ROW_GROUP_FLOATS = 8 * 1_024 * 1_024;
const PAGE_BYTES = 1_024 * 1_024;

/** How many rows of `dims` floats one row group takes. */
export function rowsPerGroup(dims: number): number {
  return Math.max(1, Math.min(ROW_GROUP_ROWS, Math.floor(ROW_GROUP_FLOATS / dims)));
}

/** Items and their vectors, row-major. */
export type VectorRows = { readonly items: readonly TextItem[]; readonly vectors: Float32Array };

/**
 * Writes row groups and the footer. Encodes columns itself, with what ParquetWriter is made of: handing it the vectors
 * as rows costs 17 times the time and 8 times the memory.
 */
export class VectorWriter {
  readonly #writer: ByteWriter;
  readonly #parquet: ParquetWriter;
  readonly #dims: number;

  /** Writes the header. `start` is the part's first item, see `toKeyValues`. */
  constructor(writer: ByteWriter, maker: VectorMaker, start?: number) {
    this.#writer = writer;
    this.#dims = maker.dims;
    const kvMetadata = toKeyValues(maker, start);
    this.#parquet = new ParquetWriter({ writer, schema: VECTOR_SCHEMA, kvMetadata, createdBy: 'backyard-swarm' });
  }

  /** Writes one row group. Throws `runner-failed` when a vector is not finite. */
  writeGroup({ items, vectors }: VectorRows): void {
    assert(
      items.length > 0 && vectors.length === items.length * this.#dims,
      `${vectors.length} floats for ${items.length} items`,
    );
    checkFinite(items, vectors, this.#dims);
    const offset = this.#writer.offset;
    const columns = [
      this.#writeStrings(
        1,
        items.map(({ id }) => id),
      ),
      this.#writeStrings(
        2,
        items.map(({ source }) => source),
      ),
      this.#writeStrings(
        3,
        items.map(({ text }) => text),
      ),
      this.#writeVectors(items.length, vectors),
    ];
    const rows = BigInt(items.length);
    this.#parquet.num_rows += rows;
    this.#parquet.row_groups.push({
      columns,
      num_rows: rows,
      total_byte_size: columns.reduce((sum, { meta_data: meta }) => sum + (meta?.total_uncompressed_size ?? 0n), 0n),
      total_compressed_size: BigInt(this.#writer.offset - offset),
    });
  }

  /** Writes the footer; nothing may follow. */
  finish(): void {
    void this.#parquet.finish();
  }

  #writeStrings(index: number, values: string[]): ColumnChunk {
    const pageData = { values, definitionLevels: [], repetitionLevels: [], maxDefinitionLevel: 0 };
    return this.#write([VECTOR_SCHEMA[0], VECTOR_SCHEMA[index]], 'SNAPPY', pageData);
  }

  #writeVectors(rows: number, values: Float32Array): ColumnChunk {
    // Levels say which floats begin a row. Bytes instead of the declared number[] save 7/8 of their memory.
    const repetitionLevels = new Uint8Array(values.length).fill(1);
    for (let row = 0; row < rows; row++) repetitionLevels[row * this.#dims] = 0;
    const definitionLevels = new Uint8Array(values.length).fill(1);
    const levels = { definitionLevels, repetitionLevels } as unknown as {
      definitionLevels: number[];
      repetitionLevels: number[];
    };
    const path = [VECTOR_SCHEMA[0], ...VECTOR_SCHEMA.slice(4)];
    return this.#write(path, 'UNCOMPRESSED', { values, ...levels, maxDefinitionLevel: 1 }, 'PLAIN');
  }

  #write(
    path: (SchemaElement | undefined)[],
    codec: 'SNAPPY' | 'UNCOMPRESSED',
    pageData: PageData,
    encoding?: 'PLAIN',
  ): ColumnChunk {
    const schemaPath = path.filter((element) => element !== undefined);
    const element = schemaPath.at(-1);
    assert(element, 'a column without an element');
    const written = writeColumn({
      writer: this.#writer,
      column: {
        columnName: schemaPath
          .slice(1)
          .map(({ name }) => name)
          .join('.'),
        element,
        schemaPath,
        codec,
        compressors: { SNAPPY: snappyCompress },
        stats: false,
        pageSize: PAGE_BYTES,
        columnIndex: false,
        offsetIndex: true,
        ...(encoding && { encoding }),
      },
      pageData,
    });
    this.#parquet.pendingIndexes.push(written);
    return written.chunk;
  }
}

type PageData = Parameters<typeof writeColumn>[0]['pageData'];
type SchemaElement = (typeof VECTOR_SCHEMA)[number];

/** One NaN would poison every query of the file. */
function checkFinite(items: readonly TextItem[], vectors: Float32Array, dims: number): void {
  const bad = vectors.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  const item = items[Math.floor(bad / dims)];
  throw new SwarmError(
    'runner-failed',
    `the vector of item ${item?.id} is not finite; run the item again on another device`,
  );
}

/** The part of one range as bytes. `start` is the index of its first item in the stage. Throws `runner-failed`. */
export function writePart(maker: VectorMaker, start: number, { items, vectors }: VectorRows): Uint8Array {
  const bytes = new ByteWriter();
  const writer = new VectorWriter(bytes, maker, start);
  const most = rowsPerGroup(maker.dims);
  for (let i = 0; i < items.length; i += most) {
    const group = items.slice(i, i + most);
    writer.writeGroup({ items: group, vectors: vectors.subarray(i * maker.dims, (i + group.length) * maker.dims) });
  }
  writer.finish();
  return bytes.getBytes().slice();
}
