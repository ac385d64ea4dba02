// Owns what every Store must do, whatever keeps its bytes. Run against each adapter.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AssertionError } from '../../src/lib/assert.ts';
import { MemoryDisk, MemoryStore } from '../../src/store/memory.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import type { Change, Store, StoredRecord } from '../../src/store/store.ts';

/** A place that keeps records while stores on it come and go. */
type Place = { open(): Promise<Store>; dispose(): void };

const ADAPTERS: Readonly<Record<string, () => Place>> = {
  memory: () => {
    const disk = new MemoryDisk();
    return { open: async () => new MemoryStore(disk), dispose: () => undefined };
  },
  sqlite: () => {
    const folder = mkdtempSync(join(tmpdir(), 'swarm-store-'));
    return {
      open: () => SqliteStore.open(join(folder, 'swarm.db')),
      dispose: () => rmSync(folder, { recursive: true }),
    };
  },
};

function put(kind: string, id: string, value: unknown, version = 1): Change {
  return { op: 'put', record: { kind, id, version, value } };
}

function remove(kind: string, id: string): Change {
  return { op: 'delete', kind, id };
}

async function loadAll(store: Store): Promise<StoredRecord[]> {
  const records = await Array.fromAsync(store.load());
  return records.sort((a, b) => (`${a.kind}\0${a.id}` < `${b.kind}\0${b.id}` ? -1 : 1));
}

