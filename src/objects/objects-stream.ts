// Owns byte streams at the port's edge: sources that can be interrupted, files and bytes as web streams.

import type { FileHandle } from 'node:fs/promises';
import type { Range } from '../lib/range-set.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { ByteSource } from './objects.ts';

/** Large enough that the cost of a read is that of its bytes. */
const CHUNK_BYTES = 262_144;

/** A source's chunks until the signal fires; throws its reason then. */
export async function* chunksOf(bytes: ByteSource, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  if (!(bytes instanceof Uint8Array)) yield* signal ? untilAborted(bytes, signal) : bytes;
  else if (bytes.byteLength > 0) yield bytes;
}

/** Passes chunks on until the signal fires, then throws its reason at once, even while the source is silent. */
export async function* untilAborted(bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => undefined);
  const onAbort = (): void => aborted.reject(toCanceled(signal.reason));
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  const iterator = bytes[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await Promise.race([aborted.promise, iterator.next()]);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Not awaited: a silent source answers only when its connection ends.
    Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}

/** A signal's reason as an operational failure. */
export function toCanceled(reason: unknown): SwarmError {
  return reason instanceof SwarmError
    ? reason
    : new SwarmError('canceled', 'canceled by the caller', { cause: reason });
}

/** Bytes in memory as a stream. */
export function toByteStream(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      if (bytes.byteLength > 0) controller.enqueue(bytes);
      controller.close();
    },
  });
}

/** A range of an open file as a stream that reads when it is read, and closes the file at its end. */
export function toFileStream(file: FileHandle, range: Range): ReadableStream<Uint8Array> {
  let at = range.start;
  return new ReadableStream(
    {
      async pull(controller) {
        const chunk = await readChunk(file, Math.min(CHUNK_BYTES, range.end - at), at);
        at += chunk.byteLength;
        if (chunk.byteLength > 0) controller.enqueue(chunk);
        if (chunk.byteLength > 0 && at < range.end) return;
        controller.close();
        await file.close();
      },
      cancel: () => file.close(),
    },
    { highWaterMark: 0 },
  );
}

async function readChunk(file: FileHandle, sizeBytes: number, at: number): Promise<Uint8Array> {
  try {
    const chunk = new Uint8Array(sizeBytes);
    const { bytesRead } = await file.read(chunk, 0, sizeBytes, at);
    return chunk.subarray(0, bytesRead);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Passes chunks on; throws SwarmError('timeout') when the source is silent for `stallMs`. */
export async function* withStallLimit(bytes: AsyncIterable<Uint8Array>, stallMs: number): AsyncGenerator<Uint8Array> {
  const abort = new AbortController();
  const reason = new SwarmError('timeout', `no bytes came for ${stallMs} ms; ask where the transfer stands and go on`);
  const startTimer = (): NodeJS.Timeout => setTimeout(() => abort.abort(reason), stallMs);
  let timer = startTimer();
  try {
    for await (const chunk of untilAborted(bytes, abort.signal)) {
      clearTimeout(timer);
      yield chunk;
      timer = startTimer();
    }
  } finally {
    clearTimeout(timer);
  }
}
