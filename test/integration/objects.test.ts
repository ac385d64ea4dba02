// Owns what the folder of artifacts promises about real disks and restarts, beyond the contract all object stores share.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FolderObjectStore } from '../../src/objects/folder.ts';
import { hashBytes, hashFile } from '../../src/objects/objects-hash.ts';

const QUOTA_BYTES = 10_000_000;
const DAY_MS = 86_400_000;

let root: string;
const bytes = Buffer.alloc(600_000, 'real bytes ');
const id = hashBytes(bytes);
const key = { id, uploader: 'alice' };
const totalBytes = bytes.byteLength;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'swarm-objects-'));
});

afterEach(() => rmSync(root, { recursive: true }));

function open(reserveBytes = 0): Promise<FolderObjectStore> {
  return FolderObjectStore.open(root, { quotaBytes: QUOTA_BYTES, reserveBytes });
}

function partials(): string[] {
  return readdirSync(join(root, 'partial'));
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name);
}

test('an artifact is a plain file named by its hash, and there after a restart', async () => {
  await (await open()).put(id, bytes);
  const hex = id.slice(7);
  const path = join(root, 'objects', hex.slice(0, 2), hex);
  expect(await hashFile(path)).toEqual({ id, sizeBytes: totalBytes });
  const again = await open();
  expect(await again.stat(id)).toEqual({ sizeBytes: totalBytes });
  expect((await again.usage()).usedBytes).toBe(totalBytes);
  expect(partials()).toEqual([]);
});

test('an upload goes on after a restart, and is verified from its first byte', async () => {
  await (await open()).append(key, 0, bytes.subarray(0, 250_000), { totalBytes });
  const again = await open();
  expect(await again.uploadedBytes(key)).toBe(250_000);
  expect((await again.usage()).usedBytes).toBe(250_000);
  await again.append(key, 250_000, bytes.subarray(250_000), { totalBytes });
  expect(await again.finish(key, totalBytes)).toEqual({ sizeBytes: totalBytes, existed: false });
});

test('a partial file that was damaged while the process was down is found out', async () => {
  await (await open()).append(key, 0, bytes.subarray(0, 250_000), { totalBytes });
  const [name = ''] = partials();
  writeFileSync(join(root, 'partial', name), Buffer.alloc(250_000));
  const again = await open();
  await again.append(key, 250_000, bytes.subarray(250_000), { totalBytes });
  await expect(again.finish(key, totalBytes)).rejects.toMatchObject({ code: 'hash-mismatch' });
  expect(filesUnder(root)).toEqual([]);
});

test('what nobody touched for a day is swept at start, and what a dead put left', async () => {
  const store = await open();
  await store.append(key, 0, bytes.subarray(0, 1_000), { totalBytes });
  await store.append({ id, uploader: 'bob' }, 0, bytes.subarray(0, 2_000), { totalBytes });
  const [first = '', second = ''] = partials();
  const longAgo = new Date(Date.now() - DAY_MS - 60_000);
  utimesSync(join(root, 'partial', first), longAgo, longAgo);
  writeFileSync(join(root, 'partial', 'put-7'), 'left by a crash');
  const keptBytes = readFileSync(join(root, 'partial', second)).byteLength;
  expect((await (await open()).usage()).usedBytes).toBe(keptBytes);
  expect(partials()).toEqual([second]);
});

test('files that are not artifacts are not listed', async () => {
  const store = await open();
  await store.put(id, bytes);
  mkdirSync(join(root, 'objects', 'zz'));
  writeFileSync(join(root, 'objects', 'zz', 'notes.txt'), 'mine');
  expect(await Array.fromAsync(store.list())).toEqual([{ id, sizeBytes: totalBytes }]);
});

test('a quota made smaller than what is there deletes nothing and takes nothing', async () => {
  await (await open()).put(id, bytes);
  const store = await FolderObjectStore.open(root, { quotaBytes: 1_000, reserveBytes: 0 });
  expect(await store.stat(id)).toEqual({ sizeBytes: totalBytes });
  await expect(store.put(hashBytes(Buffer.from('x')), Buffer.from('x'))).rejects.toMatchObject({
    code: 'quota-exceeded',
  });
});

describe('a full disk', () => {
  beforeEach((context) => {
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', root]).status !== 0)
      context.skip('needs root to mount a small tmpfs');
  });

  afterEach(() => void spawnSync('umount', ['-l', root]));

  async function* chunked(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < totalBytes; at += 10_000) yield bytes.subarray(at, at + 10_000);
  }

  test('is named; a put leaves nothing, and there is room again', async () => {
    const store = await open();
    writeFileSync(join(root, 'ballast'), Buffer.alloc(700_000));
    await expect(store.put(id, chunked())).rejects.toMatchObject({ code: 'disk-full' });
    expect(filesUnder(root)).toEqual(['ballast']);
    expect((await store.usage()).usedBytes).toBe(0);
    rmSync(join(root, 'ballast'));
    expect(await store.put(id, chunked())).toEqual({ sizeBytes: totalBytes, existed: false });
  });

  test('met in the middle of an upload keeps what arrived, to go on when there is room', async () => {
    const store = await open();
    async function* whileItFills(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 100_000);
      writeFileSync(join(root, 'ballast'), Buffer.alloc(800_000));
      yield bytes.subarray(100_000);
    }
    await expect(store.append(key, 0, whileItFills(), { totalBytes })).rejects.toMatchObject({ code: 'disk-full' });
    expect(await store.uploadedBytes(key)).toBe(100_000);
    expect(readFileSync(join(root, 'partial', partials()[0] ?? '')).equals(bytes.subarray(0, 100_000))).toBe(true);
    expect((await store.usage()).usedBytes).toBe(100_000);
    rmSync(join(root, 'ballast'));
    await store.append(key, 100_000, bytes.subarray(100_000), { totalBytes });
    expect(await store.finish(key, totalBytes)).toEqual({ sizeBytes: totalBytes, existed: false });
  });

  test('the reserve keeps room for the state store beside the artifacts', async () => {
    const store = await open(500_000);
    await expect(store.append(key, 0, bytes, { totalBytes })).rejects.toMatchObject({ code: 'disk-full' });
    await expect(store.put(id, bytes)).rejects.toMatchObject({ code: 'disk-full' });
    expect(await store.stat(id)).toBeUndefined();
    expect((await store.usage()).usedBytes).toBe(0);
  });
});
