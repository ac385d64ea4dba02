// Owns moving artifacts between machines as it really happens: real sockets, connections that are cut, bytes that change
// on the way, senders that give up, receivers that restart.

import { createAdaptorServer } from '@hono/node-server';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ArtifactId } from '../../src/lib/ids.ts';
import { FolderObjectStore } from '../../src/objects/folder.ts';
import { handleArtifact } from '../../src/objects/http-handlers.ts';
import { hashBytes } from '../../src/objects/objects-hash.ts';
import { downloadArtifact, fetchArtifact } from '../../src/objects/transfer-download.ts';
import type { TransferOptions } from '../../src/objects/transfer-http.ts';
import { uploadArtifact } from '../../src/objects/transfer.ts';

const MIB = 1_048_576;
const bytes = randomBytes(8 * MIB);
const id = hashBytes(bytes);

let folder: string;
let store: FolderObjectStore;
let requests: { method: string; offset: string | null; range: string | null }[];
let server: Awaited<ReturnType<typeof startServer>>;
let proxy: Awaited<ReturnType<typeof startProxy>>;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'swarm-transfer-'));
  mkdirSync(join(folder, 'in'));
  writeFileSync(join(folder, 'source'), bytes);
  store = await openStore();
  requests = [];
  server = await startServer();
  proxy = await startProxy(() => server.port);
});

afterEach(async () => {
  await proxy.stop();
  await server.stop();
  rmSync(folder, { recursive: true });
});

function openStore(quotaBytes = 100 * MIB): Promise<FolderObjectStore> {
  return FolderObjectStore.open(join(folder, 'objects'), { quotaBytes, reserveBytes: 0 });
}

/** The artifact routes on a real socket, with as much around them as a coordinator would have. */
async function startServer(maxBytes?: number): Promise<{ port: number; stop(): Promise<void> }> {
  const listener = createAdaptorServer({
    fetch: (request: Request) => {
      const { headers, method, url } = request;
      requests.push({ method, offset: headers.get('upload-offset'), range: headers.get('range') });
      const rawId = decodeURIComponent(new URL(url).pathname.replace('/v1/artifacts/', ''));
      const uploader = headers.get('authorization') ?? 'nobody';
      return handleArtifact(store, request, rawId, maxBytes === undefined ? { uploader } : { uploader, maxBytes });
    },
  }) as Server & { closeAllConnections(): void };
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    port: (listener.address() as AddressInfo).port,
    async stop() {
      if (!listener.listening) return;
      const closed = once(listener, 'close');
      listener.close();
      listener.closeAllConnections();
      await closed;
    },
  };
}

type Fault =
  | { readonly cutAfterBytes: number; readonly side: 'up' | 'down' }
  | { readonly flipAtByte: number; readonly side: 'up' | 'down' };

/** A chunk of this size is content, not a request's or an answer's head. */
const CONTENT_BYTES = 10_000;

