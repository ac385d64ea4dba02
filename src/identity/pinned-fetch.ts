// Owns `fetch` over a pinned connection: the Fetch API's shape on node:https, because Node's own fetch cannot compare
// a key before it sends. Bodies stream both ways; redirects are returned, never followed.

import { request as sendRequest } from 'node:https';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream as NodeReadableStream } from 'node:stream/web';
import { SwarmError } from '../protocol/errors.ts';
import type { PinnedAgent } from './pinned-agent.ts';

export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** Statuses whose responses have no body. */
const BODILESS = new Set([204, 205, 304]);

/** A `fetch` for https addresses through `agent`. Rejects with SwarmError `unauthenticated` on a wrong key. */
export function pinnedFetch(agent: PinnedAgent): Fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    if (!request.url.startsWith('https:'))
      throw new SwarmError('bad-request', `${request.url} is not an https address: a pin protects nothing there`);
    request.signal.throwIfAborted();
    return send(request, toHeaders(request, init), agent);
  };
}

async function send(request: Request, headers: Record<string, string>, agent: PinnedAgent): Promise<Response> {
  const { promise, resolve, reject } = Promise.withResolvers<Response>();
  const { signal, method } = request;
  const outgoing = sendRequest(request.url, { agent, method, headers, signal });
  outgoing.once('response', (incoming) => resolve(toResponse(incoming, method)));
  const onFailed = (error: unknown) => reject(signal.aborted ? signal.reason : error);
  outgoing.on('error', onFailed);
  // A request that has no socket yet tells of its end only when it gets one.
  signal.addEventListener('abort', onFailed, { once: true });
  sendBody(request, outgoing).catch(onFailed);
  return promise;
}

/** A body that fails takes the request with it; a response that came before stands. */
async function sendBody(request: Request, outgoing: ClientRequest): Promise<void> {
  if (request.body === null) outgoing.end();
  else await pipeline(Readable.fromWeb(toNodeStream(request.body)), outgoing);
}

function toResponse(incoming: IncomingMessage, method: string): Response {
  const status = incoming.statusCode ?? 0;
  const headers = new Headers();
  for (const [name, values] of Object.entries(incoming.headersDistinct))
    for (const value of values ?? []) headers.append(name, value);
  const init = { status, statusText: incoming.statusMessage ?? '', headers };
  if (method !== 'HEAD' && !BODILESS.has(status)) return new Response(Readable.toWeb(incoming) as BodyInit, init);
  incoming.resume();
  return new Response(null, init);
}

/** A body whose length is known is sent with it, not in chunks. */
function toHeaders(request: Request, init: RequestInit | undefined): Record<string, string> {
  const headers = Object.fromEntries(request.headers);
  const body = init?.body;
  if (typeof body === 'string') headers['content-length'] ??= String(Buffer.byteLength(body));
  if (body instanceof Uint8Array || body instanceof ArrayBuffer) headers['content-length'] ??= String(body.byteLength);
  return headers;
}

/** The two declarations of one and the same web stream. */
function toNodeStream(stream: ReadableStream<Uint8Array>): NodeReadableStream {
  return stream as NodeReadableStream;
}
