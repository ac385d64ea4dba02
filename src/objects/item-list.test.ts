import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ArtifactId } from '../lib/ids.ts';
import { toIndexBytes, type JsonValue } from './item-list.ts';
import { ItemListReader } from './item-list-reader.ts';
import { ItemListWriter, type ItemList, type ItemListLimits } from './item-list-writer.ts';
import { hashBytes } from './objects-hash.ts';

const SMALL: ItemListLimits = { maxItems: 4, maxBytes: 64 };

class Shelf {
  readonly bytes = new Map<string, Uint8Array>();
  fetched: string[] = [];
  readonly put = async (bytes: Uint8Array, id: ArtifactId): Promise<void> => {
    this.bytes.set(id, bytes);
  };
  readonly fetch = async (id: ArtifactId): Promise<Uint8Array> => {
    this.fetched.push(id);
    return this.bytes.get(id) ?? new Uint8Array();
  };
}

async function write(items: readonly JsonValue[], shelf: Shelf, limits?: ItemListLimits): Promise<ItemList> {
  const writer = new ItemListWriter(shelf.put, limits);
  for (const item of items) await writer.add(item);
  return await writer.finish();
}

async function read(list: ItemList, shelf: Shelf, start: number, end: number): Promise<unknown[]> {
  const reader = await ItemListReader.open(list.root, shelf.fetch);
  return await Array.fromAsync(reader.items({ start, end }));
}

const texts = (count: number): JsonValue[] =>
  Array.from({ length: count }, (_, i) => ({ id: `f#${i}`, text: `line\n${i}` }));

