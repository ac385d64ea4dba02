// Owns where a coordinator listens: plain HTTP on loopback, TLS 1.3 beyond it, a public address only when it was asked
// for twice. Knows no routes.

import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { BlockList, isIP, type Socket } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { loadOrCreateTlsIdentity, toServerTlsOptions, type TlsIdentity } from '../identity/tls.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { CoordinatorConfig } from './config.ts';

const MAX_CONNECTIONS = 4_096;
/** For the TLS handshake, and for the headers of a request. */
const FIRST_WORDS_MS = 15_000;
const CLOSE_MS = 2_000;

/** How a coordinator will listen. `tls` is absent on loopback. */
export type Listening = {
  readonly tls: TlsIdentity | undefined;
  /** Names and addresses by which it may be called. */
  readonly hosts: readonly string[];
};

/** Decides about TLS and refuses public addresses. Throws 'bad-input'. */
export async function prepareListening(config: CoordinatorConfig): Promise<Listening> {
  const { host, publicHosts, dir } = config;
  if (isLoopbackHost(host)) return { tls: undefined, hosts: [...LOOPBACK_HOSTS, host, ...publicHosts] };
  if (isIP(host) === 0)
    throw new SwarmError('bad-input', `"${host}" is no address to listen on: give an IP address of this machine`);
  const addresses = isWildcard(host) ? listAddresses() : [host];
  const exposed = addresses.find((address) => !isPrivate(address));
  if (exposed !== undefined && !config.allowPublic)
    throw new SwarmError(
      'bad-input',
      `${exposed} is a public address, and a swarm is private: listen on the LAN or overlay address, or confirm with --allow-public`,
    );
  const tls = await loadOrCreateTlsIdentity(join(dir, 'tls.pem'));
  const names = [hostname(), `${hostname()}.local`];
  return { tls, hosts: [...LOOPBACK_HOSTS, ...addresses, ...names, ...publicHosts] };
}

/** A server that does not listen yet, and how to close it. Uploads may take hours; what stalls its handler cuts off. */
export function createServer(tls: TlsIdentity | undefined): { server: Server; close: () => Promise<void> } {
  const server = tls
    ? createHttpsServer({ ...toServerTlsOptions(tls), handshakeTimeout: FIRST_WORDS_MS })
    : createHttpServer();
  server.requestTimeout = 0;
  server.headersTimeout = FIRST_WORDS_MS;
  server.maxConnections = MAX_CONNECTIONS;
  // The server itself forgets sockets that were upgraded, and does not know those whose TLS handshake has not ended.
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return { server, close: () => closeServer(server, sockets) };
}

/** Lets requests that are nearly done end, then ends what is left. */
async function closeServer(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const idle = setInterval(() => server.closeIdleConnections(), 20);
  const timer = setTimeout(() => {
    for (const socket of sockets) socket.destroy();
  }, CLOSE_MS);
  await closed;
  clearInterval(idle);
  clearTimeout(timer);
}

/** Listens and returns every address at which others can reach it, loopback first. Throws 'port-in-use', 'bad-input'. */
export async function listen(server: Server, { host, port }: CoordinatorConfig, isTls: boolean): Promise<string[]> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(toListenError(cause, host, port)));
    server.listen({ host, port }, resolve);
  });
  const address = server.address();
  const bound = typeof address === 'object' && address !== null ? address.port : port;
  const hosts = isWildcard(host) ? ['127.0.0.1', ...listAddresses()] : [host];
  return [...new Set(hosts)].map(
    (name) => `${isTls ? 'https' : 'http'}://${isIP(name) === 6 ? `[${name}]` : name}:${bound}`,
  );
}

function toListenError(cause: NodeJS.ErrnoException, host: string, port: number): SwarmError {
  if (cause.code === 'EADDRINUSE')
    return new SwarmError(
      'port-in-use',
      `port ${port} on ${host} is in use: a coordinator may be running already; stop it or choose another with --port`,
      { cause },
    );
  const why = cause.code === 'EACCES' ? 'ports below 1024 need more rights' : cause.message;
  return new SwarmError('bad-input', `cannot listen on ${host}:${port}: ${why}`, { cause });
}

const LOOPBACK_HOSTS = ['localhost', '127.0.0.1', '::1'];

function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** This machine's own addresses beyond loopback; link-local ones need a zone and are left out. */
function listAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address);
}

/** RFC 1918, RFC 6598 (also used by tailnets), RFC 3927, RFC 4193, RFC 4291. */
const PRIVATE = new BlockList();
PRIVATE.addSubnet('127.0.0.0', 8);
PRIVATE.addSubnet('10.0.0.0', 8);
PRIVATE.addSubnet('172.16.0.0', 12);
PRIVATE.addSubnet('192.168.0.0', 16);
PRIVATE.addSubnet('100.64.0.0', 10);
PRIVATE.addSubnet('169.254.0.0', 16);
PRIVATE.addSubnet('fc00::', 7, 'ipv6');
PRIVATE.addSubnet('fe80::', 10, 'ipv6');
PRIVATE.addAddress('::1', 'ipv6');

function isPrivate(address: string): boolean {
  return PRIVATE.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}
