// Owns the live stream on the client's side: server-sent events (WHATWG HTML, section 9.2) over an authenticated fetch,
// opened again after a cut. EventSource cannot carry a token, hence our own reader.

import { z } from 'zod';
import type { JobId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import { EVENTS_PATH } from '../protocol/http.ts';
import { liveEventSchema, type LiveEvent } from '../protocol/views.ts';
import { toFailure } from './answer.ts';
import type { Transport } from './client.ts';
import { parseJson } from '../lib/json.ts';

const FIRST_BACKOFF_MS = 250;
const LAST_BACKOFF_MS = 5_000;
/** The coordinator sends something at least this often; silence beyond it is a cut that nobody told us of. */
const SILENCE_MS = 30_000;
const MAX_EVENT_CHARS = 8 * 1_024 * 1_024;

/** Events until the signal fires. Throws refusals; connections that break are opened again, with backoff, without end. */
export async function* openEvents(
  session: Transport,
  options: { readonly job?: JobId; readonly signal?: AbortSignal },
): AsyncGenerator<LiveEvent> {
  const path = options.job === undefined ? EVENTS_PATH : `${EVENTS_PATH}?job=${options.job}`;
  let backoffMs = FIRST_BACKOFF_MS;
  while (!isAborted(options.signal)) {
    try {
      for await (const event of readOnce(session, path, options.signal)) {
        backoffMs = FIRST_BACKOFF_MS;
        yield event;
      }
    } catch (error) {
      if (isAborted(options.signal)) return;
      if (error instanceof SwarmError && !error.retryable) throw error;
    }
    await sleep(backoffMs, options.signal);
    backoffMs = Math.min(2 * backoffMs, LAST_BACKOFF_MS);
  }
}

async function* readOnce(session: Transport, path: string, outer?: AbortSignal): AsyncGenerator<LiveEvent> {
  const silence = new AbortController();
  const signal = outer ? AbortSignal.any([outer, silence.signal]) : silence.signal;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(new SwarmError('timeout', 'the live stream fell silent')), SILENCE_MS);
  };
  try {
    heard();
    const response = await session.fetch(path, { headers: { accept: 'text/event-stream' }, signal });
    if (!response.ok) throw await toFailure(response);
    if (response.body) yield* parseEvents(response.body, heard);
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

async function* parseEvents(body: ReadableStream<Uint8Array>, heard: () => void): AsyncGenerator<LiveEvent> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let pending = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    pending += decoder.decode(value, { stream: true });
    if (pending.length > MAX_EVENT_CHARS) throw new SwarmError('too-large', 'an event of the live stream is too long');
    const blocks = pending.split('\n\n');
    pending = blocks.pop() ?? '';
    for (const block of blocks) {
      const event = parseBlock(block);
      if (event) yield event;
    }
  }
}

/** Comments keep the connection alive; kinds of events that this version does not know are passed over. */
function parseBlock(block: string): LiveEvent | undefined {
  const data = block
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice(5).trimStart())
    .join('\n');
  const value = data === '' ? undefined : parseJson(data);
  const parsed = liveEventSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  // To pass over these, too, would be to wait for ever for the end of a job.
  if (knownKind.safeParse(value).success)
    throw new SwarmError(
      'old-protocol',
      'the live stream is not what this version understands: update Backyard Swarm on both sides',
    );
  return undefined;
}

const knownKind = z.object({ type: z.enum(['job', 'swarm']) });

function isAborted(signal?: AbortSignal): boolean {
  return signal?.aborted === true;
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done, { once: true });
  });
}
