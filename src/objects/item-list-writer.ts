// Owns writing an item list as a stream: one open chunk is held, sealed ones are handed on. Does not know where to.

import type { ArtifactId } from '../lib/ids.ts';
import { toCanonicalBytes } from '../protocol/canonical.ts';
import { SwarmError } from '../protocol/errors.ts';
import {
  MAX_CHUNK_BYTES,
  MAX_CHUNK_ITEMS,
  MAX_LIST_CHUNKS,
  toIndexBytes,
  type ItemChunk,
  type JsonValue,
} from './item-list.ts';
import { hashBytes } from './objects-hash.ts';

/** Stores bytes under their name; called once per chunk, in order, and last for the index. */
export type PutBytes = (bytes: Uint8Array, id: ArtifactId) => Promise<void>;

/** A finished list. `root` names its index and binds every item. */
export type ItemList = {
  readonly root: ArtifactId;
  readonly count: number;
  readonly chunks: readonly ItemChunk[];
  /** Bytes of all chunks and the index. */
  readonly sizeBytes: number;
};

export type ItemListLimits = { readonly maxItems: number; readonly maxBytes: number };

const DEFAULT_LIMITS: ItemListLimits = { maxItems: MAX_CHUNK_ITEMS, maxBytes: MAX_CHUNK_BYTES };

/** open (add) → finished. The same items always give the same chunks and root. */
export class ItemListWriter {
  readonly #put: PutBytes;
  readonly #limits: ItemListLimits;
  readonly #chunks: ItemChunk[] = [];
  #lines: Uint8Array[] = [];
  #openBytes = 0;
  #sealedItems = 0;
  #sealedBytes = 0;
  #isFinished = false;

  /** `limits` may make chunks smaller than the format allows. */
  constructor(put: PutBytes, limits: ItemListLimits = DEFAULT_LIMITS) {
    this.#put = put;
    this.#limits = {
      maxItems: Math.min(limits.maxItems, MAX_CHUNK_ITEMS),
      maxBytes: Math.min(limits.maxBytes, MAX_CHUNK_BYTES),
    };
  }

  /** Items added so far. */
  get count(): number {
    return this.#sealedItems + this.#lines.length;
  }

  /** Appends an item. Throws `bad-input` when it is no JSON value or larger than a chunk; waits while a chunk is put. */
  async add(item: JsonValue): Promise<void> {
    if (this.#isFinished) throw new SwarmError('conflict', 'the item list is finished; start another');
    const line = toLine(item, this.count);
    if (line.length > this.#limits.maxBytes) {
      const what = `item ${this.count} takes ${line.length} bytes; at most ${this.#limits.maxBytes} fit`;
      throw new SwarmError('bad-input', `${what}: split it`);
    }
    if (this.#openBytes + line.length > this.#limits.maxBytes) await this.#seal();
    this.#lines.push(line);
    this.#openBytes += line.length;
    if (this.#lines.length === this.#limits.maxItems) await this.#seal();
  }

  /** Seals the last chunk and puts the index. */
  async finish(): Promise<ItemList> {
    if (this.#isFinished) throw new SwarmError('conflict', 'the item list is finished already');
    if (this.#lines.length > 0) await this.#seal();
    this.#isFinished = true;
    const bytes = toIndexBytes({ v: 1, count: this.#sealedItems, chunks: this.#chunks });
    const root = hashBytes(bytes);
    await this.#put(bytes, root);
    return { root, count: this.#sealedItems, chunks: this.#chunks, sizeBytes: this.#sealedBytes + bytes.length };
  }

  async #seal(): Promise<void> {
    if (this.#chunks.length === MAX_LIST_CHUNKS) {
      const what = `the item list is longer than ${MAX_LIST_CHUNKS} chunks`;
      throw new SwarmError('too-large', `${what}; submit it as several jobs`);
    }
    const bytes = Buffer.concat(this.#lines);
    const chunk = {
      hash: hashBytes(bytes),
      start: this.#sealedItems,
      count: this.#lines.length,
      sizeBytes: bytes.length,
    };
    await this.#put(bytes, chunk.hash);
    this.#chunks.push(chunk);
    this.#sealedItems += this.#lines.length;
    this.#sealedBytes += bytes.length;
    this.#lines = [];
    this.#openBytes = 0;
  }
}

function toLine(item: JsonValue, index: number): Uint8Array {
  const canonical = toCanonicalBytes(item);
  if (!canonical.ok) throw new SwarmError('bad-input', `item ${index} cannot be listed: ${canonical.error}`);
  const line = new Uint8Array(canonical.value.length + 1);
  line.set(canonical.value);
  line[canonical.value.length] = 0x0a;
  return line;
}
