// Owns the layout of vector files: columns id, source, text and vector (LIST<FLOAT>), metadata that names the model.
// Opens and streams them. Does not write them and knows no query.

import type { KeyValue, SchemaElement, SchemaTree } from 'hyparquet';
import type { Range } from '../../lib/range-set.ts';
import { badInput, type TextItem } from './list-item.ts';
import { openParquet, type ParquetFile, type ParquetRow } from './parquet-open.ts';

/** What made the vectors of a file; only vectors of equal makers are compared or merged. */
export type VectorMaker = {
  readonly modelId: string;
  readonly dims: number;
  /** Changes whenever the workload would give other vectors for the same text. */
  readonly workloadVersion: string;
};

export const MAX_DIMS = 65_536;
const FORMAT = 'embeddings-1';
const KEYS = {
  format: 'swarm.format',
  modelId: 'swarm.model_id',
  dims: 'swarm.dims',
  workloadVersion: 'swarm.workload_version',
  start: 'swarm.range_start',
} as const;

const STRING = {
  type: 'BYTE_ARRAY',
  converted_type: 'UTF8',
  logical_type: { type: 'STRING' },
  repetition_type: 'REQUIRED',
} as const;

/** The schema of every file: nothing is null. */
export const VECTOR_SCHEMA: SchemaElement[] = [
  { name: 'root', num_children: 4 },
  { name: 'id', ...STRING },
  { name: 'source', ...STRING },
  { name: 'text', ...STRING },
  {
    name: 'vector',
    converted_type: 'LIST',
    logical_type: { type: 'LIST' },
    repetition_type: 'REQUIRED',
    num_children: 1,
  },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  { name: 'element', type: 'FLOAT', repetition_type: 'REQUIRED' },
];

/** The footer's metadata; `start` is the index of a part's first item, absent in a merged file. */
export function toKeyValues(maker: VectorMaker, start?: number): KeyValue[] {
  const pairs = [
    { key: KEYS.format, value: FORMAT },
    { key: KEYS.modelId, value: maker.modelId },
    { key: KEYS.dims, value: String(maker.dims) },
    { key: KEYS.workloadVersion, value: maker.workloadVersion },
  ];
  return start === undefined ? pairs : [...pairs, { key: KEYS.start, value: String(start) }];
}

/** An open vector file. `close` it. */
export type VectorFile = AsyncDisposable & {
  readonly path: string;
  readonly maker: VectorMaker;
  readonly rowCount: number;
  /** Row ranges that are cheap to read together. */
  readonly groups: readonly Range[];
  /** Index of the first item in its stage when this is a part. */
  readonly start: number | undefined;
  /** Yields all vectors in order, `rows` of `dims` floats each time. The array is used again for the next ones. */
  vectors(): AsyncGenerator<{ readonly start: number; readonly rows: number; readonly values: Float32Array }>;
  /** The items of rows [start, end), without their vectors. */
  items(start: number, end: number): Promise<TextItem[]>;
};

/** Floats decoded at a time: they pass through JavaScript arrays of 8 bytes a number. */
const FLOATS_PER_READ = 512 * 1_024;

/** Opens a vector file; `bad-input` says why a file is none of ours, damaged or truncated. */
export async function openVectors(path: string): Promise<VectorFile> {
  const file = await openParquet(path);
  try {
    const { maker, start } = readMaker(file);
    checkColumns(file);
    return {
      path,
      maker,
      start,
      rowCount: file.rowCount,
      groups: file.groups,
      vectors: () => streamVectors(file, maker.dims),
      items: async (from, to) =>
        (await file.readRows(from, to, ['id', 'source', 'text'])).map((row) => toItem(path, row)),
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    };
  } catch (cause) {
    await file[Symbol.asyncDispose]();
    throw cause;
  }
}

function readMaker({ path, metadata }: ParquetFile): { maker: VectorMaker; start: number | undefined } {
  const format = metadata.get(KEYS.format);
  const [modelId, workloadVersion] = [metadata.get(KEYS.modelId), metadata.get(KEYS.workloadVersion)];
  const dims = toWhole(metadata.get(KEYS.dims), MAX_DIMS);
  if (format === undefined || !modelId || !workloadVersion || !dims) {
    throw badInput(`${path} names no model: it is no file of the embeddings workload; name one that it wrote`);
  }
  if (format !== FORMAT)
    throw badInput(`${path} has the format "${format}", not ${FORMAT}; use the version that wrote it`);
  const text = metadata.get(KEYS.start);
  const start = text === undefined ? undefined : toWhole(text, Number.MAX_SAFE_INTEGER);
  if (text !== undefined && start === undefined)
    throw badInput(`${path} has the range start "${text}"; make the part again`);
  return { maker: { modelId, dims, workloadVersion }, start };
}

function toWhole(text: string | undefined, max: number): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}

function checkColumns({ path, columns }: ParquetFile): void {
  const found = columns.map(describe).join(', ');
  const wanted = 'id BYTE_ARRAY, source BYTE_ARRAY, text BYTE_ARRAY, vector LIST<FLOAT>';
  if (found !== wanted) throw badInput(`${path} has the columns ${found.slice(0, 300)}; expected ${wanted}`);
}

function describe({ element, children }: SchemaTree): string {
  const leaf = children[0]?.children[0]?.element.type;
  return `${element.name} ${element.type ?? (leaf ? `LIST<${leaf}>` : 'nested')}`;
}

async function* streamVectors(
  file: ParquetFile,
  dims: number,
): AsyncGenerator<{ start: number; rows: number; values: Float32Array }> {
  const most = Math.max(1, Math.floor(FLOATS_PER_READ / dims));
  const values = new Float32Array(most * dims);
  for (const group of file.groups) {
    for (let start = group.start; start < group.end; start += most) {
      const rows = await file.readRows(start, Math.min(start + most, group.end), ['vector']);
      for (const [i, row] of rows.entries()) values.set(toVector(file.path, start + i, row['vector'], dims), i * dims);
      yield { start, rows: rows.length, values: values.subarray(0, rows.length * dims) };
    }
  }
}

function toVector(path: string, row: number, value: unknown, dims: number): ArrayLike<number> {
  if (Array.isArray(value) && value.length === dims) return value;
  throw badInput(`${path} row ${row} holds no vector of ${dims} floats; make the file again`);
}

function toItem(path: string, { id, source, text }: ParquetRow): TextItem {
  if (typeof id === 'string' && typeof source === 'string' && typeof text === 'string') return { id, source, text };
  throw badInput(`${path} holds a row without id, source or text; make the file again`);
}
