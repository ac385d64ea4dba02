// Owns how a transfer speaks HTTP: the fetch it is given, what a refusal means, and trying again within bounds.

import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import type { ArtifactId } from '../lib/ids.ts';
import { ERROR_CODES, SwarmError, type ErrorCode } from '../protocol/errors.ts';
import { toCanceled } from './objects-stream.ts';
import { parseJson } from '../lib/json.ts';

/** Tries without a byte of progress before a transfer gives up: about half a minute. */
const DEFAULT_MAX_FAILURES = 8;
/** Bounds a transfer whose other side grants a byte a time. */
const MAX_TRIES = 1_000;
const FIRST_BACKOFF_MS = 250;
const LAST_BACKOFF_MS = 15_000;
/** A connection over which nothing moves for so long is given up, and the transfer resumed over a new one. */
export const DEFAULT_STALL_MS = 60_000;
const MAX_ERROR_BYTES = 65_536;

export type FetchInit = {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly signal: AbortSignal;
  readonly body?: ReadableStream<Uint8Array>;
  /** Required by fetch for bodies that are streamed. */
  readonly duplex?: 'half';
};

/** The global fetch, or one that pins a certificate. */
export type FetchLike = (url: string, init: FetchInit) => Promise<Response>;

export type Progress = { readonly doneBytes: number; readonly totalBytes: number | undefined };

export type TransferOptions = {
  readonly fetch: FetchLike;
  /** Where the API is, for example `https://10.0.0.2:8080`. */
  readonly baseUrl: string;
  /** Sent with every request, such as the session's token. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly id: ArtifactId;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  readonly stallMs?: number;
  readonly maxFailures?: number;
  /** How long to wait after so many failures in a row. */
  readonly backoffMs?: (failures: number) => number;
};

export type Attempt<T> =
  | { readonly kind: 'done'; readonly value: T }
  /** It may work again from `atBytes` on; if it never does, `refusal` is what the other side said. */
  | { readonly kind: 'again'; readonly reason: string; readonly atBytes: number; readonly refusal?: SwarmError };

export function artifactUrl(options: TransferOptions): string {
  return `${options.baseUrl.replace(/\/+$/, '')}/v1/artifacts/${options.id}`;
}

/** Repeats `attempt` until it is done. Throws 'unavailable' after too many tries without progress, 'canceled' on a signal. */
export async function untilDone<T>(
  what: string,
  options: TransferOptions,
  attempt: () => Promise<Attempt<T>>,
): Promise<T> {
  const { maxFailures = DEFAULT_MAX_FAILURES, backoffMs = defaultBackoffMs } = options;
  let [failures, bestBytes] = [0, -1];
  let last: Extract<Attempt<never>, { kind: 'again' }> | undefined;
  for (let tries = 0; tries < MAX_TRIES && failures < maxFailures; tries++) {
    throwIfCanceled(options.signal);
    const outcome = await attempt();
    if (outcome.kind === 'done') return outcome.value;
    failures = outcome.atBytes > bestBytes ? 1 : failures + 1;
    bestBytes = Math.max(bestBytes, outcome.atBytes);
    last = outcome;
    if (failures < maxFailures) await pause(backoffMs(failures), options.signal);
  }
  throw last?.refusal ?? stuck(what, Math.max(0, bestBytes), last?.reason ?? '');
}

function stuck(what: string, atBytes: number, reason: string): SwarmError {
  return new SwarmError(
    'unavailable',
    `the ${what} got stuck at byte ${atBytes}: ${reason}. Check the connection and start it again: it goes on from there.`,
  );
}

function defaultBackoffMs(failures: number): number {
  const jitter = 0.75 + Math.random() / 2;
  return Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (failures - 1)) * jitter;
}

async function pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await wait(delayMs, undefined, signal ? { signal } : {});
  } catch {
    throw toCanceled(signal?.reason);
  }
}

export function throwIfCanceled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw toCanceled(signal.reason);
}

/**
 * A broken connection becomes the next attempt; a caller's signal and the other side's final refusals pass through.
 * Local failures must not come here: they are thrown outside.
 */
export function toAgain(error: unknown, signal: AbortSignal | undefined, atBytes: number): Attempt<never> {
  throwIfCanceled(signal);
  if (!(error instanceof SwarmError)) return { kind: 'again', reason: describe(error), atBytes };
  if (!error.retryable) throw error;
  return { kind: 'again', reason: error.message, atBytes, refusal: error };
}

/** fetch hides what happened in the cause of a "fetch failed". */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}

const failureSchema = z.object({
  error: z.object({ code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]), message: z.string() }),
});

/** What a response that is not a success means. The text comes from another machine: bounded, and only shown. */
export async function toFailure(response: Response): Promise<SwarmError> {
  const parsed = failureSchema.safeParse(parseJson(await readBounded(response)));
  if (parsed.success) return new SwarmError(parsed.data.error.code, parsed.data.error.message.slice(0, 2_000));
  const { status } = response;
  const code = (Object.keys(ERROR_CODES) as ErrorCode[]).find((name) => ERROR_CODES[name].status === status);
  return new SwarmError(status >= 500 ? 'unavailable' : (code ?? 'bad-request'), `${response.url} answered ${status}`);
}

async function readBounded(response: Response): Promise<string> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_ERROR_BYTES) break;
  }
  return text;
}
