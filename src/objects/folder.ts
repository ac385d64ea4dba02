// Owns the embedded ObjectStore: a folder of files named by their hash, for one process at a time (the coordinator's store
// lock sees to that). Bytes arrive in partial/, are verified and made durable there, and appear in objects/ by a rename.

import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { mkdir, open, readdir, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MIB } from '../lib/byte-sizes.ts';
import type { ArtifactId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import { removeFile, sizeOf, syncFile, syncFolder, toDiskError } from './folder-disk.ts';
import { FolderPartials, partialName } from './folder-partials.ts';
import { toFileStream } from './objects-stream.ts';
import {
  checkRange,
  hashMismatch,
  hexOf,
  incomplete,
  notFound,
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

/** Kept free on the disk, so that artifacts never cost the state store beside them its next commit. */
const DEFAULT_RESERVE_BYTES = 64 * MIB;
const SWEEP_EVERY_MS = 3_600_000;
const PUT_PREFIX = 'put-';

export type FolderOptions = {
  readonly quotaBytes: number;
  /** Free space to leave on the disk; 64 MiB unless told. */
  readonly reserveBytes?: number;
};

export class FolderObjectStore implements ObjectStore {
  readonly #root: string;
  readonly #quota: Quota;
  readonly #partials: FolderPartials;
  readonly #slots = new UploadSlots();
  /** Renames that are not durable yet: nobody is told of an artifact before it is. */
  readonly #syncing = new Map<ArtifactId, Promise<void>>();
  #puts = 0;
  #sweptAt = 0;

  private constructor(root: string, quota: Quota, partials: FolderPartials) {
    this.#root = root;
    this.#quota = quota;
    this.#partials = partials;
  }

  /** Opens the folder `root`, creating it when there is none, and sweeps what dead uploads left in it. */
  static async open(root: string, options: FolderOptions): Promise<FolderObjectStore> {
    const quota = new Quota(options.quotaBytes);
    await mkdir(join(root, 'partial'), { recursive: true });
    await mkdir(join(root, 'objects'), { recursive: true });
    const partials = new FolderPartials(join(root, 'partial'), quota, options.reserveBytes ?? DEFAULT_RESERVE_BYTES);
    await partials.load();
    const store = new FolderObjectStore(root, quota, partials);
    // A put cannot be resumed: what a crash left of one is of no use.
    await store.#drop([...partials.named(PUT_PREFIX), ...(await partials.stale())]);
    store.#sweptAt = Date.now();
    for await (const { sizeBytes } of store.list()) quota.count(sizeBytes);
    return store;
  }

  async stat(id: ArtifactId): Promise<{ readonly sizeBytes: number } | undefined> {
    const path = this.#pathOf(id);
    await this.#syncing.get(id);
    const sizeBytes = await sizeOf(path);
    return sizeBytes === undefined ? undefined : { sizeBytes };
  }

  async open(id: ArtifactId, range?: Range): Promise<ReadableStream<Uint8Array>> {
    const stats = await this.stat(id);
    if (!stats) throw notFound(id);
    if (range) checkRange(id, range, stats.sizeBytes);
    return toFileStream(await this.#openFile(id), range ?? { start: 0, end: stats.sizeBytes });
  }

  async put(id: ArtifactId, bytes: ByteSource, options: { readonly signal?: AbortSignal } = {}): Promise<PutResult> {
    const stored = await this.stat(id);
    if (stored) return { ...stored, existed: true };
    const name = `${PUT_PREFIX}${this.#puts++}`;
    return await this.#slots.run(name, options.signal, async (signal) => {
      try {
        const totalBytes = bytes instanceof Uint8Array ? bytes.byteLength : undefined;
        await this.#partials.append(name, id, 0, bytes, { totalBytes, signal });
        return await this.#verifyAndPublish(name, id);
      } finally {
        await this.#partials.remove(name);
      }
    });
  }

  async uploadedBytes(key: UploadKey): Promise<number> {
    return this.#partials.sizeOf(partialName(key));
  }

  async append(key: UploadKey, offset: number, bytes: ByteSource, options: AppendOptions): Promise<number> {
    const name = partialName(key);
    return await this.#slots.run(name, options.signal, async (signal) => {
      try {
        await this.#sweepNowAndThen();
        return await this.#partials.append(name, key.id, offset, bytes, { totalBytes: options.totalBytes, signal });
      } finally {
        // Another uploader was faster: this one's bytes are of no more use.
        if (await this.stat(key.id)) await this.#partials.remove(name);
      }
    });
  }

  async finish(key: UploadKey, sizeBytes: number): Promise<PutResult> {
    const name = partialName(key);
    return await this.#slots.run(name, undefined, async () => {
      const stored = await this.stat(key.id);
      const uploadedBytes = this.#partials.sizeOf(name);
      if (!stored && uploadedBytes !== sizeBytes) throw incomplete(key.id, uploadedBytes, sizeBytes);
      try {
        return stored ? { ...stored, existed: true } : await this.#verifyAndPublish(name, key.id);
      } finally {
        await this.#partials.remove(name);
      }
    });
  }

  async remove(id: ArtifactId): Promise<boolean> {
    const stats = await this.stat(id);
    if (!stats) return false;
    await removeFile(this.#pathOf(id));
    this.#quota.release(stats.sizeBytes);
    return true;
  }

  async *list(): AsyncGenerator<StoredObject> {
    for (const folder of await readdir(join(this.#root, 'objects')))
      for (const hex of await readdir(join(this.#root, 'objects', folder))) {
        const sizeBytes = await sizeOf(join(this.#root, 'objects', folder, hex));
        if (/^[0-9a-f]{64}$/.test(hex) && sizeBytes !== undefined)
          yield { id: `sha256:${hex}` as ArtifactId, sizeBytes };
      }
  }

  async usage(): Promise<Usage> {
    return { usedBytes: this.#quota.usedBytes, quotaBytes: this.#quota.quotaBytes };
  }

  /** From here on the bytes are what their name says, then durable, then visible, then durably visible. */
  async #verifyAndPublish(name: string, id: ArtifactId): Promise<PutResult> {
    const actual = await this.#partials.hash(name);
    if (actual !== id) throw hashMismatch(id, actual);
    try {
      await syncFile(this.#partials.pathOf(name));
      return await this.#publish(name, id);
    } catch (error) {
      throw toDiskError(error, this.#root);
    }
  }

  async #publish(name: string, id: ArtifactId): Promise<PutResult> {
    const [path, sizeBytes] = [this.#pathOf(id), this.#partials.sizeOf(name)];
    // Asking and renaming in one turn: of two uploads that end together only one is counted.
    if (existsSync(path)) {
      await this.#syncing.get(id);
      return { sizeBytes, existed: true };
    }
    const made = mkdirSync(dirname(path), { recursive: true });
    renameSync(this.#partials.pathOf(name), path);
    this.#partials.forget(name);
    const synced = this.#sync(path, made !== undefined).finally(() => this.#syncing.delete(id));
    this.#syncing.set(id, synced);
    await synced;
    await this.#drop(this.#partials.named(`${hexOf(id)}.`));
    return { sizeBytes, existed: false };
  }

  async #sync(path: string, folderIsNew: boolean): Promise<void> {
    await syncFolder(dirname(path));
    if (folderIsNew) await syncFolder(join(this.#root, 'objects'));
  }

  async #sweepNowAndThen(): Promise<void> {
    if (Date.now() - this.#sweptAt < SWEEP_EVERY_MS) return;
    this.#sweptAt = Date.now();
    await this.#drop(await this.#partials.stale());
  }

  /** Removes unfinished uploads that nobody works on. */
  async #drop(names: readonly string[]): Promise<void> {
    for (const name of names)
      if (!this.#slots.isBusy(name)) await this.#slots.run(name, undefined, () => this.#partials.remove(name));
  }

  async #openFile(id: ArtifactId): Promise<FileHandle> {
    try {
      return await open(this.#pathOf(id), 'r');
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') throw notFound(id);
      throw error;
    }
  }

  #pathOf(id: ArtifactId): string {
    const hex = hexOf(id);
    return join(this.#root, 'objects', hex.slice(0, 2), hex);
  }
}
