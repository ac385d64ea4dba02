// Owns answering queries from a vector file: a flat scan by dot product, streamed. Vectors are unit vectors, so a score
// is a cosine. Knows no model, only the Encoder port.

import { defined } from '../../lib/assert.ts';
import { SwarmError } from '../../protocol/errors.ts';
import type { Encoder } from './encoder-port.ts';
import { badInput, type TextItem } from './list-item.ts';
import { normaliseText } from './normalise.ts';
import { openVectors, type VectorFile } from './parquet-vectors.ts';

/** An item that matches, and its cosine with the query, from -1 to 1. */
export type QueryHit = TextItem & { readonly score: number };

/** Vectors of one model: `vectors.length / dims` queries, row-major. */
export type QueryVectors = { readonly modelId: string; readonly dims: number; readonly vectors: Float32Array };

export const MAX_HITS = 1_000;
export const MAX_QUERIES = 100;

type Scored = { readonly row: number; readonly score: number };

/**
 * The `k` best items for each query, best first, equal scores in file order. One scan answers all queries. Throws
 * `bad-input` when the file is not ours, damaged, or of another model.
 */
export async function queryVectors(path: string, queries: QueryVectors, k: number): Promise<QueryHit[][]> {
  if (!Number.isInteger(k) || k < 1 || k > MAX_HITS)
    throw badInput(`k is ${k}; it must be a whole number from 1 to ${MAX_HITS}`);
  await using file = await openVectors(path);
  const wanted = checkQueries(file, queries);
  const best = wanted.map(() => new TopK(k));
  for await (const { start, rows, values } of file.vectors()) {
    for (const [i, query] of wanted.entries()) scan(best[i] as TopK, query, start, rows, values);
  }
  const hits: QueryHit[][] = [];
  for (const { scored } of best) hits.push(await readHits(file, scored));
  return hits;
}

/** As `queryVectors`, for texts: normalised as items are, embedded in one call. */
export async function queryTexts(
  path: string,
  encoder: Encoder,
  texts: readonly string[],
  k: number,
): Promise<QueryHit[][]> {
  const normalised = texts.map((text) => normaliseText(text));
  const empty = normalised.indexOf('');
  if (empty >= 0) throw badInput(`query ${empty + 1} holds no text; write what to look for`);
  await checkModel(path, encoder);
  const vectors = await encoder.embed(normalised);
  return await queryVectors(path, { modelId: encoder.modelId, dims: encoder.dims, vectors }, k);
}

/** The model a vector file was made with, for choosing the encoder. Throws `bad-input` as `queryVectors` does. */
export async function readVectorInfo(
  path: string,
): Promise<{ modelId: string; dims: number; workloadVersion: string; rowCount: number }> {
  await using file = await openVectors(path);
  return { ...file.maker, rowCount: file.rowCount };
}

async function checkModel(path: string, encoder: Pick<Encoder, 'modelId' | 'dims'>): Promise<void> {
  await using file = await openVectors(path);
  checkQueries(file, { modelId: encoder.modelId, dims: encoder.dims, vectors: new Float32Array(encoder.dims) });
}

function checkQueries({ path, maker }: VectorFile, { modelId, dims, vectors }: QueryVectors): Float32Array[] {
  if (modelId !== maker.modelId) {
    throw badInput(
      `${path} was made with model ${maker.modelId}, but the query uses ${modelId}; query with that model or embed again`,
    );
  }
  if (dims !== maker.dims || vectors.length % dims !== 0 || vectors.length === 0) {
    throw badInput(`${path} holds vectors of ${maker.dims} floats; the query has ${vectors.length} floats of ${dims}`);
  }
  const count = vectors.length / dims;
  if (count > MAX_QUERIES) throw badInput(`${count} queries at once; at most ${MAX_QUERIES}`);
  if (vectors.some((value) => !Number.isFinite(value))) {
    throw new SwarmError('runner-failed', 'the vector of a query is not finite; check the model');
  }
  return Array.from({ length: count }, (_, i) => vectors.subarray(i * dims, (i + 1) * dims));
}

function scan(best: TopK, query: Float32Array, start: number, rows: number, values: Float32Array): void {
  const dims = query.length;
  for (let row = 0, at = 0; row < rows; row++) {
    let score = 0;
    for (let d = 0; d < dims; d++, at++) score += (query[d] as number) * (values[at] as number);
    best.offer(start + row, score);
  }
}

/** Reads each row group that holds hits once, from its first hit to its last. */
async function readHits(file: VectorFile, scored: readonly Scored[]): Promise<QueryHit[]> {
  const items = new Map<number, TextItem>();
  for (const { start, end } of file.groups) {
    const rows = scored.map(({ row }) => row).filter((row) => row >= start && row < end);
    if (rows.length === 0) continue;
    const first = Math.min(...rows);
    const read = await file.items(first, Math.max(...rows) + 1);
    for (const row of rows) items.set(row, defined(read[row - first], `row ${row}`));
  }
  return scored.map(({ row, score }) => ({ ...defined(items.get(row), `row ${row}`), score }));
}

/** The best `k` of what is offered in row order; sorted, because k is small. */
class TopK {
  readonly #k: number;
  readonly scored: Scored[] = [];

  constructor(k: number) {
    this.#k = k;
  }

  offer(row: number, score: number): void {
    const last = this.scored.at(-1);
    if (this.scored.length === this.#k && last !== undefined && score <= last.score) return;
    let at = this.scored.length;
    while (at > 0 && (this.scored[at - 1] as Scored).score < score) at--;
    this.scored.splice(at, 0, { row, score });
    if (this.scored.length > this.#k) this.scored.pop();
  }
}
