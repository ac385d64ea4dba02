// Owns turning token vectors into one unit vector a text. Pure.

import type { Pooling } from './model-folder.ts';

type TokenVectors = {
  /** [texts, tokens, dims], row-major. */
  readonly values: Float32Array;
  readonly tokens: number;
  readonly dims: number;
};

/** Pools the first `lengths[i]` tokens of each text; the others are padding. Rows are not yet of length 1. */
export function poolTokens(vectors: TokenVectors, lengths: readonly number[], pooling: Pooling): Float32Array {
  const pooled = new Float32Array(lengths.length * vectors.dims);
  for (const [text, length] of lengths.entries()) {
    const row = pooled.subarray(text * vectors.dims, (text + 1) * vectors.dims);
    const [from, to] = tokenRange(pooling, length);
    for (let token = from; token < to; token += 1)
      addToken(row, vectors, text * vectors.tokens + token, pooling, token === from);
    if (pooling === 'mean' && to > from) for (const [at, value] of row.entries()) row[at] = value / (to - from);
  }
  return pooled;
}

function tokenRange(pooling: Pooling, length: number): [from: number, to: number] {
  if (pooling === 'cls') return [0, Math.min(1, length)];
  if (pooling === 'lasttoken') return [Math.max(0, length - 1), length];
  return [0, length];
}

function addToken(
  row: Float32Array,
  { values, dims }: TokenVectors,
  token: number,
  pooling: Pooling,
  first: boolean,
): void {
  const offset = token * dims;
  for (let at = 0; at < dims; at += 1) {
    const value = values[offset + at] ?? 0;
    const before = row[at] ?? 0;
    row[at] = pooling === 'max' ? (first ? value : Math.max(before, value)) : before + value;
  }
}

/** Scales each row to length 1, in place. A row of zeros stays one. */
export function normalizeRows(rows: Float32Array, dims: number): Float32Array {
  for (let from = 0; from < rows.length; from += dims) {
    const row = rows.subarray(from, from + dims);
    const norm = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
    if (norm > 0) for (const [at, value] of row.entries()) row[at] = value / norm;
  }
  return rows;
}
