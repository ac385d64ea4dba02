// Owns merging the parts of a stage into one file in item order, streamed: memory is one row group, whatever the number
// of parts. Does not fetch parts.

import type { Range } from '../../lib/range-set.ts';
import { SwarmError } from '../../protocol/errors.ts';
import { badInput, type TextItem } from './list-item.ts';
import { OutputFile } from './merge-output.ts';
import { openVectors, type VectorFile, type VectorMaker } from './parquet-vectors.ts';
import { rowsPerGroup, VectorWriter } from './parquet-write.ts';

/** A part's local file and the range of items it holds. */
export type MergePart = Range & { readonly path: string };

export type MergeRequest = {
  /** In item order. */
  readonly parts: readonly MergePart[];
  readonly outFile: string;
  /** What every part must have been made by; the first part's maker unless told. */
  readonly maker?: VectorMaker;
  /** Items of the stage: the parts must reach it. */
  readonly count?: number;
  /** Items that failed for good leave gaps; without this a gap is an error. */
  readonly allowGaps?: boolean;
  readonly onProgress?: (rows: number) => void;
  readonly signal?: AbortSignal;
};

/** `missing` counts the items in gaps. */
export type Merged = { readonly rows: number; readonly missing: number; readonly sizeBytes: number };

/**
 * Writes the merged file, which appears whole or not at all. Throws `bad-input` (output not writable or not ours to
 * replace; a part missing, damaged, of another model or range), `disk-full` or `canceled`. The output is checked first,
 * then every part's footer, then rows are read.
 */
export async function mergeParts(request: MergeRequest): Promise<Merged> {
  await using output = await reserveOutput(request.outFile);
  const { maker, missing } = await checkParts(request);
  const writer = new VectorWriter(output, maker);
  const group = new GroupBuffer(writer, maker.dims);
  for (const { path } of request.parts) {
    await using part = await openVectors(path);
    await copyPart(part, group, request.signal);
    request.onProgress?.(group.rows);
  }
  group.flush();
  writer.finish();
  return { rows: group.rows, missing, sizeBytes: await output.commit() };
}

/** For a caller that starts hours of work: throws now what `mergeParts` would throw about the output. */
export async function checkOutput(outFile: string): Promise<void> {
  const output = await reserveOutput(outFile);
  await output[Symbol.asyncDispose]();
}

async function reserveOutput(outFile: string): Promise<OutputFile> {
  const output = await OutputFile.reserve(outFile);
  try {
    await checkReplaceable(outFile);
  } catch (cause) {
    await output[Symbol.asyncDispose]();
    throw cause;
  }
  return output;
}

/** An earlier result is replaced; another file of the person's is not. */
async function checkReplaceable(outFile: string): Promise<void> {
  try {
    const earlier = await openVectors(outFile);
    await earlier[Symbol.asyncDispose]();
  } catch (cause) {
    if (cause instanceof SwarmError && isAbsent(cause)) return;
    throw badInput(
      `${outFile} exists and is no result of ours, so it is not replaced; remove it or name another output`,
      cause,
    );
  }
}

function isAbsent({ cause }: SwarmError): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}

async function checkParts(request: MergeRequest): Promise<{ maker: VectorMaker; missing: number }> {
  let maker = request.maker;
  let [next, missing] = [0, 0];
  for (const range of request.parts) {
    await using part = await openVectors(range.path);
    checkRange(part, range);
    maker ??= part.maker;
    checkMaker(part, maker);
    missing += gapBefore(range, next, request);
    next = range.end;
  }
  if (maker === undefined) throw badInput(`there are no parts to write to ${request.outFile}; run the stage again`);
  const count = request.count ?? next;
  missing += gapBefore({ start: count, end: count, path: 'the end' }, next, request);
  return { maker, missing };
}

function checkRange({ path, start, rowCount }: VectorFile, range: Range): void {
  if (start === range.start && rowCount === range.end - range.start) return;
  const holds = `holds ${rowCount} items from ${start ?? 'an unknown one'}`;
  throw badInput(`part ${path} ${holds}, not items ${range.start} to ${range.end}; make the part again`);
}

function gapBefore({ path, start }: MergePart, next: number, { allowGaps = false }: MergeRequest): number {
  if (start === next || (allowGaps && start > next)) return start - next;
  if (start > next) throw badInput(`items ${next} to ${start} are missing before ${path}; make them again`);
  throw badInput(
    `the part that ends at item ${next} overlaps ${path}, which begins at ${start}; give parts in item order`,
  );
}

function checkMaker({ path, maker }: VectorFile, wanted: VectorMaker): void {
  for (const key of ['modelId', 'dims', 'workloadVersion'] as const) {
    if (maker[key] === wanted[key]) continue;
    throw badInput(`part ${path} has ${key} ${maker[key]}, but the result has ${wanted[key]}; make the part again`);
  }
}

async function copyPart(part: VectorFile, group: GroupBuffer, signal?: AbortSignal): Promise<void> {
  for await (const { start, rows, values } of part.vectors()) {
    if (signal?.aborted) throw new SwarmError('canceled', `merging was canceled in part ${part.path}`);
    group.add(await part.items(start, start + rows), values);
  }
}

/** Gathers rows of many small parts into row groups of one size. */
class GroupBuffer {
  readonly #writer: VectorWriter;
  readonly #dims: number;
  readonly #most: number;
  readonly #vectors: Float32Array;
  #items: TextItem[] = [];
  /** Rows taken so far. */
  rows = 0;

  constructor(writer: VectorWriter, dims: number) {
    this.#writer = writer;
    this.#dims = dims;
    this.#most = rowsPerGroup(dims);
    this.#vectors = new Float32Array(this.#most * dims);
  }

  add(items: readonly TextItem[], vectors: Float32Array): void {
    for (let from = 0; from < items.length;) {
      const to = Math.min(items.length, from + this.#most - this.#items.length);
      this.#vectors.set(vectors.subarray(from * this.#dims, to * this.#dims), this.#items.length * this.#dims);
      this.#items.push(...items.slice(from, to));
      if (this.#items.length === this.#most) this.flush();
      from = to;
    }
    this.rows += items.length;
  }

  flush(): void {
    if (this.#items.length === 0) return;
    this.#writer.writeGroup({
      items: this.#items,
      vectors: this.#vectors.subarray(0, this.#items.length * this.#dims),
    });
    this.#items = [];
  }
}
