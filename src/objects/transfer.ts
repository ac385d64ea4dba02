// Owns sending an artifact over HTTP: asks where an earlier try stopped, goes on from there, and tries again after a cut.
// The shape of the requests is in http-handlers.ts. Knows no store.

import { open, stat } from 'node:fs/promises';
import { SwarmError } from '../protocol/errors.ts';
import { toByteStream, toFileStream } from './objects-stream.ts';
import type { PutResult } from './objects.ts';
import {
  artifactUrl,
  DEFAULT_STALL_MS,
  toAgain,
  toFailure,
  untilDone,
  type Attempt,
  type TransferOptions,
} from './transfer-http.ts';

/** Waiting for the answer once all is sent: the other side may have to read a resumed upload again. */
const FINISH_MS = 600_000;

export type UploadSource = { readonly path: string } | Uint8Array;

/**
 * Sends the bytes of `source`, whose hash must be `id`; a file must not change meanwhile.
 * Throws the receiver's refusals ('quota-exceeded', 'hash-mismatch', 'forbidden', …), 'unavailable' when the connection
 * fails too often without progress, 'canceled' on the signal, and Node's error when the file cannot be read.
 */
export async function uploadArtifact(options: TransferOptions & { readonly source: UploadSource }): Promise<PutResult> {
  const sizeBytes = await sizeOfSource(options.source);
  const upload = new Upload(options, sizeBytes);
  return await untilDone(`upload of ${options.id} to ${options.baseUrl}`, options, () => upload.attempt());
}

class Upload {
  readonly #options: TransferOptions & { readonly source: UploadSource };
  readonly #sizeBytes: number;
  #offset = 0;
  #restarted = false;

  constructor(options: TransferOptions & { readonly source: UploadSource }, sizeBytes: number) {
    this.#options = options;
    this.#sizeBytes = sizeBytes;
  }

  /** One question and one sending. */
  async attempt(): Promise<Attempt<PutResult>> {
    const { signal } = this.#options;
    try {
      if (await this.#isStored()) return this.#done(true);
    } catch (error) {
      return toAgain(error, signal, this.#offset);
    }
    const source = await openSource(this.#options.source, this.#offset, this.#sizeBytes);
    const reader = source.getReader();
    try {
      return await this.#send(reader);
    } catch (error) {
      return this.#mayRestart(error)
        ? this.#again('what was sent before was damaged')
        : toAgain(error, signal, this.#offset);
    } finally {
      // Closes the file if the body was not read to its end.
      await reader.cancel();
    }
  }

  /** Asks where the upload stands. */
  async #isStored(): Promise<boolean> {
    const { fetch, headers = {}, signal, stallMs = DEFAULT_STALL_MS } = this.#options;
    const limit = AbortSignal.timeout(stallMs);
    const response = await fetch(artifactUrl(this.#options), {
      method: 'HEAD',
      headers,
      signal: signal ? AbortSignal.any([limit, signal]) : limit,
    });
    if (response.status === 200) return true;
    const offset = response.headers.get('upload-offset') ?? '';
    if (response.status !== 404 || !/^\d{1,15}$/.test(offset)) throw await toFailure(response);
    this.#offset = Number(offset);
    if (this.#offset <= this.#sizeBytes) return false;
    throw new SwarmError(
      'bad-input',
      `${this.#offset} bytes of ${this.#options.id} were sent before, but the source has ${this.#sizeBytes}: it has changed`,
    );
  }

  async #send(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Attempt<PutResult>> {
    using watch = new StallWatch(this.#options.stallMs ?? DEFAULT_STALL_MS, this.#options.signal);
    const response = await this.#options.fetch(artifactUrl(this.#options), {
      method: 'PUT',
      headers: {
        ...this.#options.headers,
        'Upload-Offset': String(this.#offset),
        'Upload-Length': String(this.#sizeBytes),
        'Content-Type': 'application/octet-stream',
      },
      body: this.#watched(reader, watch),
      duplex: 'half',
      signal: watch.signal,
    });
    if (response.status === 409) return this.#again((await toFailure(response)).message);
    if (!response.ok) throw await toFailure(response);
    await response.body?.cancel();
    return this.#done(response.status === 200);
  }

  /** The same stream, telling of progress as the connection takes it. */
  #watched(reader: ReadableStreamDefaultReader<Uint8Array>, watch: StallWatch): ReadableStream<Uint8Array> {
    let doneBytes = this.#offset;
    return new ReadableStream(
      {
        pull: async (controller) => {
          const { done, value } = await reader.read();
          if (done) {
            watch.restart(FINISH_MS);
            controller.close();
            return;
          }
          watch.restart();
          doneBytes += value.byteLength;
          this.#options.onProgress?.({ doneBytes, totalBytes: this.#sizeBytes });
          controller.enqueue(value);
        },
        cancel: (reason) => reader.cancel(reason),
      },
      { highWaterMark: 0 },
    );
  }

  /** The receiver deletes what does not match, so an upload that had been resumed is worth one whole try. */
  #mayRestart(error: unknown): boolean {
    if (!(error instanceof SwarmError) || error.code !== 'hash-mismatch') return false;
    if (this.#offset === 0 || this.#restarted) return false;
    return (this.#restarted = true);
  }

  #done(existed: boolean): Attempt<PutResult> {
    this.#options.onProgress?.({ doneBytes: this.#sizeBytes, totalBytes: this.#sizeBytes });
    return { kind: 'done', value: { sizeBytes: this.#sizeBytes, existed } };
  }

  #again(reason: string): Attempt<PutResult> {
    return { kind: 'again', reason, atBytes: this.#offset };
  }
}

/** A signal that fires when nothing has moved for a while, or with the caller's. */
class StallWatch {
  readonly signal: AbortSignal;
  readonly #stall = new AbortController();
  readonly #stallMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(stallMs: number, signal: AbortSignal | undefined) {
    this.#stallMs = stallMs;
    this.signal = signal ? AbortSignal.any([this.#stall.signal, signal]) : this.#stall.signal;
    this.restart();
  }

  restart(limitMs: number = this.#stallMs): void {
    clearTimeout(this.#timer);
    const reason = new SwarmError('timeout', `nothing moved for ${limitMs} ms`);
    this.#timer = setTimeout(() => this.#stall.abort(reason), limitMs);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

async function sizeOfSource(source: UploadSource): Promise<number> {
  return source instanceof Uint8Array ? source.byteLength : (await stat(source.path)).size;
}

async function openSource(source: UploadSource, start: number, end: number): Promise<ReadableStream<Uint8Array>> {
  if (source instanceof Uint8Array) return toByteStream(source.subarray(start));
  return toFileStream(await open(source.path, 'r'), { start, end });
}
