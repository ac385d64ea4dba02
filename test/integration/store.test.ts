// Owns what the SQLite store promises about real files, processes and disks: INV-4's ground, one owner at a time, and
// that a file which is not a sound store of this release is refused and left as it was.

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Prng } from '../../src/lib/prng.ts';
import { SwarmError, type ErrorCode } from '../../src/protocol/errors.ts';
import { MIGRATIONS } from '../../src/store/migrations.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import type { Change, StoredRecord } from '../../src/store/store.ts';

const WRITER = fileURLToPath(new URL('./store-writer.ts', import.meta.url));

let folder: string;
let path: string;
let children: ChildProcess[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'swarm-store-'));
  path = join(folder, 'swarm.db');
  children = [];
});

afterEach(async () => {
  for (const child of children) await kill(child);
  rmSync(folder, { recursive: true });
});

function put(id: string, value: unknown): Change {
  return { op: 'put', record: { kind: 'job', id, version: 1, value } };
}

async function loadAll(at: string): Promise<StoredRecord[]> {
  await using store = await SqliteStore.open(at);
  return await Array.fromAsync(store.load());
}

async function fill(at: string, count = 200): Promise<void> {
  await using store = await SqliteStore.open(at);
  await store.commit(Array.from({ length: count }, (_, i) => put(`id-${i}`, { i, text: 'word '.repeat(20) })));
}

/** The error of opening `at`, which must leave the store's files byte for byte as they were and add none but the lock. */
async function refusal(at: string): Promise<SwarmError> {
  const before = snapshot();
  const error = await SqliteStore.open(at).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(snapshot()).toEqual(before);
  expect(error).toBeInstanceOf(SwarmError);
  return error as SwarmError;
}

function snapshot(): Record<string, string> {
  // The log's index holds nothing that the log does not.
  const names = readdirSync(folder).filter((name) => !name.endsWith('.lock') && !name.endsWith('-shm'));
  return Object.fromEntries(names.sort().map((name) => [name, readFileSync(join(folder, name)).toString('base64')]));
}

function startWriter(at: string, ...args: string[]): ChildProcess {
  const child = spawn(process.execPath, [WRITER, at, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

/** Lines until `enough` says so or the output ends. */
async function readLines(child: ChildProcess, enough: (lines: readonly string[]) => boolean): Promise<string[]> {
  const lines: string[] = [];
  if (!child.stdout) return lines;
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (enough(lines)) void kill(child);
  }
  return lines;
}

test('kill -9 at any moment: what was acknowledged is there, and no commit is there in part', async () => {
  const random = new Prng(3);
  let next = 0;
  for (let round = 0; round < 8; round++) {
    const lines = await readLines(
      startWriter(path, 'write', String(next)),
      (() => {
        const stopAt = random.int(1, 400);
        return (seen: readonly string[]) => seen.length >= stopAt;
      })(),
    );
    const acknowledged = lines.filter((line) => line !== 'open').map(Number);
    const ids = new Set((await loadAll(path)).map((record) => record.id));
    for (const n of acknowledged) for (const part of ['a', 'b', 'c']) expect(ids).toContain(`${n}/${part}`);
    expect(ids.size % 3).toBe(0);
    next = Math.max(next, ...acknowledged) + 2;
  }
  expect(next).toBeGreaterThan(100);
});

describe('one owner', () => {
  test('a second opener is told who holds the store, and changes nothing', async () => {
    const holder = startWriter(path, 'hold');
    await new Promise((resolve) => holder.stdout?.once('data', resolve));
    const error = await SqliteStore.open(path).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'store-locked' });
    expect(String(error)).toContain(`process ${holder.pid} on ${hostname()}`);
    await kill(holder);
    expect(await loadAll(path)).toEqual([]);
  });

  test('the same process cannot open it twice', async () => {
    await using store = await SqliteStore.open(path);
    await expect(SqliteStore.open(path)).rejects.toMatchObject({ code: 'store-locked' });
    await store.commit([put('a', 1)]);
    await store.close();
    expect(await loadAll(path)).toHaveLength(1);
  });

  test('of many openers at once exactly one wins', async () => {
    const openers = Array.from({ length: 4 }, () => startWriter(path, 'hold'));
    const first = await Promise.all(
      openers.map(
        (child) => new Promise<string>((resolve) => child.stdout?.once('data', (data) => resolve(String(data).trim()))),
      ),
    );
    expect(first.sort()).toEqual(['open', 'store-locked', 'store-locked', 'store-locked']);
  });
});

