// Owns what every ObjectStore must do, wherever its bytes lie. Run against each adapter.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ArtifactId } from '../../src/lib/ids.ts';
import { FolderObjectStore } from '../../src/objects/folder.ts';
import { MemoryObjectStore } from '../../src/objects/memory-objects.ts';
import { hashBytes } from '../../src/objects/objects-hash.ts';
import type { ObjectStore, UploadKey } from '../../src/objects/objects.ts';

type Place = { open(quotaBytes: number): Promise<ObjectStore>; dispose(): void };

const ADAPTERS: Readonly<Record<string, () => Place>> = {
  memory: () => ({ open: async (quotaBytes) => new MemoryObjectStore({ quotaBytes }), dispose: () => undefined }),
  folder: () => {
    const root = mkdtempSync(join(tmpdir(), 'swarm-objects-'));
    return {
      open: (quotaBytes) => FolderObjectStore.open(root, { quotaBytes, reserveBytes: 0 }),
      dispose: () => rmSync(root, { recursive: true }),
    };
  },
};

const QUOTA_BYTES = 1_200_000;

function bytesOf(size: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 31 + seed * 17 + (i >> 8)) & 0xff);
}

/** A source that gives `chunks`, then fails with `error` if there is one. */
async function* source(chunks: readonly Uint8Array[], error?: Error): AsyncGenerator<Uint8Array> {
  yield* chunks;
  if (error) throw error;
}

/** A source that gives one chunk and is then silent for ever; `started` resolves when that chunk has been taken. */
function stalling(chunk: Uint8Array): { started: Promise<void>; bytes: AsyncIterable<Uint8Array> } {
  const started = Promise.withResolvers<void>();
  const stall = async function* (): AsyncGenerator<Uint8Array> {
    yield chunk;
    started.resolve();
    await new Promise(() => undefined);
  };
  return { started: started.promise, bytes: stall() };
}

async function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

