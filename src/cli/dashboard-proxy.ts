// Owns the loopback proxy between a browser and a coordinator whose TLS key is pinned. It adds no rights: the browser
// signs in with its own code, and its requests pass as they are. Other sites' pages and other names are turned away.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { createHostGuard } from '../coordinator/host-guard.ts';
import { readText } from '../coordinator/request-body.ts';
import { SwarmError } from '../protocol/errors.ts';
import { MAX_HANDSHAKE_BYTES } from '../protocol/http.ts';

export type DashboardProxy = AsyncDisposable & { readonly url: string };

type Upstream = {
  /** The coordinator's address. */
  readonly url: string;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
};

const SENT_ON = ['authorization', 'content-type', 'accept'];
const SENT_BACK = [
  ...['content-type', 'cache-control', 'content-security-policy', 'referrer-policy', 'x-content-type-options'],
  'cross-origin-opener-policy',
];

/** Listens on loopback. Throws 'port-in-use'. */
export async function startDashboardProxy(upstream: Upstream & { readonly port: number }): Promise<DashboardProxy> {
  const guard = createHostGuard(['127.0.0.1', 'localhost']);
  const listener = getRequestListener(async (request) => {
    const { headers } = request;
    const refusal = guard.check(headers.get('host') ?? undefined, headers.get('origin') ?? undefined);
    if (refusal !== undefined) return new Response(refusal, { status: 403 });
    return passOn(upstream, request);
  });
  const server = createServer((request, response) => void listener(request, response));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new SwarmError('port-in-use', `port ${upstream.port} cannot be used: ${cause.message}`, { cause })),
    );
    server.listen({ host: '127.0.0.1', port: upstream.port }, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function passOn(upstream: Upstream, request: Request): Promise<Response> {
  const { method, signal } = request;
  if (method !== 'GET' && method !== 'POST') return new Response('a dashboard only looks', { status: 405 });
  const { pathname, search } = new URL(request.url);
  try {
    const body = method === 'POST' ? { body: await readText(request, MAX_HANDSHAKE_BYTES) } : {};
    const init = { method, headers: pick(request.headers, SENT_ON), signal, ...body };
    const answer = await upstream.fetch(`${upstream.url}${pathname}${search}`, init);
    return new Response(answer.body, { status: answer.status, headers: pick(answer.headers, SENT_BACK) });
  } catch (error) {
    if (error instanceof SwarmError && error.code === 'too-large') return new Response(error.message, { status: 413 });
    return new Response('the coordinator cannot be reached', { status: 502 });
  }
}

function pick(headers: Headers, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (headers.has(name) ? [[name, headers.get(name) ?? '']] : [])));
}
