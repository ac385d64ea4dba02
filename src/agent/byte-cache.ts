// Owns a bounded folder of small artifacts by hash: what was used longest ago goes first. Nothing is given out before
// its hash is verified (INV-6); a file that was damaged is fetched again. Losing the folder loses nothing.

import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArtifactId } from '../lib/ids.ts';
import { hashBytes } from '../objects/objects-hash.ts';
import { hexOf } from '../objects/objects.ts';
import type { Logger } from '../runtime/logger.ts';

const FILE_NAME = /^[0-9a-f]{64}$/;

export class ByteCache {
  readonly #dir: string;
  readonly #limitBytes: number;
  readonly #logger: Logger;
  /** Sizes by file name, the one used last at the end. */
  readonly #sizes: Map<string, number>;
  #usedBytes: number;
  #counter = 0;

  private constructor(dir: string, limitBytes: number, logger: Logger, sizes: Map<string, number>) {
    this.#dir = dir;
    this.#limitBytes = limitBytes;
    this.#logger = logger;
    this.#sizes = sizes;
    this.#usedBytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  }

  /** Opens a folder that belongs to this cache alone. */
  static async open(dir: string, limitBytes: number, logger: Logger): Promise<ByteCache> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const files: { name: string; size: number; usedAt: number }[] = [];
    for (const name of await readdir(dir)) {
      const path = join(dir, name);
      const found = FILE_NAME.test(name) ? await stat(path).catch(() => undefined) : undefined;
      if (found?.isFile()) files.push({ name, size: found.size, usedAt: found.mtimeMs });
      else await rm(path, { recursive: true, force: true });
    }
    files.sort((a, b) => a.usedAt - b.usedAt);
    return new ByteCache(dir, limitBytes, logger, new Map(files.map(({ name, size }) => [name, size])));
  }

  /** The bytes of `id`: the kept ones, or those that `fetch` gets, which must be verified by it. */
  async get(id: ArtifactId, fetch: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const name = hexOf(id);
    const kept = await this.#read(id, name);
    if (kept) return kept;
    const bytes = await fetch();
    await this.#keep(name, bytes).catch((error: unknown) => {
      this.#logger.warn({ id, reason: String(error) }, 'a chunk could not be kept: it will be fetched again');
    });
    return bytes;
  }

  async #read(id: ArtifactId, name: string): Promise<Uint8Array | undefined> {
    const size = this.#sizes.get(name);
    if (size === undefined) return undefined;
    const bytes = await readFile(join(this.#dir, name)).catch(() => undefined);
    if (bytes && hashBytes(bytes) === id) {
      this.#sizes.delete(name);
      this.#sizes.set(name, size);
      return bytes;
    }
    await this.#remove(name);
    return undefined;
  }

  async #keep(name: string, bytes: Uint8Array): Promise<void> {
    if (bytes.byteLength > this.#limitBytes || this.#sizes.has(name)) return;
    const temporary = join(this.#dir, `${name}.${++this.#counter}`);
    try {
      await writeFile(temporary, bytes, { mode: 0o600 });
      await rename(temporary, join(this.#dir, name));
    } finally {
      await rm(temporary, { force: true });
    }
    if (!this.#sizes.has(name)) this.#usedBytes += bytes.byteLength;
    this.#sizes.set(name, bytes.byteLength);
    for (const oldest of this.#sizes.keys()) {
      if (this.#usedBytes <= this.#limitBytes) break;
      await this.#remove(oldest);
    }
  }

  async #remove(name: string): Promise<void> {
    this.#usedBytes -= this.#sizes.get(name) ?? 0;
    this.#sizes.delete(name);
    await rm(join(this.#dir, name), { force: true });
  }
}