describe.each(Object.entries(ADAPTERS))('object store contract: %s', (_name, createPlace) => {
  let place: Place;
  let store: ObjectStore;
  const bytes = bytesOf(300_000);
  const id = hashBytes(bytes);
  const alice: UploadKey = { id, uploader: 'alice' };
  const bob: UploadKey = { id, uploader: 'bob' };
  const totalBytes = bytes.byteLength;

  beforeEach(async () => {
    place = createPlace();
    store = await place.open(QUOTA_BYTES);
  });

  afterEach(() => place.dispose());

  async function expectNothing(): Promise<void> {
    expect(await store.stat(id)).toBeUndefined();
    await expect(store.open(id)).rejects.toMatchObject({ code: 'not-found' });
    expect(await Array.fromAsync(store.list())).toEqual([]);
  }

  async function expectStored(): Promise<void> {
    expect(await store.stat(id)).toEqual({ sizeBytes: totalBytes });
    expect(hashBytes(await readAll(await store.open(id)))).toBe(id);
    expect(await Array.fromAsync(store.list())).toEqual([{ id, sizeBytes: totalBytes }]);
    expect(await store.usage()).toEqual({ usedBytes: totalBytes, quotaBytes: QUOTA_BYTES });
  }

  test('a new store holds nothing', async () => {
    await expectNothing();
    expect(await store.usage()).toEqual({ usedBytes: 0, quotaBytes: QUOTA_BYTES });
  });

  test.each([
    ['bytes', () => bytes],
    ['a stream', () => source([bytes.slice(0, 10), new Uint8Array(), bytes.slice(10)])],
  ])('what is put as %s is there', async (_what, give) => {
    expect(await store.put(id, give())).toEqual({ sizeBytes: totalBytes, existed: false });
    await expectStored();
  });

  test('putting again says so and does not read the bytes', async () => {
    await store.put(id, bytes);
    expect(await store.put(id, source([], new Error('read')))).toEqual({ sizeBytes: totalBytes, existed: true });
    await expectStored();
  });

  test('no bytes at all are an artifact too', async () => {
    const empty = hashBytes(new Uint8Array());
    expect(await store.put(empty, source([]))).toEqual({ sizeBytes: 0, existed: false });
    expect(await readAll(await store.open(empty))).toHaveLength(0);
    await store.remove(empty);
    await store.append({ id: empty, uploader: 'a' }, 0, new Uint8Array(), { totalBytes: 0 });
    expect(await store.finish({ id: empty, uploader: 'a' }, 0)).toEqual({ sizeBytes: 0, existed: false });
  });

  test('ranges give exactly their bytes', async () => {
    await store.put(id, bytes);
    const range = fc.tuple(fc.nat(totalBytes - 1), fc.integer({ min: 1, max: totalBytes })).filter(([a, b]) => a < b);
    await fc.assert(
      fc.asyncProperty(range, async ([start, end]) => {
        const got = await readAll(await store.open(id, { start, end }));
        expect(Buffer.compare(got, bytes.slice(start, end))).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  test.each([
    [0, 0],
    [5, 5],
    [-1, 5],
    [0, totalBytes + 1],
    [0.5, 2],
    [Number.NaN, 2],
  ])('the range [%s, %s) is refused', async (start, end) => {
    await store.put(id, bytes);
    await expect(store.open(id, { start, end })).rejects.toMatchObject({ code: 'bad-request' });
  });

  test('a reader that stops early, or never starts, harms nothing', async () => {
    await store.put(id, bytes);
    await (await store.open(id)).cancel();
    const reader = (await store.open(id)).getReader();
    await reader.read();
    await reader.cancel();
    await expectStored();
  });

  test.each([
    'sha256:../../../../etc/passwd',
    '../../etc/passwd',
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'a'.repeat(63)}`,
    `sha256:${'a'.repeat(64)}\n`,
    `sha256:${'a'.repeat(60)}/../`,
    `sha512:${'a'.repeat(64)}`,
    '',
  ])('%j is no artifact id', async (text) => {
    const wrong = text as ArtifactId;
    const key = { id: wrong, uploader: 'alice' };
    const refused = { code: 'bad-request' };
    await expect(store.stat(wrong)).rejects.toMatchObject(refused);
    await expect(store.open(wrong)).rejects.toMatchObject(refused);
    await expect(store.put(wrong, bytes)).rejects.toMatchObject(refused);
    await expect(store.remove(wrong)).rejects.toMatchObject(refused);
    await expect(store.uploadedBytes(key)).rejects.toMatchObject(refused);
    await expect(store.append(key, 0, bytes, { totalBytes })).rejects.toMatchObject(refused);
    await expect(store.finish(key, totalBytes)).rejects.toMatchObject(refused);
  });

  test('an uploader’s name cannot lead out of the store', async () => {
    const key = { id, uploader: '../../../../tmp/evil\0' };
    await store.append(key, 0, bytes, { totalBytes });
    await store.finish(key, totalBytes);
    await expectStored();
  });

  test('tampered bytes are deleted and named', async () => {
    const tampered = Uint8Array.from(bytes);
    tampered[123_456] = (tampered[123_456] ?? 0) ^ 1;
    await expect(store.put(id, tampered)).rejects.toMatchObject({ code: 'hash-mismatch' });
    await store.append(alice, 0, tampered, { totalBytes });
    await expect(store.finish(alice, totalBytes)).rejects.toMatchObject({ code: 'hash-mismatch' });
    await expectNothing();
    expect(await store.uploadedBytes(alice)).toBe(0);
    expect((await store.usage()).usedBytes).toBe(0);
  });

  test('an upload goes on where it stands', async () => {
    expect(await store.append(alice, 0, source([bytes.slice(0, 1_000)]), { totalBytes })).toBe(1_000);
    expect(await store.uploadedBytes(alice)).toBe(1_000);
    expect((await store.usage()).usedBytes).toBe(1_000);
    await expectNothing();
    expect(await store.append(alice, 1_000, bytes.slice(1_000), { totalBytes })).toBe(totalBytes);
    expect(await store.finish(alice, totalBytes)).toEqual({ sizeBytes: totalBytes, existed: false });
    expect(await store.uploadedBytes(alice)).toBe(0);
    await expectStored();
  });

  test('a source that breaks leaves what it gave', async () => {
    const broken = source([bytes.slice(0, 5_000)], new Error('connection lost'));
    await expect(store.append(alice, 0, broken, { totalBytes })).rejects.toThrow('connection lost');
    expect(await store.uploadedBytes(alice)).toBe(5_000);
    await store.append(alice, 5_000, source([bytes.slice(5_000)]), { totalBytes });
    await store.finish(alice, totalBytes);
    await expectStored();
  });

  test('an append elsewhere than the upload stands is refused, and so is finishing too early', async () => {
    await store.append(alice, 0, bytes.slice(0, 1_000), { totalBytes });
    for (const offset of [0, 999, 1_001, -1])
      await expect(store.append(alice, offset, bytes, { totalBytes })).rejects.toMatchObject({ code: 'conflict' });
    await expect(store.finish(alice, totalBytes)).rejects.toMatchObject({ code: 'conflict' });
    expect(await store.uploadedBytes(alice)).toBe(1_000);
  });

  test('more bytes than announced are refused', async () => {
    const chunks = [bytes.slice(0, 100), bytes.slice(100)];
    await expect(store.append(alice, 0, source(chunks), { totalBytes: 200 })).rejects.toMatchObject({
      code: 'too-large',
    });
    expect(await store.uploadedBytes(alice)).toBe(100);
  });

  test('two uploaders at once both succeed, and the bytes are kept once', async () => {
    const upload = async (key: UploadKey, step: number): Promise<boolean> => {
      for (let at = 0; at < totalBytes; at += step)
        await store.append(key, at, bytes.slice(at, at + step), { totalBytes });
      return (await store.finish(key, totalBytes)).existed;
    };
    const existed = await Promise.all([upload(alice, 50_000), upload(bob, 50_000)]);
    expect(existed.filter((before) => !before)).toHaveLength(1);
    await expectStored();
  });

  test('what others have sent of it is given up once an artifact is stored', async () => {
    const hung = stalling(bytes.slice(0, 1_000));
    const carol = { id, uploader: 'carol' };
    const abort = new AbortController();
    const first = store.append(carol, 0, hung.bytes, { totalBytes, signal: abort.signal });
    const outcome = expect(first).rejects.toMatchObject({ code: 'canceled' });
    await hung.started;
    await store.append(alice, 0, bytes.slice(0, 100_000), { totalBytes });
    await store.append(bob, 0, bytes, { totalBytes });
    await store.finish(bob, totalBytes);
    abort.abort();
    await outcome;
    expect([await store.uploadedBytes(alice), await store.uploadedBytes(carol)]).toEqual([0, 0]);
    await expectStored();
  });

  test('many puts of the same bytes at once keep them once', async () => {
    const store = await place.open(10 * totalBytes);
    const results = await Promise.all(
      Array.from({ length: 6 }, (_, i) => store.put(id, i % 2 ? bytes : source([bytes]))),
    );
    expect(results.filter((result) => !result.existed)).toHaveLength(1);
    expect((await store.usage()).usedBytes).toBe(totalBytes);
  });

  test('one uploader’s wrong bytes do not spoil another’s upload', async () => {
    await store.append(alice, 0, bytes.slice(0, 100_000), { totalBytes });
    await store.append(bob, 0, bytesOf(totalBytes, 2), { totalBytes });
    await expect(store.finish(bob, totalBytes)).rejects.toMatchObject({ code: 'hash-mismatch' });
    await store.append(alice, 100_000, bytes.slice(100_000), { totalBytes });
    await store.finish(alice, totalBytes);
    await expectStored();
  });

  test('the same uploader coming back takes over from a connection that hangs', async () => {
    const hung = stalling(bytes.slice(0, 1_000));
    const first = store.append(alice, 0, hung.bytes, { totalBytes });
    const outcome = expect(first).rejects.toMatchObject({ code: 'conflict' });
    await hung.started;
    expect(await store.append(alice, 1_000, bytes.slice(1_000), { totalBytes })).toBe(totalBytes);
    await outcome;
    await store.finish(alice, totalBytes);
    await expectStored();
  });

  test('canceling leaves nothing visible', async () => {
    for (const begin of [
      (signal: AbortSignal, chunks: AsyncIterable<Uint8Array>) => store.put(id, chunks, { signal }),
      (signal: AbortSignal, chunks: AsyncIterable<Uint8Array>) =>
        store.append(alice, 0, chunks, { totalBytes, signal }),
    ]) {
      const hung = stalling(bytes.slice(0, 1_000));
      const abort = new AbortController();
      const outcome = expect(begin(abort.signal, hung.bytes)).rejects.toMatchObject({ code: 'canceled' });
      await hung.started;
      abort.abort();
      await outcome;
      await expectNothing();
    }
    expect(await store.uploadedBytes(alice)).toBe(1_000);
    expect((await store.usage()).usedBytes).toBe(1_000);
  });

  test('what is canceled already does not begin', async () => {
    const signal = AbortSignal.abort();
    await expect(store.put(id, source([bytes]), { signal })).rejects.toMatchObject({ code: 'canceled' });
    await expectNothing();
  });

  test('the quota holds before bytes are kept, uploads under way included', async () => {
    const big = bytesOf(1_100_000, 3);
    const other = hashBytes(big);
    await store.append(alice, 0, bytes.slice(0, 150_000), { totalBytes });
    await expect(store.put(other, big)).rejects.toMatchObject({ code: 'quota-exceeded' });
    await expect(store.put(other, source([big.slice(0, 1_000_000), big.slice(1_000_000)]))).rejects.toMatchObject({
      code: 'quota-exceeded',
    });
    const key = { id: other, uploader: 'bob' };
    await expect(store.append(key, 0, source([], new Error('read')), { totalBytes: 1_100_000 })).rejects.toMatchObject({
      code: 'quota-exceeded',
    });
    expect(await store.uploadedBytes(key)).toBe(0);
    expect((await store.usage()).usedBytes).toBe(150_000);
    expect(await store.stat(other)).toBeUndefined();
  });

  test('room is claimed for a whole upload while it runs', async () => {
    const hung = stalling(bytes.slice(0, 1_000));
    const abort = new AbortController();
    const first = store.append(alice, 0, hung.bytes, { totalBytes: 1_100_000, signal: abort.signal });
    const outcome = expect(first).rejects.toMatchObject({ code: 'canceled' });
    await hung.started;
    await expect(store.append(bob, 0, bytes, { totalBytes })).rejects.toMatchObject({ code: 'quota-exceeded' });
    abort.abort();
    await outcome;
    expect(await store.append(bob, 0, bytes, { totalBytes })).toBe(totalBytes);
  });

  test('removing gives the room back', async () => {
    await store.put(id, bytes);
    expect(await store.remove(id)).toBe(true);
    expect(await store.remove(id)).toBe(false);
    await expectNothing();
    expect((await store.usage()).usedBytes).toBe(0);
  });
});
