// Owns the folder's unfinished uploads: one file each, kept across cuts and restarts, counted against the quota, swept when
// nobody has touched them for a day. Knows nothing of finished artifacts.

import type { Hash } from 'node:crypto';
import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArtifactId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import { checkFreeSpace, removeFile, sizeOf, toDiskError, writeFully } from './folder-disk.ts';
import { hashBytes, hashPrefix, startHash, toArtifactId } from './objects-hash.ts';
import { chunksOf } from './objects-stream.ts';
import { checkOffset, hexOf, tooLarge, type ByteSource, type UploadKey } from './objects.ts';
import type { Quota } from './quota.ts';

/** An upload that nobody goes on with for so long is given up. */
const STALE_MS = 86_400_000;
/** Bounds the files that uploaders can leave behind between two sweeps. */
const MAX_PARTIALS = 4_096;
/** Running hashes kept in memory; an upload without one is read again when it is finished. */
const MAX_HASHES = 64;

/** `totalBytes` is unknown for a source that is put in one go. */
type WriteOptions = { readonly totalBytes: number | undefined; readonly signal: AbortSignal };
type RunningHash = { readonly hash: Hash; readonly sizeBytes: number };

export class FolderPartials {
  readonly #folder: string;
  readonly #quota: Quota;
  readonly #reserveBytes: number;
  /** Names and counted sizes of the files there are. */
  readonly #sizes = new Map<string, number>();
  readonly #hashes = new Map<string, RunningHash>();

  constructor(folder: string, quota: Quota, reserveBytes: number) {
    this.#folder = folder;
    this.#quota = quota;
    this.#reserveBytes = reserveBytes;
  }

  pathOf(name: string): string {
    return join(this.#folder, name);
  }

  /** Takes stock of what an earlier process left. */
  async load(): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      const sizeBytes = (await sizeOf(this.pathOf(name))) ?? 0;
      this.#quota.count(sizeBytes);
      this.#sizes.set(name, sizeBytes);
    }
  }

  /** Names that begin with `prefix`. */
  named(prefix: string): string[] {
    return Array.from(this.#sizes.keys()).filter((name) => name.startsWith(prefix));
  }

  /** Names that nobody has touched for a day. */
  async stale(): Promise<string[]> {
    const stale: string[] = [];
    for (const name of this.named('')) {
      const stats = await stat(this.pathOf(name)).catch(() => undefined);
      if (!stats || Date.now() - stats.mtimeMs > STALE_MS) stale.push(name);
    }
    return stale;
  }

  sizeOf(name: string): number {
    return this.#sizes.get(name) ?? 0;
  }

  /**
   * Adds bytes to a partial file; what was written whole is kept when this fails. Returns the new size.
   * Room for `totalBytes` is claimed at once; where the size is not known, for each chunk as it comes.
   */
  async append(
    name: string,
    id: ArtifactId,
    offset: number,
    bytes: ByteSource,
    options: WriteOptions,
  ): Promise<number> {
    const before = this.sizeOf(name);
    checkOffset(id, offset, before);
    const room = Math.max(0, (options.totalBytes ?? before) - before);
    this.#quota.claim(room);
    try {
      this.#register(name);
      await checkFreeSpace(this.#folder, room, this.#reserveBytes);
      await this.#write(name, id, bytes, options);
    } catch (error) {
      throw toDiskError(error, this.#folder);
    } finally {
      if (options.totalBytes !== undefined) this.#quota.release(room - (this.sizeOf(name) - before));
    }
    return this.sizeOf(name);
  }

  /** The name of all bytes in a partial file. */
  async hash(name: string): Promise<ArtifactId> {
    const running = this.#hashes.get(name);
    this.#hashes.delete(name);
    const usable = running?.sizeBytes === this.sizeOf(name) ? running : await hashPrefix(this.pathOf(name));
    return toArtifactId(usable.hash);
  }

  /** Deletes a partial file and gives its room back. */
  async remove(name: string): Promise<void> {
    await removeFile(this.pathOf(name));
    this.#quota.release(this.forget(name));
  }

  /** Stops tracking a file that has moved elsewhere; its room stays claimed. Returns its size. */
  forget(name: string): number {
    const sizeBytes = this.sizeOf(name);
    this.#sizes.delete(name);
    this.#hashes.delete(name);
    return sizeBytes;
  }

  #register(name: string): void {
    if (!this.#sizes.has(name) && this.#sizes.size >= MAX_PARTIALS)
      throw new SwarmError('too-many-requests', `${MAX_PARTIALS} uploads are unfinished; try again later`);
    this.#sizes.set(name, this.sizeOf(name));
  }

  async #write(name: string, id: ArtifactId, bytes: ByteSource, options: WriteOptions): Promise<void> {
    const before = this.sizeOf(name);
    const running = this.#hashes.get(name);
    const hash = before === 0 ? startHash() : running?.sizeBytes === before ? running.hash : undefined;
    await using file = await open(this.pathOf(name), before === 0 ? 'w' : 'r+');
    try {
      for await (const chunk of chunksOf(bytes, options.signal)) {
        await this.#writeChunk(name, id, file, chunk, options.totalBytes);
        hash?.update(chunk);
      }
    } finally {
      // A chunk that was written in part is cut off again: size and hash speak of the same bytes.
      await file.truncate(this.sizeOf(name)).catch(() => undefined);
      this.#remember(name, hash);
    }
  }

  async #writeChunk(
    name: string,
    id: ArtifactId,
    file: FileHandle,
    chunk: Uint8Array,
    totalBytes: number | undefined,
  ): Promise<void> {
    const [at, sizeBytes] = [this.sizeOf(name), chunk.byteLength];
    if (totalBytes === undefined) this.#quota.claim(sizeBytes);
    else if (at + sizeBytes > totalBytes) throw tooLarge(id, totalBytes);
    try {
      await writeFully(file, chunk, at);
      this.#sizes.set(name, at + sizeBytes);
    } catch (error) {
      if (totalBytes === undefined) this.#quota.release(sizeBytes);
      throw error;
    }
  }

  #remember(name: string, hash: Hash | undefined): void {
    this.#hashes.delete(name);
    if (hash) this.#hashes.set(name, { hash, sizeBytes: this.sizeOf(name) });
    const [oldest] = this.#hashes.keys();
    if (this.#hashes.size > MAX_HASHES && oldest !== undefined) this.#hashes.delete(oldest);
  }
}

/** The file name of an upload. The uploader comes from outside, so only a hash of it becomes part of a path. */
export function partialName(key: UploadKey): string {
  const uploader = hexOf(hashBytes(new TextEncoder().encode(key.uploader))).slice(0, 16);
  return `${hexOf(key.id)}.${uploader}.part`;
}