describe('a file that is not a sound store of this release is refused and left as it was', () => {
  const broken: readonly (readonly [string, ErrorCode, (at: string) => void])[] = [
    ['text', 'store-corrupt', (at) => writeFileSync(at, 'hello, this is not a database\n'.repeat(100))],
    ['an empty file', 'store-corrupt', (at) => writeFileSync(at, '')],
    ['a truncated store', 'store-corrupt', (at) => truncateSync(at, Math.floor(statSync(at).size / 2))],
    ['a store cut inside a page', 'store-corrupt', (at) => truncateSync(at, 5_000)],
    ['a store with zeros in its middle', 'store-corrupt', (at) => overwrite(at, 8_192, Buffer.alloc(4_096))],
    [
      'a store whose file is gone but whose log is there',
      'store-corrupt',
      (at) => {
        rmSync(at);
        writeFileSync(`${at}-wal`, 'log');
      },
    ],
    [
      'another program’s database',
      'store-corrupt',
      (at) => {
        rmSync(at);
        execSql(at, 'CREATE TABLE songs (name TEXT)');
      },
    ],
    ['a newer store', 'store-newer', (at) => execSql(at, 'PRAGMA user_version = 99')],
  ];

  test.each(broken)('%s', async (_what, code, harm) => {
    await fill(path);
    harm(path);
    const error = await refusal(path);
    expect(error.code).toBe(code);
    expect(error.message).toContain(path);
    expect(error.message).toMatch(/backup|another file/);
  });

  test('the message about a newer store names both versions', async () => {
    await fill(path);
    execSql(path, 'PRAGMA user_version = 99');
    const { message } = await refusal(path);
    expect(message).toContain('version 99');
    expect(message).toContain(`up to ${MIGRATIONS.length}`);
  });

  test('a newer store that crashed is not even checkpointed', async () => {
    await fill(path);
    const sql = 'PRAGMA user_version = 99; UPDATE records SET version = 2';
    const crash = `new (require('node:sqlite').DatabaseSync)(process.argv[1]).exec(process.argv[2]); process.kill(process.pid, 9)`;
    spawnSync(process.execPath, ['-e', crash, path, sql]);
    expect(statSync(`${path}-wal`).size).toBeGreaterThan(0);
    expect((await refusal(path)).code).toBe('store-newer');
  });

  test('a folder that is not there', async () => {
    await expect(SqliteStore.open(join(folder, 'no', 'swarm.db'))).rejects.toMatchObject({ code: 'bad-input' });
  });

  test('after a refusal the store opens again once the backup is in place', async () => {
    const copy = join(folder, 'backup.db');
    await using store = await SqliteStore.open(path);
    await store.commit([put('a', 1)]);
    await store.backup(copy);
    await store.close();
    writeFileSync(path, 'ruined');
    expect((await refusal(path)).code).toBe('store-corrupt');
    rmSync(path);
    writeFileSync(path, readFileSync(copy));
    expect(await loadAll(path)).toMatchObject([{ id: 'a', value: 1 }]);
  });

  test('flipped bits anywhere are found or harmless, never read as data', async () => {
    await fill(path);
    const [sound, records] = [readFileSync(path), await loadAll(path)];
    const random = new Prng(7);
    let found = 0;
    for (let round = 0; round < 150; round++) {
      const bytes = Buffer.from(sound);
      const at = random.int(0, bytes.length - 1);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(0, 7));
      writeFileSync(path, bytes);
      for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
      const outcome = await loadAll(path).catch((error: unknown) => error);
      if (!(outcome instanceof Error)) expect(outcome, `byte ${at}`).toEqual(records);
      else {
        expect(outcome, `byte ${at}`).toBeInstanceOf(SwarmError);
        found++;
      }
    }
    expect(found).toBeGreaterThan(75);
  });
});