/** Passes connections on. The next fault begins with the next content that flows to its side. */
async function startProxy(
  targetPort: () => number,
): Promise<{ port: number; faults: Fault[]; carried: { up: number; down: number }; stop(): Promise<void> }> {
  const faults: Fault[] = [];
  const carried = { up: 0, down: 0 };
  const sockets = new Set<Socket>();
  const listener = createServer((client) => {
    const upstream = connect(targetPort(), '127.0.0.1');
    const cut = (): void => [client, upstream].forEach((socket) => socket.destroy());
    const pass = (from: Socket, to: Socket, side: Fault['side']): void => {
      sockets.add(from);
      let fault: Fault | undefined;
      let seen = 0;
      from.on('data', (chunk: Buffer) => {
        carried[side] += chunk.byteLength;
        if (!fault && chunk.byteLength > CONTENT_BYTES && faults[0]?.side === side) [fault, seen] = [faults.shift(), 0];
        const at = seen;
        seen += chunk.byteLength;
        if (fault && 'cutAfterBytes' in fault && seen >= fault.cutAfterBytes) return cut();
        if (fault && 'flipAtByte' in fault && seen > fault.flipAtByte) {
          const index = fault.flipAtByte - at;
          chunk[index] = (chunk[index] ?? 0) ^ 1;
          fault = undefined;
        }
        if (!to.write(chunk)) from.pause();
      });
      to.on('drain', () => from.resume());
      from.on('error', cut);
      from.on('close', cut);
    };
    pass(client, upstream, 'up');
    pass(upstream, client, 'down');
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    port: (listener.address() as AddressInfo).port,
    faults,
    carried,
    async stop() {
      const closed = once(listener, 'close');
      listener.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function options(more: Partial<TransferOptions> = {}): TransferOptions {
  return {
    fetch,
    baseUrl: `http://127.0.0.1:${proxy.port}`,
    headers: { authorization: 'alice' },
    id,
    backoffMs: () => 5,
    ...more,
  };
}

function upload(more: Partial<TransferOptions> = {}): ReturnType<typeof uploadArtifact> {
  return uploadArtifact({ ...options(more), source: { path: join(folder, 'source') } });
}

function download(more: Partial<TransferOptions> & { maxBytes?: number } = {}): ReturnType<typeof downloadArtifact> {
  return downloadArtifact({
    ...options(more),
    toFile: join(folder, 'in', 'file'),
    maxBytes: more.maxBytes ?? 100 * MIB,
  });
}

function received(): Buffer {
  return readFileSync(join(folder, 'in', 'file'));
}

function objectUrl(name: string = id): string {
  return `http://127.0.0.1:${server.port}/v1/artifacts/${name}`;
}

async function expectOneCopy(): Promise<void> {
  expect(await store.stat(id)).toEqual({ sizeBytes: bytes.byteLength });
  expect(await store.usage()).toMatchObject({ usedBytes: bytes.byteLength });
  expect(readdirSync(join(folder, 'objects', 'partial'))).toEqual([]);
}

async function waitFor(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('the condition was not met in time');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('upload', () => {
  test('from a file, with progress; a second one sends nothing', async () => {
    const seen: number[] = [];
    const result = await upload({ onProgress: ({ doneBytes }) => seen.push(doneBytes) });
    expect(result).toEqual({ sizeBytes: bytes.byteLength, existed: false });
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen.at(-1)).toBe(bytes.byteLength);
    await expectOneCopy();
    const before = proxy.carried.up;
    expect(await upload()).toEqual({ sizeBytes: bytes.byteLength, existed: true });
    expect(proxy.carried.up - before).toBeLessThan(2_000);
  });

  test('from memory, of nothing at all too', async () => {
    const empty = hashBytes(new Uint8Array());
    expect(await uploadArtifact({ ...options({ id: empty }), source: new Uint8Array() })).toEqual({
      sizeBytes: 0,
      existed: false,
    });
    expect(await uploadArtifact({ ...options(), source: bytes })).toMatchObject({ existed: false });
  });

  test('cut again and again, it goes on where it stood', async () => {
    proxy.faults.push(...[2, 3, 1].map((mib) => ({ cutAfterBytes: mib * MIB, side: 'up' }) as const));
    expect(await upload()).toEqual({ sizeBytes: bytes.byteLength, existed: false });
    await expectOneCopy();
    const offsets = requests.filter(({ method }) => method === 'PUT').map(({ offset }) => Number(offset));
    expect(offsets.length).toBeGreaterThanOrEqual(4);
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
    expect(new Set(offsets).size).toBe(offsets.length);
    expect(proxy.carried.up).toBeLessThan(1.5 * bytes.byteLength);
  });

  test('it survives a receiver that restarts', async () => {
    proxy.faults.push({ cutAfterBytes: 3 * MIB, side: 'up' });
    let restarted = false;
    const backoffMs = (): number => 20;
    const restarting: typeof fetch = async (...args) => {
      if (requests.filter(({ method }) => method === 'PUT').length === 1 && !restarted) {
        restarted = true;
        await server.stop();
        store = await openStore();
        server = await startServer();
      }
      return await fetch(...args);
    };
    expect(await upload({ fetch: restarting, backoffMs })).toMatchObject({ sizeBytes: bytes.byteLength });
    expect(restarted).toBe(true);
    await expectOneCopy();
  });

  test('bytes changed on the way are refused and deleted', async () => {
    proxy.faults.push({ flipAtByte: 4 * MIB, side: 'up' });
    await expect(upload()).rejects.toMatchObject({ code: 'hash-mismatch' });
    expect(await store.stat(id)).toBeUndefined();
    expect((await store.usage()).usedBytes).toBe(0);
  });

  test('when what an earlier try left is wrong, all is sent once more', async () => {
    await store.append({ id, uploader: 'alice' }, 0, randomBytes(MIB), { totalBytes: bytes.byteLength });
    expect(await upload()).toMatchObject({ existed: false });
    await expectOneCopy();
  });

  test('canceled in the middle, nothing is visible, and a later one goes on', async () => {
    const abort = new AbortController();
    const onProgress = ({ doneBytes }: { doneBytes: number }): void => {
      if (doneBytes > 4 * MIB) abort.abort();
    };
    await expect(upload({ signal: abort.signal, onProgress })).rejects.toMatchObject({ code: 'canceled' });
    expect(await store.stat(id)).toBeUndefined();
    expect((await fetch(objectUrl())).status).toBe(404);
    await waitFor(async () => (await store.uploadedBytes({ id, uploader: 'alice' })) > 0);
    requests.length = 0;
    await upload();
    expect(Number(requests.find(({ method }) => method === 'PUT')?.offset)).toBeGreaterThan(0);
    await expectOneCopy();
  });

  test('two uploaders at once, and the same one twice', async () => {
    const all = await Promise.all([upload(), upload({ headers: { authorization: 'bob' } }), upload()]);
    expect(all.map((result) => result.sizeBytes)).toEqual(Array(3).fill(bytes.byteLength));
    await expectOneCopy();
  });

  test('a receiver without room says so, however much is being sent', async () => {
    store = await openStore(MIB);
    await expect(upload()).rejects.toMatchObject({ code: 'quota-exceeded' });
    const big = randomBytes(80 * MIB);
    const failing = uploadArtifact({ ...options({ id: hashBytes(big) }), source: big });
    await expect(failing).rejects.toMatchObject({ code: 'quota-exceeded' });
    expect((await store.usage()).usedBytes).toBe(0);
  });

  test('a receiver whose disk is full says so after the last try', async (context) => {
    rmSync(join(folder, 'objects'), { recursive: true });
    mkdirSync(join(folder, 'objects'));
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', join(folder, 'objects')]).status !== 0)
      context.skip('needs root to mount a small tmpfs');
    try {
      store = await openStore();
      await expect(upload({ maxFailures: 3 })).rejects.toMatchObject({ code: 'disk-full' });
      expect(await store.stat(id)).toBeUndefined();
    } finally {
      spawnSync('umount', ['-l', join(folder, 'objects')]);
    }
  });

  test('a file that is not there, or is not what its name says, is the caller’s mistake', async () => {
    const missing = uploadArtifact({ ...options(), source: { path: join(folder, 'no such file') } });
    await expect(missing).rejects.toMatchObject({ code: 'ENOENT' });
    writeFileSync(join(folder, 'source'), 'something else');
    await expect(upload()).rejects.toMatchObject({ code: 'hash-mismatch' });
  });

  test('nobody there: it gives up after a bounded number of tries, and says where it stood', async () => {
    await server.stop();
    let tries = 0;
    const backoffMs = (failures: number): number => (tries = failures);
    await expect(upload({ backoffMs })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('at byte 0') as string,
    });
    expect(tries).toBe(7);
  });

  test('a receiver that never answers is given up', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const baseUrl = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    await expect(upload({ baseUrl, stallMs: 50, maxFailures: 2 })).rejects.toMatchObject({ code: 'unavailable' });
    await expect(download({ baseUrl, stallMs: 50, maxFailures: 2 })).rejects.toMatchObject({ code: 'timeout' });
    silent.close();
  });
});

describe('download', () => {
  beforeEach(async () => {
    await store.put(id, bytes);
  });

  test('to a file, with progress and nothing left beside it', async () => {
    const seen: { doneBytes: number; totalBytes: number | undefined }[] = [];
    expect(await download({ onProgress: (progress) => seen.push(progress) })).toEqual({ sizeBytes: bytes.byteLength });
    expect(seen.at(-1)).toEqual({ doneBytes: bytes.byteLength, totalBytes: bytes.byteLength });
    expect(received().equals(bytes)).toBe(true);
    expect(readdirSync(join(folder, 'in'))).toEqual(['file']);
  });

  test('cut again and again, it goes on where it stood', async () => {
    proxy.faults.push(...[2, 3, 1].map((mib) => ({ cutAfterBytes: mib * MIB, side: 'down' }) as const));
    await download();
    expect(received().equals(bytes)).toBe(true);
    expect(requests.map(({ range }) => range !== null)).toEqual([false, true, true, true]);
    expect(proxy.carried.down).toBeLessThan(1.5 * bytes.byteLength);
  });

  test('what one call left, a later one goes on with', async () => {
    proxy.faults.push({ cutAfterBytes: 5 * MIB, side: 'down' });
    await expect(download({ maxFailures: 1 })).rejects.toMatchObject({ code: 'unavailable' });
    expect(existsSync(join(folder, 'in', 'file'))).toBe(false);
    await download();
    expect(requests.at(-1)?.range).toMatch(/^bytes=\d{6,}-$/);
    expect(received().equals(bytes)).toBe(true);
  });

  test.each([
    ['whole but not yet named', bytes],
    ['longer than the artifact', Buffer.concat([bytes, bytes])],
    ['of other bytes', randomBytes(MIB)],
  ])('a partial file that is %s', async (_what, content) => {
    writeFileSync(join(folder, 'in', `file.${id.slice(7, 23)}.partial`), content);
    await download();
    expect(received().equals(bytes)).toBe(true);
    expect(readdirSync(join(folder, 'in'))).toEqual(['file']);
  });

  test('bytes changed on the way, or at the other side, never get the file’s name', async () => {
    writeFileSync(join(folder, 'in', 'file'), 'an older file');
    proxy.faults.push({ flipAtByte: 4 * MIB, side: 'down' });
    await expect(download()).rejects.toMatchObject({ code: 'hash-mismatch' });
    expect(received().toString()).toBe('an older file');
    expect(readdirSync(join(folder, 'in'))).toEqual(['file']);
  });

  test('canceled, the name is not taken', async () => {
    const abort = new AbortController();
    const onProgress = ({ doneBytes }: { doneBytes: number }): void => {
      if (doneBytes > 2 * MIB) abort.abort();
    };
    await expect(download({ signal: abort.signal, onProgress })).rejects.toMatchObject({ code: 'canceled' });
    expect(existsSync(join(folder, 'in', 'file'))).toBe(false);
    await download();
    expect(received().equals(bytes)).toBe(true);
  });

  test('what is not there, too large, or being fetched already is refused at once', async () => {
    const other = hashBytes(Buffer.from('never stored'));
    await expect(download({ id: other })).rejects.toMatchObject({ code: 'not-found' });
    await expect(download({ maxBytes: MIB })).rejects.toMatchObject({ code: 'too-large' });
    const first = download();
    await expect(download()).rejects.toMatchObject({ code: 'conflict' });
    await first;
  });

  test('a full disk here is named at once', async (context) => {
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', join(folder, 'in')]).status !== 0)
      context.skip('needs root to mount a small tmpfs');
    try {
      await expect(download()).rejects.toMatchObject({ code: 'disk-full' });
      expect(existsSync(join(folder, 'in', 'file'))).toBe(false);
    } finally {
      spawnSync('umount', ['-l', join(folder, 'in')]);
    }
  });

  test('into memory, verified and bounded', async () => {
    expect(Buffer.compare(await fetchArtifact({ ...options(), maxBytes: 100 * MIB }), bytes)).toBe(0);
    await expect(fetchArtifact({ ...options(), maxBytes: MIB })).rejects.toMatchObject({ code: 'too-large' });
  });

  test('into memory, changed on the way', async () => {
    proxy.faults.push({ flipAtByte: 4 * MIB, side: 'down' });
    await expect(fetchArtifact({ ...options(), maxBytes: 100 * MIB })).rejects.toMatchObject({
      code: 'hash-mismatch',
    });
  });
});

describe('http', () => {
  test.each([
    ['bytes=0-0', 206, 0, 1],
    ['bytes=5-', 206, 5, bytes.byteLength],
    ['bytes=-7', 206, bytes.byteLength - 7, bytes.byteLength],
    ['bytes=1000000-1999999', 206, 1_000_000, 2_000_000],
    ['bytes=0-99999999999', 206, 0, bytes.byteLength],
    ['bytes=9-5', 200, 0, bytes.byteLength],
    ['bytes=0-1,5-6', 200, 0, bytes.byteLength],
    ['items=0-1', 200, 0, bytes.byteLength],
    ['bytes=-', 200, 0, bytes.byteLength],
  ])('GET with Range: %s answers %i', async (range, status, start, end) => {
    await store.put(id, bytes);
    const response = await fetch(objectUrl(), { headers: { range } });
    expect(response.status).toBe(status);
    expect(response.headers.get('content-length')).toBe(String(end - start));
    expect(response.headers.get('content-range')).toBe(
      status === 206 ? `bytes ${start}-${end - 1}/${bytes.byteLength}` : null,
    );
    expect(Buffer.compare(Buffer.from(await response.arrayBuffer()), bytes.subarray(start, end))).toBe(0);
  });

  test.each([`bytes=${bytes.byteLength}-`, 'bytes=99999999-', 'bytes=-0'])(
    'GET with Range: %s answers 416',
    async (range) => {
      await store.put(id, bytes);
      const response = await fetch(objectUrl(), { headers: { range } });
      expect(response.status).toBe(416);
      expect(response.headers.get('content-range')).toBe(`bytes */${bytes.byteLength}`);
    },
  );

  test('HEAD tells the size of what is stored, and where an upload stands', async () => {
    const before = await fetch(objectUrl(), { method: 'HEAD', headers: { authorization: 'alice' } });
    expect([before.status, before.headers.get('upload-offset')]).toEqual([404, '0']);
    await store.append({ id, uploader: 'alice' }, 0, bytes.subarray(0, 77), { totalBytes: bytes.byteLength });
    const during = await fetch(objectUrl(), { method: 'HEAD', headers: { authorization: 'alice' } });
    expect([during.status, during.headers.get('upload-offset')]).toEqual([404, '77']);
    await store.put(id, bytes);
    const after = await fetch(objectUrl(), { method: 'HEAD' });
    expect([after.status, after.headers.get('content-length')]).toEqual([200, String(bytes.byteLength)]);
  });

  test('PUT at the wrong offset tells the right one', async () => {
    await store.append({ id, uploader: 'alice' }, 0, bytes.subarray(0, 77), { totalBytes: bytes.byteLength });
    const response = await put(
      id,
      { 'upload-offset': '5', 'upload-length': String(bytes.byteLength) },
      bytes.subarray(5),
    );
    expect([response.status, response.headers.get('upload-offset')]).toEqual([409, '77']);
    expect(await response.json()).toMatchObject({ error: { code: 'conflict' } });
  });

  test.each([
    ['no headers', {}, 400, 'bad-request'],
    ['a negative offset', { 'upload-offset': '-1', 'upload-length': '10' }, 400, 'bad-request'],
    ['a length that is no number', { 'upload-offset': '0', 'upload-length': '1e9' }, 400, 'bad-request'],
    ['fewer bytes than announced', { 'upload-offset': '0', 'upload-length': '11' }, 409, 'conflict'],
    ['more bytes than announced', { 'upload-offset': '0', 'upload-length': '9' }, 413, 'too-large'],
    ['other bytes than named', { 'upload-offset': '0', 'upload-length': '10' }, 422, 'hash-mismatch'],
  ])('PUT with %s is refused', async (_what, headers, status, code) => {
    const response = await put(id, headers, Buffer.from('0123456789'));
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ error: { code } });
    expect(await store.stat(id)).toBeUndefined();
  });

  test('an artifact beyond the limit of the route is refused before it is sent', async () => {
    await server.stop();
    server = await startServer(MIB);
    await expect(upload()).rejects.toMatchObject({ code: 'too-large' });
    expect(readdirSync(join(folder, 'objects', 'partial'))).toEqual([]);
  });

  test.each([
    '..%2f..%2f..%2fetc%2fpasswd',
    'sha256:..%2f..%2fetc%2fpasswd',
    `${id}%00`,
    id.toUpperCase(),
    id.slice(0, -1),
  ])('the name %s is refused', async (name) => {
    for (const method of ['GET', 'PUT', 'HEAD']) {
      const response = await fetch(objectUrl(name), {
        method,
        headers: { 'upload-offset': '0', 'upload-length': '0' },
      });
      expect(response.status).toBe(400);
      if (method !== 'HEAD') expect(await response.json()).toMatchObject({ error: { code: 'bad-request' } });
    }
  });

  test('other methods are refused', async () => {
    expect((await fetch(objectUrl(), { method: 'DELETE' })).status).toBe(405);
  });

  test('a browser is told not to show an artifact as this origin’s page', async () => {
    const page = Buffer.from('<script>alert(1)</script>');
    await store.put(hashBytes(page), page);
    const { headers } = await fetch(objectUrl(hashBytes(page)));
    expect(headers.get('content-type')).toBe('application/octet-stream');
    expect(headers.get('content-disposition')).toBe('attachment');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toContain('sandbox');
  });
});

function put(name: ArtifactId, headers: Record<string, string>, body: Uint8Array<ArrayBuffer>): Promise<Response> {
  return fetch(objectUrl(name), { method: 'PUT', headers: { authorization: 'alice', ...headers }, body });
}
