// Owns the form of an item list: chunks of JSON Lines and an index whose hash is the list's name. Does not store or
// fetch anything, and does not know what an item means.

import { z } from 'zod';
import { MIB } from '../lib/byte-sizes.ts';
import type { ArtifactId } from '../lib/ids.ts';
import { artifactIdSchema, countSchema } from '../protocol/names.ts';
import { SwarmError } from '../protocol/errors.ts';

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };

export const MAX_CHUNK_ITEMS = 4_096;
export const MAX_CHUNK_BYTES = MIB;
/** About 100,000 chunks: 400 million items, or 100 GB of them. */
export const MAX_INDEX_BYTES = 16 * MIB;
export const MAX_LIST_CHUNKS = 100_000;

const chunkSchema = z.strictObject({
  hash: artifactIdSchema,
  /** Index of its first item. */
  start: countSchema,
  count: z.int().min(1).max(MAX_CHUNK_ITEMS),
  sizeBytes: z.int().min(1).max(MAX_CHUNK_BYTES),
});

const indexSchema = z.strictObject({
  v: z.literal(1),
  count: countSchema,
  chunks: z.array(chunkSchema).max(MAX_LIST_CHUNKS),
});

export type ItemChunk = Readonly<z.infer<typeof chunkSchema>>;
export type ItemIndex = { readonly v: 1; readonly count: number; readonly chunks: readonly ItemChunk[] };

/** The index as bytes; equal lists have equal bytes (keys in fixed order, no spaces). */
export function toIndexBytes({ count, chunks }: ItemIndex): Uint8Array {
  const plain = chunks.map((chunk) => ({
    count: chunk.count,
    hash: chunk.hash,
    sizeBytes: chunk.sizeBytes,
    start: chunk.start,
  }));
  return new TextEncoder().encode(JSON.stringify({ chunks: plain, count, v: 1 }));
}

/** Parses an index whose hash was verified. Throws `bad-input` when it is none, or its chunks leave gaps. */
export function parseIndex(root: ArtifactId, bytes: Uint8Array): ItemIndex {
  const parsed = indexSchema.safeParse(parseJson(bytes));
  if (!parsed.success) throw notAnIndex(root, z.prettifyError(parsed.error).slice(0, 300));
  let next = 0;
  for (const [i, { start, count }] of parsed.data.chunks.entries()) {
    if (start !== next) throw notAnIndex(root, `chunk ${i} begins at item ${start}, not ${next}`);
    next += count;
  }
  if (next !== parsed.data.count) throw notAnIndex(root, `its chunks hold ${next} items of ${parsed.data.count}`);
  return parsed.data;
}

function notAnIndex(root: ArtifactId, what: string): SwarmError {
  return new SwarmError('bad-input', `${root} is no index of an item list: ${what}; submit the job again`);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

/** Parses a chunk whose hash was verified; one value per line. Throws `bad-input` when it holds anything else. */
export function parseChunk(chunk: ItemChunk, bytes: Uint8Array): unknown[] {
  const fail = (what: string): SwarmError =>
    new SwarmError('bad-input', `chunk ${chunk.hash} of an item list ${what}; submit the job again`);
  if (bytes.at(-1) !== 0x0a) throw fail('does not end with a line end');
  const lines = bytes.reduce((sum, byte) => (byte === 0x0a ? sum + 1 : sum), 0);
  if (lines !== chunk.count) throw fail(`holds ${lines} lines, not ${chunk.count}`);
  const items: unknown[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(0x0a, start);
    const item = parseJson(bytes.subarray(start, end));
    if (item === undefined) throw fail(`holds no JSON in line ${items.length + 1}`);
    items.push(item);
    start = end + 1;
  }
  return items;
}