describe('an item list', () => {
  test('reads any range as the slice of what was written', async () => {
    const item = fc.oneof(
      fc.string({ maxLength: 10 }),
      fc.integer(),
      fc.record({ b: fc.boolean(), a: fc.string({ maxLength: 5 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(item, { maxLength: 60 }), fc.nat(60), fc.nat(60), async (items, a, b) => {
        const shelf = new Shelf();
        const list = await write(items, shelf, SMALL);
        const [start, end] = [Math.min(a, b, items.length), Math.min(Math.max(a, b), items.length)];
        expect(list.count).toBe(items.length);
        expect(await read(list, shelf, start, end)).toEqual(JSON.parse(JSON.stringify(items.slice(start, end))));
      }),
    );
  });

  test('seals chunks by items and by bytes, and equal items give equal roots', async () => {
    const shelf = new Shelf();
    const list = await write(texts(10_000), shelf);
    expect(list.chunks.map(({ start, count }) => [start, count])).toEqual([
      [0, 4_096],
      [4_096, 4_096],
      [8_192, 1_808],
    ]);
    const wide = await write(
      Array.from({ length: 30 }, () => 'x'.repeat(100_000)),
      new Shelf(),
    );
    expect(wide.chunks.map(({ count }) => count)).toEqual([10, 10, 10]);
    const again = await write(texts(10_000), new Shelf());
    expect(again).toEqual(list);
    expect((await write([...texts(9_999), 'other'], new Shelf())).root).not.toBe(list.root);
  });

  test('fetches only what a range needs, and a shared chunk once', async () => {
    const shelf = new Shelf();
    const list = await write(texts(20), shelf, { maxItems: 5, maxBytes: 1_000 });
    const reader = await ItemListReader.open(list.root, shelf.fetch);
    shelf.fetched = [];
    await Array.fromAsync(reader.items({ start: 6, end: 8 }));
    await Array.fromAsync(reader.items({ start: 8, end: 12 }));
    expect(shelf.fetched).toEqual([list.chunks[1]?.hash, list.chunks[2]?.hash]);
    expect(await Array.fromAsync(reader.items({ start: 20, end: 20 }))).toEqual([]);
  });

  test('an empty list is a list', async () => {
    const shelf = new Shelf();
    const list = await write([], shelf);
    expect(await read(list, shelf, 0, 0)).toEqual([]);
    await expect(read(list, shelf, 0, 1)).rejects.toMatchObject({ code: 'bad-request' });
  });
});

describe('refuses', () => {
  test.each<[string, string]>([
    ['an index', 'root'],
    ['a chunk', 'chunk'],
  ])('%s with other content', async (_, which) => {
    const shelf = new Shelf();
    const list = await write(texts(10), shelf, { maxItems: 5, maxBytes: 1_000 });
    const id = which === 'root' ? list.root : (list.chunks[1]?.hash ?? '');
    const bytes = (shelf.bytes.get(id) ?? new Uint8Array()).slice();
    bytes[3] = (bytes[3] ?? 0) ^ 1;
    shelf.bytes.set(id, bytes);
    await expect(read(list, shelf, 4, 6)).rejects.toMatchObject({ code: 'hash-mismatch' });
  });

  test('bytes that are missing or too many', async () => {
    const shelf = new Shelf();
    const list = await write(texts(10), shelf);
    const chunk = list.chunks[0]?.hash ?? '';
    shelf.bytes.set(chunk, new Uint8Array(2_000_000));
    await expect(read(list, shelf, 0, 1)).rejects.toMatchObject({ code: 'hash-mismatch' });
    shelf.bytes.clear();
    await expect(read(list, shelf, 0, 1)).rejects.toMatchObject({ code: 'hash-mismatch' });
  });

  test.each<[string, object]>([
    ['another version', { v: 2 }],
    ['a count that is not the chunks’ sum', { count: 11 }],
    ['gaps', { chunks: [{ hash: `sha256:${'0'.repeat(64)}`, start: 1, count: 10, sizeBytes: 5 }] }],
    [
      'chunks beyond the limit',
      { chunks: [{ hash: `sha256:${'0'.repeat(64)}`, start: 0, count: 10, sizeBytes: 2_000_000 }] },
    ],
  ])('an index with %s', async (_, change) => {
    const shelf = new Shelf();
    const list = await write(texts(10), shelf);
    const index = { v: 1 as const, count: 10, chunks: list.chunks };
    const bytes = new TextEncoder().encode(JSON.stringify({ ...index, ...change }));
    shelf.bytes.set(hashBytes(bytes), bytes);
    await expect(ItemListReader.open(hashBytes(bytes), shelf.fetch)).rejects.toMatchObject({ code: 'bad-input' });
    expect(hashBytes(toIndexBytes(index))).toBe(list.root);
  });

  test.each<[string, string]>([
    ['fewer lines', '1\n'],
    ['no JSON', '1\n{\n'],
    ['no line end', '1\n2\n3'],
  ])('a chunk with %s', async (_, text) => {
    const shelf = new Shelf();
    const bytes = new TextEncoder().encode(text);
    const index = toIndexBytes({
      v: 1,
      count: 2,
      chunks: [{ hash: hashBytes(bytes), start: 0, count: 2, sizeBytes: bytes.length }],
    });
    for (const part of [bytes, index]) shelf.bytes.set(hashBytes(part), part);
    const reader = await ItemListReader.open(hashBytes(index), shelf.fetch);
    await expect(Array.fromAsync(reader.items({ start: 0, end: 2 }))).rejects.toMatchObject({ code: 'bad-input' });
  });

  test('ranges outside, items that are too large or no JSON', async () => {
    const shelf = new Shelf();
    const list = await write(texts(10), shelf);
    for (const [start, end] of [
      [-1, 2],
      [3, 2],
      [0, 11],
      [0.5, 2],
    ] as const) {
      await expect(read(list, shelf, start, end)).rejects.toMatchObject({ code: 'bad-request' });
    }
    const writer = new ItemListWriter(shelf.put, SMALL);
    await expect(writer.add('x'.repeat(100))).rejects.toThrow(/item 0 takes 103 bytes; at most 64/);
    await expect(writer.add(Number.NaN)).rejects.toMatchObject({ code: 'bad-input' });
  });
});
