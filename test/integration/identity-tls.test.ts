import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server } from 'node:https';
import {
  createServer as createTcpServer,
  connect as connectTcp,
  type AddressInfo,
  type Server as TcpServer,
} from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer, connect as connectTls } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import { WebSocket, WebSocketServer } from 'ws';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { PinnedAgent } from '../../src/identity/pinned-agent.ts';
import { pinnedFetch } from '../../src/identity/pinned-fetch.ts';
import { loadOrCreateTlsIdentity, toServerTlsOptions, type TlsIdentity } from '../../src/identity/tls.ts';

let folder: string;
let [own, foreign]: TlsIdentity[] = [];
const cleanups: (() => void)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'swarm-tls-'));
  [own, foreign] = await Promise.all(['own', 'foreign'].map((name) => loadOrCreateTlsIdentity(join(folder, name))));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function agentFor(pin: string, timeoutMs?: number): PinnedAgent {
  const agent = new PinnedAgent(pin, timeoutMs);
  cleanups.push(() => agent.destroy());
  return agent;
}

async function listen(server: TcpServer | Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    if ('closeAllConnections' in server) server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A server that answers by path, with the identity it shows and what it has heard in clear. */
async function serve(
  identity = own!,
): Promise<{ url: string; heard: string[]; connections: () => number; server: Server }> {
  const heard: string[] = [];
  let connections = 0;
  const server = createServer(toServerTlsOptions(identity), (request, response) => {
    heard.push(`${request.method} ${request.url}`);
    if (request.url === '/echo') return void request.pipe(response);
    if (request.url === '/moved') return void response.writeHead(302, { location: 'https://elsewhere.invalid/' }).end();
    if (request.url === '/none') return void response.writeHead(204).end();
    if (request.url === '/cut') return void response.write('half', () => response.destroy());
    if (request.url === '/hang') return;
    response.setHeader('set-cookie', ['a=1', 'b=2']);
    response.end(JSON.stringify({ headers: request.headers }));
  });
  server.on('secureConnection', () => connections++);
  return { url: `https://127.0.0.1:${await listen(server)}`, heard, connections: () => connections, server };
}

describe('pinned fetch', () => {
  test('answers as fetch does', async () => {
    const { url } = await serve();
    const fetch = pinnedFetch(agentFor(own!.pin));
    const response = await fetch(`${url}/`, { method: 'POST', body: 'hé', headers: { 'x-one': '1' } });
    expect(response.status).toBe(200);
    expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    expect(await response.json()).toMatchObject({
      headers: { 'x-one': '1', 'content-length': '3', host: url.slice('https://'.length) },
    });
    expect(await (await fetch(new URL(`${url}/`), { method: 'HEAD' })).text()).toBe('');
    expect((await fetch(`${url}/none`)).body).toBeNull();
    const moved = await fetch(new Request(`${url}/moved`));
    expect([moved.status, moved.headers.get('location')]).toEqual([302, 'https://elsewhere.invalid/']);
  });

  test('uses a connection again', async () => {
    const { url, connections } = await serve();
    const fetch = pinnedFetch(agentFor(own!.pin));
    for (let i = 0; i < 10; i++) await (await fetch(url)).text();
    expect(connections()).toBeLessThan(5);
  });

  test('streams both ways: the answer comes before the body has ended', async () => {
    const { url } = await serve();
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const init: RequestInit & { duplex: 'half' } = { method: 'POST', body: readable, duplex: 'half' };
    const answered = pinnedFetch(agentFor(own!.pin))(`${url}/echo`, init);
    await writer.write(new TextEncoder().encode('one '));
    const reader = (await answered).body!.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader.read()).value).toBe('one ');
    await writer.write(new TextEncoder().encode('two'));
    await writer.close();
    expect((await reader.read()).value).toBe('two');
    expect((await reader.read()).done).toBe(true);
  });

  test('carries 8 MiB there and back unchanged', async () => {
    const { url } = await serve();
    const sent = new Uint8Array(8 * 1_024 * 1_024).map((_, i) => (i * 2_654_435_761) >>> 24);
    const response = await pinnedFetch(agentFor(own!.pin))(`${url}/echo`, { method: 'PUT', body: sent });
    expect(Buffer.compare(await response.bytes(), sent)).toBe(0);
  });

  test('a wrong pin is refused and the server hears nothing', async () => {
    const { url, heard } = await serve(foreign);
    const refused = pinnedFetch(agentFor(own!.pin))(`${url}/`, { method: 'POST', body: 'secret' });
    await expect(refused).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining('nothing was sent'),
    });
    expect(heard).toEqual([]);
  });

  test('not one byte of ours passes before the pin is checked, in clear inside TLS', async () => {
    const clear: Buffer[] = [];
    const ended = Promise.withResolvers<void>();
    const server = createTlsServer(toServerTlsOptions(foreign!), (socket) => {
      socket.on('data', (bytes: Buffer) => clear.push(bytes)).on('error', () => undefined);
    });
    server.on('connection', (socket) => socket.once('close', () => ended.resolve()));
    const url = `https://127.0.0.1:${await listen(server)}`;
    await expect(pinnedFetch(agentFor(own!.pin))(url)).rejects.toThrow('nothing was sent');
    await ended.promise;
    expect(Buffer.concat(clear).toString()).toBe('');
  });

  test('a relay with a certificate of its own is refused; one that only passes bytes on is not', async () => {
    const { url } = await serve();
    const relay = async (server: TcpServer) => `https://127.0.0.1:${await listen(server)}/`;
    const terminating = createTlsServer(toServerTlsOptions(foreign!), (socket) => {
      const onward = connectTls({ port: Number(new URL(url).port), host: '127.0.0.1', rejectUnauthorized: false });
      socket
        .on('error', () => onward.destroy())
        .pipe(onward)
        .on('error', () => socket.destroy())
        .pipe(socket);
    });
    const passing = createTcpServer((socket) => {
      const onward = connectTcp(Number(new URL(url).port), '127.0.0.1');
      socket
        .on('error', () => onward.destroy())
        .pipe(onward)
        .on('error', () => socket.destroy())
        .pipe(socket);
    });
    const fetch = pinnedFetch(agentFor(own!.pin));
    await expect(fetch(await relay(terminating))).rejects.toThrow('nothing was sent');
    expect((await fetch(await relay(passing))).status).toBe(200);
  });

  test('a server that speaks TLS 1.2 at most is refused', async () => {
    const server = createServer({ key: own!.pem, cert: own!.pem, maxVersion: 'TLSv1.2' }, (_, response) =>
      response.end(),
    );
    const refused = pinnedFetch(agentFor(own!.pin))(`https://127.0.0.1:${await listen(server)}`);
    await expect(refused).rejects.toThrow('does not speak TLS 1.3');
  });

  test('plain HTTP, a closed port, silence and an http address each say what is wrong', async () => {
    const plain = await listen(createHttpServer((_, response) => response.end()));
    const silent = await listen(createTcpServer(() => undefined));
    const fetch = pinnedFetch(agentFor(own!.pin, 50));
    await expect(fetch(`https://127.0.0.1:${plain}`)).rejects.toThrow('does not speak TLS 1.3');
    await expect(fetch(`https://127.0.0.1:${silent}`)).rejects.toThrow('did not complete a TLS handshake in 50 ms');
    await expect(fetch('http://127.0.0.1:1')).rejects.toThrow('not an https address');
    await expect(fetch('https://127.0.0.1:1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('an abort and a connection that is cut end the call, or the body', async () => {
    const { url, heard } = await serve();
    const fetch = pinnedFetch(agentFor(own!.pin));
    const stop = new AbortController();
    const hanging = fetch(`${url}/hang`, { signal: stop.signal });
    await expect.poll(() => heard).toEqual(['GET /hang']);
    stop.abort(new Error('enough'));
    await expect(hanging).rejects.toThrow('enough');
    const silent = await listen(createTcpServer(() => undefined));
    const connecting = fetch(`https://127.0.0.1:${silent}`, { signal: AbortSignal.timeout(20) });
    await expect(connecting).rejects.toMatchObject({ name: 'TimeoutError' });
    await expect(fetch(`${url}/`, { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before');
    const cut = await fetch(`${url}/cut`);
    await expect(cut.text()).rejects.toThrow();
    const failing = new ReadableStream({ pull: (controller) => controller.error(new Error('no bytes')) });
    const init: RequestInit & { duplex: 'half' } = { method: 'POST', body: failing, duplex: 'half' };
    await expect(fetch(`${url}/echo`, init)).rejects.toThrow('no bytes');
  });
});

describe('pinned WebSocket', () => {
  test('opens under the right pin and not under another', async () => {
    const { url, server } = await serve();
    const sockets = new WebSocketServer({ server });
    let opened = 0;
    sockets.on('connection', (socket) => {
      opened++;
      socket.on('message', (message) => socket.send(message));
    });
    cleanups.push(() => sockets.clients.forEach((socket) => socket.terminate()));
    const good = new WebSocket(url.replace('https', 'wss'), { agent: agentFor(own!.pin) });
    await once(good, 'open');
    good.send('hello');
    expect(String((await once(good, 'message'))[0])).toBe('hello');
    good.close();
    await once(good, 'close');
    const bad = new WebSocket(url.replace('https', 'wss'), { agent: agentFor(foreign!.pin) });
    const [error] = await once(bad, 'error');
    expect(error).toMatchObject({ code: 'unauthenticated' });
    expect(opened).toBe(1);
  });
});

describe('the server', () => {
  test('refuses TLS 1.2', async () => {
    const { url } = await serve();
    const { hostname: host, port } = new URL(url);
    const socket = connectTls({ host, port: Number(port), maxVersion: 'TLSv1.2', rejectUnauthorized: false });
    const [error] = await once(socket, 'error');
    expect(error).toMatchObject({ code: expect.stringContaining('PROTOCOL_VERSION') });
  });

  test('shows a well-formed certificate that outlives wrong clocks', async () => {
    const certificate = new X509Certificate(own!.pem);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.subject).toBe('CN=backyard-swarm');
    expect(certificate.subjectAltName).toBe('DNS:backyard-swarm.invalid');
    expect(certificate.validToDate.getUTCFullYear()).toBe(9999);
    expect(certificate.serialNumber).toHaveLength(32);
  });
});
