// Owns fetching an artifact over HTTP: resumed by ranges, verified, and only then given its name. Knows no store.

import type { Hash } from 'node:crypto';
import { constants, renameSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { SwarmError } from '../protocol/errors.ts';
import { removeFile, sizeOf, syncFolder, toDiskError, writeFully } from './folder-disk.ts';
import { hashBytes, hashPrefix, startHash, toArtifactId } from './objects-hash.ts';
import { untilAborted, withStallLimit } from './objects-stream.ts';
import { hashMismatch, hexOf } from './objects.ts';
import {
  artifactUrl,
  DEFAULT_STALL_MS,
  throwIfCanceled,
  toAgain,
  toFailure,
  untilDone,
  type Attempt,
  type TransferOptions,
} from './transfer-http.ts';

export type DownloadOptions = TransferOptions & {
  /** Where the file appears, by a rename, once it is verified. Its folder must exist. */
  readonly toFile: string;
  /** The other side is not trusted to be brief: more is refused with 'too-large'. */
  readonly maxBytes: number;
};

/** What an answer's headers say of the bytes that follow. */
type Incoming = { readonly start: number; readonly totalBytes: number | undefined };

const running = new Set<string>();

/**
 * Fetches the artifact `id` into `toFile`. Until it is verified it lies beside it as `<toFile>.<hash>.partial`, which a
 * later call goes on with. Throws the sender's refusals, 'too-large', 'hash-mismatch' (the bytes are deleted),
 * 'disk-full', 'unavailable', 'canceled', and 'conflict' when this process is fetching to the same file already.
 */
export async function downloadArtifact(options: DownloadOptions): Promise<{ readonly sizeBytes: number }> {
  const path = resolve(options.toFile);
  if (running.has(path)) throw new SwarmError('conflict', `${path} is being downloaded already`);
  running.add(path);
  try {
    const download = await Download.start(options);
    await using _ = download;
    return await untilDone(`download of ${options.id} from ${options.baseUrl}`, options, () => download.attempt());
  } finally {
    running.delete(path);
  }
}

class Download implements AsyncDisposable {
  readonly #options: DownloadOptions;
  readonly #path: string;
  readonly #file: FileHandle;
  #hash: Hash;
  #sizeBytes: number;
  #resumed: boolean;
  #totalBytes: number | undefined;

  private constructor(options: DownloadOptions, path: string, file: FileHandle, hash: Hash, sizeBytes: number) {
    this.#options = options;
    this.#path = path;
    this.#file = file;
    this.#hash = hash;
    this.#sizeBytes = sizeBytes;
    this.#resumed = sizeBytes > 0;
  }

  static async start(options: DownloadOptions): Promise<Download> {
    const path = `${options.toFile}.${hexOf(options.id).slice(0, 16)}.partial`;
    const kept = (await sizeOf(path)) === undefined ? { hash: startHash(), sizeBytes: 0 } : await hashPrefix(path);
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    return new Download(options, path, file, kept.hash, kept.sizeBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  async attempt(): Promise<Attempt<{ readonly sizeBytes: number }>> {
    const asked = await this.#ask();
    if ('kind' in asked) return asked;
    const { incoming, chunks } = asked;
    this.#totalBytes = incoming.totalBytes;
    if (incoming.start !== this.#sizeBytes) await this.#restart();
    if (incoming.start !== this.#sizeBytes) return this.#again(`bytes from ${incoming.start} on came unasked`);
    const cut = await this.#take(chunks);
    if (cut) return cut;
    if (incoming.totalBytes !== undefined && this.#sizeBytes < incoming.totalBytes)
      return this.#again(`the connection ended after ${this.#sizeBytes} of ${incoming.totalBytes} bytes`);
    return await this.#finish();
  }

  async #ask(): Promise<{ incoming: Incoming; chunks: AsyncIterable<Uint8Array> } | Attempt<never>> {
    const { fetch, headers = {}, signal, stallMs = DEFAULT_STALL_MS } = this.#options;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(new SwarmError('timeout', `no answer in ${stallMs} ms`)), stallMs);
    try {
      const response = await fetch(artifactUrl(this.#options), {
        method: 'GET',
        headers: this.#sizeBytes > 0 ? { ...headers, Range: `bytes=${this.#sizeBytes}-` } : { ...headers },
        signal: signal ? AbortSignal.any([abort.signal, signal]) : abort.signal,
      });
      const incoming = await this.#parse(response);
      const bytes = response.body && response.ok ? withStallLimit(response.body, stallMs) : none();
      return { incoming, chunks: signal ? untilAborted(bytes, signal) : bytes };
    } catch (error) {
      return toAgain(error, signal, this.#sizeBytes);
    } finally {
      clearTimeout(timer);
    }
  }

  async #parse(response: Response): Promise<Incoming> {
    const range = /^bytes (?:(\d{1,15})-\d{1,15}|\*)\/(\d{1,15})$/.exec(response.headers.get('content-range') ?? '');
    const total = range?.[2] === undefined ? undefined : Number(range[2]);
    const incoming = this.#toIncoming(response, range?.[1], total);
    if (!incoming) throw await toFailure(response);
    if ((incoming.totalBytes ?? 0) > this.#options.maxBytes) throw this.#tooLarge();
    return incoming;
  }

  #toIncoming(response: Response, start: string | undefined, total: number | undefined): Incoming | undefined {
    const length = response.headers.get('content-length');
    if (response.status === 200) return { start: 0, totalBytes: length === null ? undefined : Number(length) };
    if (response.status === 206 && start !== undefined) return { start: Number(start), totalBytes: total };
    // Nothing is left to ask for: the file is whole, or longer than the artifact and of no use.
    if (response.status === 416 && total !== undefined)
      return { start: total === this.#sizeBytes ? total : 0, totalBytes: total };
    return undefined;
  }

  /** Writes what comes; returns the next attempt when the connection breaks. Failures of the local disk are thrown. */
  async #take(chunks: AsyncIterable<Uint8Array>): Promise<Attempt<never> | undefined> {
    const iterator = chunks[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await iterator
          .next()
          .catch((error: unknown) => toAgain(error, this.#options.signal, this.#sizeBytes));
        if ('kind' in next) return next;
        if (next.done) return undefined;
        await this.#write(next.value);
      }
    } finally {
      await iterator.return?.();
    }
  }

  async #write(chunk: Uint8Array): Promise<void> {
    if (this.#sizeBytes + chunk.byteLength > this.#options.maxBytes) throw this.#tooLarge();
    try {
      await writeFully(this.#file, chunk, this.#sizeBytes);
    } catch (error) {
      throw toDiskError(error, dirname(this.#path));
    }
    this.#hash.update(chunk);
    this.#sizeBytes += chunk.byteLength;
    this.#options.onProgress?.({ doneBytes: this.#sizeBytes, totalBytes: this.#totalBytes });
  }

  async #finish(): Promise<Attempt<{ readonly sizeBytes: number }>> {
    throwIfCanceled(this.#options.signal);
    const actual = toArtifactId(this.#hash);
    if (actual !== this.#options.id) return await this.#mismatch(hashMismatch(this.#options.id, actual));
    await this.#file.truncate(this.#sizeBytes);
    await this.#file.sync();
    renameSync(this.#path, this.#options.toFile);
    await syncFolder(dirname(this.#options.toFile));
    return { kind: 'done', value: { sizeBytes: this.#sizeBytes } };
  }

  /** What an earlier try left may be what is wrong: then one whole try is worth it. */
  async #mismatch(error: SwarmError): Promise<Attempt<never>> {
    const again = this.#resumed;
    await this.#restart();
    if (again) return this.#again(error.message);
    await removeFile(this.#path);
    throw error;
  }

  async #restart(): Promise<void> {
    await this.#file.truncate(0);
    this.#hash = startHash();
    this.#sizeBytes = 0;
    this.#resumed = false;
  }

  #again(reason: string): Attempt<never> {
    return { kind: 'again', reason, atBytes: this.#sizeBytes };
  }

  #tooLarge(): SwarmError {
    const { id, maxBytes } = this.#options;
    return new SwarmError('too-large', `artifact ${id} has more than the ${maxBytes} bytes that are taken`);
  }
}

async function* none(): AsyncGenerator<Uint8Array> {
  // No bytes follow.
}

/** Fetches a small artifact into memory, verified. Throws what downloadArtifact throws but 'disk-full' and 'conflict'. */
export async function fetchArtifact(options: TransferOptions & { readonly maxBytes: number }): Promise<Uint8Array> {
  const what = `download of ${options.id} from ${options.baseUrl}`;
  return await untilDone<Uint8Array>(what, options, async () => {
    try {
      return { kind: 'done', value: await fetchOnce(options) };
    } catch (error) {
      return toAgain(error, options.signal, 0);
    }
  });
}

async function fetchOnce(options: TransferOptions & { readonly maxBytes: number }): Promise<Uint8Array> {
  const { fetch, headers = {}, signal, stallMs = DEFAULT_STALL_MS, id, maxBytes } = options;
  const limit = AbortSignal.timeout(stallMs);
  const response = await fetch(artifactUrl(options), {
    method: 'GET',
    headers: { ...headers },
    signal: signal ? AbortSignal.any([limit, signal]) : limit,
  });
  if (response.status !== 200) throw await toFailure(response);
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > maxBytes) throw new SwarmError('too-large', `artifact ${id} has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  const actual = hashBytes(bytes);
  if (actual !== id) throw hashMismatch(id, actual);
  return bytes;
}