describe('migrations', () => {
  const next = [...MIGRATIONS, "UPDATE records SET kind = 'task'; UPDATE records SET sum = 0"];

  test('run once, in order, and keep the records', async () => {
    await fill(path, 3);
    const grown = [...MIGRATIONS, 'CREATE TABLE extra (a TEXT) STRICT', 'DROP TABLE extra'];
    for (let i = 0; i < 2; i++) await (await SqliteStore.open(path, { migrations: grown })).close();
    expect(querySql(path, 'PRAGMA user_version')).toEqual([{ user_version: 3 }]);
    expect((await refusal(path)).code).toBe('store-newer');
  });

  test('one that fails leaves the store at its old version, all steps undone', async () => {
    await fill(path, 3);
    const failing = [...next, 'CREATE TABLE records (again TEXT)'];
    await expect(SqliteStore.open(path, { migrations: failing })).rejects.toThrow('already exists');
    expect(await loadAll(path)).toHaveLength(3);
  });
});

describe('backup', () => {
  test('is a consistent store while commits go on, and replaces nothing', async () => {
    await using store = await SqliteStore.open(path);
    await store.commit(Array.from({ length: 5_000 }, (_, i) => put(`id-${i}`, 'x'.repeat(200))));
    const copy = join(folder, 'copy.db');
    let done = false;
    const backup = store.backup(copy).finally(() => (done = true));
    let n = 0;
    while (!done) {
      await store.commit([put(`pair-${n}/a`, n), put(`pair-${n}/b`, n)]);
      n++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await backup;
    const pairs = (await loadAll(copy)).filter((record) => record.id.startsWith('pair-'));
    expect(pairs.length % 2).toBe(0);
    expect(await loadAll(copy)).toHaveLength(5_000 + pairs.length);
    await expect(store.backup(copy)).rejects.toMatchObject({ code: 'conflict' });
    expect(existsSync(`${copy}.partial`)).toBe(false);
  });
});

describe('a full disk', () => {
  const mounted = (): boolean => spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder]).status === 0;

  test('is named, the commit is undone, and the store goes on once there is room', async (context) => {
    if (!mounted()) context.skip('needs root to mount a small tmpfs');
    try {
      const ballast = join(folder, 'ballast');
      await using store = await SqliteStore.open(path);
      await store.commit([put('kept', 1)]);
      writeFileSync(ballast, Buffer.alloc(1_000_000));
      const failing = Array.from({ length: 100 }, (_, i) => put(`id-${i}`, 'x'.repeat(30_000)));
      await expect(store.commit(failing)).rejects.toMatchObject({ code: 'disk-full' });
      expect((await Array.fromAsync(store.load())).map((record) => record.id)).toEqual(['kept']);
      rmSync(ballast);
      await store.commit([put('more', 'x'.repeat(100_000))]);
      await store.close();
      expect(await loadAll(path)).toHaveLength(2);
    } finally {
      spawnSync('umount', ['-l', folder]);
    }
  });

  test('met by a process that commits until it fails: everything acknowledged is there', async (context) => {
    if (!mounted()) context.skip('needs root to mount a small tmpfs');
    try {
      const lines = await readLines(startWriter(path, 'fill'), () => false);
      expect(lines.at(-1)).toBe('disk-full');
      const acknowledged = lines.slice(1, -1);
      expect(acknowledged.length).toBeGreaterThan(3);
      const ids = new Set((await loadAll(path)).map((record) => record.id));
      expect(ids.size).toBe(acknowledged.length * 3);
      for (const n of acknowledged) expect(ids).toContain(`${n}/a`);
    } finally {
      spawnSync('umount', ['-l', folder]);
    }
  });
});

function overwrite(at: string, offset: number, bytes: Uint8Array): void {
  const content = readFileSync(at);
  content.set(bytes, offset);
  writeFileSync(at, content);
}

function execSql(at: string, sql: string): void {
  const db = new DatabaseSync(at);
  db.exec(sql);
  db.close();
}

function querySql(at: string, sql: string): unknown[] {
  const db = new DatabaseSync(at, { readOnly: true });
  try {
    return db
      .prepare(sql)
      .all()
      .map((row) => ({ ...row }));
  } finally {
    db.close();
  }
}
