// Owns reading ranges of an item list: only the chunks a range needs are fetched, and nothing is used before its hash
// is verified (INV-6). Does not know where bytes come from.

import type { ArtifactId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import { SwarmError } from '../protocol/errors.ts';
import {
  MAX_CHUNK_BYTES,
  MAX_INDEX_BYTES,
  parseChunk,
  parseIndex,
  type ItemChunk,
  type ItemIndex,
} from './item-list.ts';
import { hashBytes } from './objects-hash.ts';

/** Gets bytes by name from anyone, trusted or not. An implementation may stop once more than `maxBytes` have come. */
export type FetchBytes = (id: ArtifactId, maxBytes: number) => Promise<Uint8Array>;

/** A verified index and at most one verified chunk in memory. */
export class ItemListReader {
  readonly root: ArtifactId;
  readonly #index: ItemIndex;
  readonly #fetch: FetchBytes;
  #held: { readonly chunk: ItemChunk; readonly items: readonly unknown[] } | undefined;

  private constructor(root: ArtifactId, index: ItemIndex, fetch: FetchBytes) {
    this.root = root;
    this.#index = index;
    this.#fetch = fetch;
  }

  /** Fetches and verifies the index. Throws `hash-mismatch`, `too-large` or `bad-input`, and what `fetch` throws. */
  static async open(root: ArtifactId, fetch: FetchBytes): Promise<ItemListReader> {
    const bytes = await fetchVerified(fetch, root, MAX_INDEX_BYTES);
    return new ItemListReader(root, parseIndex(root, bytes), fetch);
  }

  /** Number of items in the list. */
  get count(): number {
    return this.#index.count;
  }

  /** Yields the items of [start, end) in order. Throws `bad-request` for a range outside the list, and as `open` does. */
  async *items({ start, end }: Range): AsyncGenerator {
    const isWithin =
      Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start <= end && end <= this.count;
    if (!isWithin) {
      throw new SwarmError(
        'bad-request',
        `items ${start} to ${end} are not within ${this.root}, which has ${this.count}`,
      );
    }
    for (let i = this.#findChunk(start), next = start; next < end; i++) {
      const chunk = this.#index.chunks[i] as ItemChunk;
      const items = await this.#readChunk(chunk);
      yield* items.slice(next - chunk.start, end - chunk.start);
      next = chunk.start + chunk.count;
    }
  }

  /** The index of the last chunk that begins at or before an item. */
  #findChunk(item: number): number {
    let [low, high] = [0, this.#index.chunks.length];
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((this.#index.chunks[middle] as ItemChunk).start <= item) low = middle;
      else high = middle;
    }
    return low;
  }

  /** Neighbouring ranges share a chunk, so the last one is kept. */
  async #readChunk(chunk: ItemChunk): Promise<readonly unknown[]> {
    if (this.#held?.chunk === chunk) return this.#held.items;
    const bytes = await fetchVerified(this.#fetch, chunk.hash, Math.min(chunk.sizeBytes, MAX_CHUNK_BYTES));
    if (bytes.length !== chunk.sizeBytes) {
      const what = `chunk ${chunk.hash} has ${bytes.length} bytes, its index says ${chunk.sizeBytes}`;
      throw new SwarmError('hash-mismatch', `${what}; submit the job again`);
    }
    const items = parseChunk(chunk, bytes);
    this.#held = { chunk, items };
    return items;
  }
}

async function fetchVerified(fetch: FetchBytes, id: ArtifactId, maxBytes: number): Promise<Uint8Array> {
  const bytes = await fetch(id, maxBytes);
  if (bytes.length > maxBytes) {
    throw new SwarmError(
      'hash-mismatch',
      `${id} came with ${bytes.length} bytes, at most ${maxBytes} were expected; fetch it elsewhere`,
    );
  }
  const actual = hashBytes(bytes);
  if (actual === id) return bytes;
  throw new SwarmError('hash-mismatch', `${id} came with other content (${actual}); fetch it from another peer`);
}