describe.each(Object.entries(ADAPTERS))('store contract: %s', (_name, createPlace) => {
  let place: Place;
  let store: Store;

  beforeEach(async () => {
    place = createPlace();
    store = await place.open();
  });

  afterEach(async () => {
    await store.close();
    place.dispose();
  });

  test('a new store is empty', async () => {
    expect(await loadAll(store)).toEqual([]);
  });

  test('what is put is loaded, with its version', async () => {
    await store.commit([put('job', 'a', { name: 'one', list: [1, null, true, -0.5] }, 3), put('peer', 'a', 'text')]);
    expect(await loadAll(store)).toEqual([
      { kind: 'job', id: 'a', version: 3, value: { name: 'one', list: [1, null, true, -0.5] } },
      { kind: 'peer', id: 'a', version: 1, value: 'text' },
    ]);
  });

  test('a put replaces the record of that kind and id', async () => {
    await store.commit([put('job', 'a', 1, 1)]);
    await store.commit([put('job', 'a', { next: 2 }, 2)]);
    expect(await loadAll(store)).toEqual([{ kind: 'job', id: 'a', version: 2, value: { next: 2 } }]);
  });

  test('a delete removes one record; deleting what is not there is nothing', async () => {
    await store.commit([put('job', 'a', 1), put('job', 'b', 2), put('peer', 'a', 3)]);
    await store.commit([remove('job', 'a'), remove('job', 'never')]);
    expect((await loadAll(store)).map(({ kind, id }) => [kind, id])).toEqual([
      ['job', 'b'],
      ['peer', 'a'],
    ]);
  });

  test('changes of one commit apply in order', async () => {
    await store.commit([
      put('job', 'a', 1),
      remove('job', 'a'),
      put('job', 'a', 2),
      put('job', 'b', 1),
      remove('job', 'b'),
    ]);
    expect(await loadAll(store)).toEqual([{ kind: 'job', id: 'a', version: 1, value: 2 }]);
  });

  test('the content does not depend on the order in which different records were written', async () => {
    const changes = Array.from({ length: 50 }, (_, i) => put(i % 2 ? 'job' : 'peer', `id-${i}`, i));
    await store.commit(changes);
    const other = createPlace();
    const reversed = await other.open();
    for (const change of changes.toReversed()) await reversed.commit([change]);
    expect(await loadAll(reversed)).toEqual(await loadAll(store));
    await reversed.close();
    other.dispose();
  });

  test('an empty commit is allowed', async () => {
    await store.commit([]);
    expect(await loadAll(store)).toEqual([]);
  });

  test('a commit that fails halfway changes nothing', async () => {
    await store.commit([put('job', 'a', 'before'), put('job', 'gone', 'still here')]);
    const poison = {
      toJSON: () => {
        throw new Error('cannot be written');
      },
    };
    const failing = [
      put('job', 'a', 'after'),
      remove('job', 'gone'),
      put('job', 'b', 1),
      put('job', 'c', poison),
      put('job', 'd', 1),
    ];
    await expect(store.commit(failing)).rejects.toThrow('cannot be written');
    expect(await loadAll(store)).toEqual([
      { kind: 'job', id: 'a', version: 1, value: 'before' },
      { kind: 'job', id: 'gone', version: 1, value: 'still here' },
    ]);
    await store.commit([put('job', 'a', 'works again')]);
    expect((await loadAll(store))[0]?.value).toBe('works again');
  });

  test.each([
    ['no value', put('job', 'a', undefined)],
    ['an empty id', put('job', '', 1)],
    ['an id with NUL', put('job', 'a\0b', 1)],
    ['an id that is not well-formed', put('job', '\ud800', 1)],
    ['an overlong id', put('job', 'x'.repeat(600), 1)],
    ['a broken version', put('job', 'a', 1, 1.5)],
  ])('%s is a bug of the caller and writes nothing', async (_what, change) => {
    await expect(store.commit([put('job', 'fine', 1), change])).rejects.toThrow(AssertionError);
    expect(await loadAll(store)).toEqual([]);
  });

  test('big values come back whole', async () => {
    const value = { text: 'é☃𝄞'.repeat(1_000_000) };
    await store.commit([put('job', 'big', value)]);
    const [record] = await loadAll(store);
    expect(JSON.stringify(record?.value) === JSON.stringify(value)).toBe(true);
  });

  test('any JSON and any well-formed name come back equal', async () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((text) => !text.includes('\0'));
    await fc.assert(
      fc.asyncProperty(name, name, fc.jsonValue(), async (kind, id, value) => {
        await store.commit([put(kind, id, value)]);
        expect(await loadAll(store)).toEqual([
          { kind, id, version: 1, value: JSON.parse(JSON.stringify(value)) as unknown },
        ]);
        await store.commit([remove(kind, id)]);
      }),
      { numRuns: 100 },
    );
  });

  test('a load shows the records as they were when it began', async () => {
    await store.commit(Array.from({ length: 1_000 }, (_, i) => put('job', `id-${i}`, 'old')));
    const seen: StoredRecord[] = [];
    for await (const record of store.load()) {
      if (seen.length === 0)
        await store.commit([
          ...Array.from({ length: 500 }, (_, i) => put('job', `id-${i}`, 'new')),
          remove('job', 'id-999'),
          put('job', 'later', 'new'),
        ]);
      seen.push(record);
    }
    expect(seen).toHaveLength(1_000);
    expect(seen.every((record) => record.value === 'old')).toBe(true);
    expect((await loadAll(store)).filter((record) => record.value === 'new')).toHaveLength(501);
  });

  test('a load that is given up does not hold anything', async () => {
    await store.commit([put('job', 'a', 1), put('job', 'b', 2)]);
    for await (const record of store.load()) {
      expect(record.kind).toBe('job');
      break;
    }
    await store.commit([put('job', 'c', 3)]);
    expect(await loadAll(store)).toHaveLength(3);
  });

  test('commits that are not awaited one by one apply in the order of the calls', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, i) => store.commit([put('job', 'a', i)])));
    expect((await loadAll(store))[0]?.value).toBe(19);
  });

  test('an object changed after the commit changes nothing in the store', async () => {
    const value = { list: [1] };
    await store.commit([put('job', 'a', value)]);
    value.list.push(2);
    expect((await loadAll(store))[0]?.value).toEqual({ list: [1] });
  });

  test('what was committed is there after reopening', async () => {
    await store.commit([put('job', 'a', { kept: true }), put('job', 'b', 1)]);
    await store.commit([remove('job', 'b')]);
    await store.close();
    store = await place.open();
    expect(await loadAll(store)).toEqual([{ kind: 'job', id: 'a', version: 1, value: { kept: true } }]);
  });

  test('closing twice is nothing; any other call after it is a bug', async () => {
    await store.close();
    await store.close();
    await expect(store.commit([put('job', 'a', 1)])).rejects.toThrow(AssertionError);
    await expect(loadAll(store)).rejects.toThrow(AssertionError);
  });
});
