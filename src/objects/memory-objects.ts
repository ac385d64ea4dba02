// Owns the in-memory ObjectStore: for tests and the simulator. Same contract as the folder, no disk.

import type { ArtifactId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import { hashBytes } from './objects-hash.ts';
import { chunksOf, toByteStream } from './objects-stream.ts';
import {
  checkOffset,
  checkRange,
  hashMismatch,
  hexOf,
  incomplete,
  notFound,
  tooLarge,
  type AppendOptions,
  type ByteSource,
  type ObjectStore,
  type PutResult,
  type StoredObject,
  type UploadKey,
  type Usage,
} from './objects.ts';
import { Quota } from './quota.ts';
import { UploadSlots } from './upload-slots.ts';

export class MemoryObjectStore implements ObjectStore {
  readonly #objects = new Map<ArtifactId, Uint8Array>();
  readonly #partials = new Map<string, Uint8Array>();
  readonly #slots = new UploadSlots();
  readonly #quota: Quota;

  constructor(options: { readonly quotaBytes: number } = { quotaBytes: Number.MAX_SAFE_INTEGER }) {
    this.#quota = new Quota(options.quotaBytes);
  }

  async stat(id: ArtifactId): Promise<{ readonly sizeBytes: number } | undefined> {
    const bytes = this.#objects.get(checked(id));
    return bytes && { sizeBytes: bytes.byteLength };
  }

  async open(id: ArtifactId, range?: Range): Promise<ReadableStream<Uint8Array>> {
    const bytes = this.#objects.get(checked(id));
    if (!bytes) throw notFound(id);
    if (range) checkRange(id, range, bytes.byteLength);
    return toByteStream(bytes.slice(range?.start, range?.end));
  }

  async put(id: ArtifactId, bytes: ByteSource, options: { readonly signal?: AbortSignal } = {}): Promise<PutResult> {
    const stored = this.#objects.get(checked(id));
    if (stored) return { sizeBytes: stored.byteLength, existed: true };
    let received: Uint8Array = new Uint8Array();
    try {
      for await (const chunk of chunksOf(bytes, options.signal)) {
        this.#quota.claim(chunk.byteLength);
        received = concat(received, chunk);
      }
      return this.#publish(id, received);
    } catch (error) {
      this.#quota.release(received.byteLength);
      throw error;
    }
  }

  async uploadedBytes(key: UploadKey): Promise<number> {
    return this.#partials.get(nameOf(key))?.byteLength ?? 0;
  }

  async append(key: UploadKey, offset: number, bytes: ByteSource, options: AppendOptions): Promise<number> {
    const name = nameOf(key);
    return await this.#slots.run(name, options.signal, async (signal) => {
      const before = this.#partials.get(name)?.byteLength ?? 0;
      checkOffset(key.id, offset, before);
      const room = Math.max(0, options.totalBytes - before);
      this.#quota.claim(room);
      try {
        this.#partials.set(name, this.#partials.get(name) ?? new Uint8Array());
        for await (const chunk of chunksOf(bytes, signal)) this.#extend(name, chunk, key.id, options.totalBytes);
        return this.#partials.get(name)?.byteLength ?? 0;
      } finally {
        this.#quota.release(room - ((this.#partials.get(name)?.byteLength ?? 0) - before));
        if (this.#objects.has(key.id)) this.#drop(name);
      }
    });
  }

  async finish(key: UploadKey, sizeBytes: number): Promise<PutResult> {
    const name = nameOf(key);
    return await this.#slots.run(name, undefined, async () => {
      const bytes = this.#partials.get(name);
      const stored = this.#objects.get(key.id);
      if (!stored && bytes?.byteLength !== sizeBytes) throw incomplete(key.id, bytes?.byteLength ?? 0, sizeBytes);
      this.#partials.delete(name);
      try {
        return this.#publish(key.id, bytes ?? new Uint8Array());
      } catch (error) {
        this.#quota.release(bytes?.byteLength ?? 0);
        throw error;
      }
    });
  }

  async remove(id: ArtifactId): Promise<boolean> {
    const bytes = this.#objects.get(checked(id));
    if (bytes) this.#quota.release(bytes.byteLength);
    return this.#objects.delete(id);
  }

  async *list(): AsyncGenerator<StoredObject> {
    for (const [id, bytes] of Array.from(this.#objects)) yield { id, sizeBytes: bytes.byteLength };
  }

  async usage(): Promise<Usage> {
    return { usedBytes: this.#quota.usedBytes, quotaBytes: this.#quota.quotaBytes };
  }

  #drop(name: string): void {
    this.#quota.release(this.#partials.get(name)?.byteLength ?? 0);
    this.#partials.delete(name);
  }

  #extend(name: string, chunk: Uint8Array, id: ArtifactId, totalBytes: number): void {
    const partial = concat(this.#partials.get(name) ?? new Uint8Array(), chunk);
    if (partial.byteLength > totalBytes) throw tooLarge(id, totalBytes);
    this.#partials.set(name, partial);
  }

  /** Takes over bytes whose room is claimed. */
  #publish(id: ArtifactId, bytes: Uint8Array): PutResult {
    const stored = this.#objects.get(id);
    if (stored) {
      this.#quota.release(bytes.byteLength);
      return { sizeBytes: stored.byteLength, existed: true };
    }
    const actual = hashBytes(bytes);
    if (actual !== id) throw hashMismatch(id, actual);
    this.#objects.set(id, bytes);
    for (const name of Array.from(this.#partials.keys()))
      if (name.startsWith(hexOf(id)) && !this.#slots.isBusy(name)) this.#drop(name);
    return { sizeBytes: bytes.byteLength, existed: false };
  }
}

function checked(id: ArtifactId): ArtifactId {
  hexOf(id);
  return id;
}

function nameOf(key: UploadKey): string {
  return `${hexOf(key.id)} of ${key.uploader}`;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.byteLength + b.byteLength);
  both.set(a);
  both.set(b, a.byteLength);
  return both;
}
