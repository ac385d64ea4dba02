// Owns how an answer of the coordinator becomes a value or a SwarmError. Answers come from outside: they are bounded and
// parsed before they are believed.

import type { z } from 'zod';
import { ERROR_CODES, SwarmError, type ErrorCode } from '../protocol/errors.ts';
import { failureSchema } from '../protocol/http.ts';
import { parseJson } from '../lib/json.ts';

/** A page of the largest rows fits several times. */
const MAX_ANSWER_BYTES = 16 * 1_024 * 1_024;
const MAX_FAILURE_BYTES = 64 * 1_024;

/** The parsed body of a success. Throws what the coordinator refused, or `unavailable` when it does not speak our API. */
export async function readAnswer<Schema extends z.ZodType>(
  response: Response,
  schema: Schema,
): Promise<z.output<Schema>> {
  if (!response.ok) throw await toFailure(response);
  const parsed = schema.safeParse(parseJson(await readText(response, MAX_ANSWER_BYTES)));
  if (parsed.success) return parsed.data;
  throw new SwarmError(
    'unavailable',
    `${response.url} gave an answer that this version does not understand: update Backyard Swarm on both sides`,
  );
}

/** The failure that an answer carries; an answer that is not the coordinator's own is named by its status. */
export async function toFailure(response: Response): Promise<SwarmError> {
  const text = await readText(response, MAX_FAILURE_BYTES).catch(() => '');
  const parsed = failureSchema.safeParse(parseJson(text));
  if (parsed.success) return new SwarmError(parsed.data.error.code, parsed.data.error.message);
  return new SwarmError(toErrorCode(response.status), `${response.url} answered with status ${response.status}`);
}

/** A failure to connect, in words; an abort by the caller stays what it is. */
export function toConnectionError(url: string, cause: unknown, signal?: AbortSignal): unknown {
  if (cause instanceof SwarmError) return cause;
  if (signal?.aborted) return signal.reason;
  return new SwarmError(
    'unavailable',
    `the coordinator at ${url} cannot be reached (${toReason(cause)}): is it running (swarm up), and is the address right?`,
    { cause },
  );
}

function toReason(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if (cause.cause instanceof Error) return toReason(cause.cause);
  const code = 'code' in cause ? String(cause.code) : '';
  return code === '' || cause.message.includes(code) ? cause.message || code : `${code}: ${cause.message}`;
}

function toErrorCode(status: number): ErrorCode {
  const codes = Object.keys(ERROR_CODES) as ErrorCode[];
  return codes.find((code) => ERROR_CODES[code].status === status) ?? 'unavailable';
}

async function readText(response: Response, maxBytes: number): Promise<string> {
  if (!response.body) return '';
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let [text, sizeBytes] = ['', 0];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    sizeBytes += value.byteLength;
    if (sizeBytes > maxBytes) {
      await reader.cancel();
      throw new SwarmError('too-large', `${response.url} answered with more than ${maxBytes} bytes`);
    }
    text += decoder.decode(value, { stream: true });
  }
}
