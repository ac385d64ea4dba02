// What an agent reads is verified: parts that nobody signed, lists out of order, cached chunks that were damaged.

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ByteCache } from '../../src/agent/byte-cache.ts';
import type { HttpAccess } from '../../src/agent/http-access.ts';
import { downloadParts } from '../../src/agent/part-inputs.ts';
import type { JobId } from '../../src/lib/ids.ts';
import { hashBytes } from '../../src/objects/objects-hash.ts';
import { generateKey, type Signer } from '../../src/protocol/keys.ts';
import { signReceipt } from '../../src/protocol/receipt.ts';
import type { PartView } from '../../src/protocol/views.ts';
import { SILENT } from '../helpers/test-coordinator.ts';

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'swarm-inputs-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

const bytes = (text: string) => new TextEncoder().encode(text);

describe('the parts of an earlier stage', () => {
  const job = { id: '00000000000000aa' as JobId, specHash: 'ab'.repeat(32), signer: 'ed25519:00' as never };
  const TEXTS = ['first', 'second', 'third'];

  async function makeParts(peer: Signer): Promise<PartView[]> {
    return Promise.all(
      TEXTS.map(async (text, i) => {
        const part = { id: hashBytes(bytes(text)), sizeBytes: text.length };
        const [start, end] = [i * 10, i * 10 + 10];
        const receipt = { specHash: job.specHash, stage: 'map', start, end, part: part.id };
        return { start, end, peer: peer.keyId, part: { ...part, signature: await signReceipt(receipt, peer) } };
      }),
    );
  }

  /** Asks a coordinator that answers with these parts, in pages of two, and has the texts as artifacts. */
  function fetchFrom(parts: readonly PartView[], finished = true) {
    const stored = new Map(TEXTS.map((text) => [hashBytes(bytes(text)) as string, text]));
    const fetch = async (url: string): Promise<Response> => {
      const { pathname, searchParams } = new URL(url, 'http://test');
      if (pathname.startsWith('/v1/artifacts/')) return new Response(stored.get(pathname.slice(14)));
      const from = Number(searchParams.get('from'));
      const page = parts.filter(({ start }) => start >= from).slice(0, 2);
      const next = page.length === 2 ? { next: page[1]?.end } : {};
      return Response.json({ total: 30, finished, parts: page, ...next });
    };
    const access = { session: { fetch }, transfer: { fetch, baseUrl: 'http://test', maxFailures: 1 } };
    const order = { access: access as unknown as HttpAccess, job, stage: 'map', folder: dir };
    return downloadParts({ ...order, signal: new AbortController().signal });
  }

  test('come in item order, page by page', async () => {
    const inputs = await fetchFrom(await makeParts((await generateKey()).signer));
    if (inputs.kind !== 'parts') throw new Error('not parts');
    expect(inputs.parts.map(({ start, end }) => [start, end])).toEqual([
      [0, 10],
      [10, 20],
      [20, 30],
    ]);
    const texts = await Promise.all(inputs.parts.map(({ file }) => readFile(file, 'utf8')));
    expect(texts).toEqual(TEXTS);
  });

  const lies: Record<string, { change: (parts: PartView[], other: Signer) => PartView[]; says: RegExp }> = {
    'a part passed off as that of another range': {
      change: ([a, b, c]) => (a && b && c ? [{ ...a, part: b.part }, b, c] : []),
      says: /is not signed by/,
    },
    'a part passed off as that of another peer': {
      change: (parts, other) => parts.map((part) => ({ ...part, peer: other.keyId })),
      says: /is not signed by/,
    },
    'a part twice': { change: ([a, b]) => (a && b ? [a, { ...b, start: 5 }] : []), says: /not in order/ },
    'a range without a part': {
      change: (parts) => parts.map(({ start, end, peer }) => ({ start, end, peer })),
      says: /has no part/,
    },
  };
  for (const [what, { change, says }] of Object.entries(lies))
    test(`${what} is refused`, async () => {
      const parts = await makeParts((await generateKey()).signer);
      await expect(fetchFrom(change(parts, (await generateKey()).signer))).rejects.toThrow(says);
    });

  test('are not taken before the stage is finished', async () => {
    await expect(fetchFrom(await makeParts((await generateKey()).signer), false)).rejects.toThrow(/not finished/);
  });
});

describe('the cache of chunks', () => {
  const [one, two, three] = [bytes('one'.repeat(100)), bytes('two'.repeat(100)), bytes('six'.repeat(100))];

  function counting(content: Uint8Array) {
    const source = { fetches: 0, fetch: () => (source.fetches++, Promise.resolve(content)) };
    return source;
  }

  test('keeps what it fetched, also for the next agent', async () => {
    const source = counting(one);
    const first = await ByteCache.open(dir, 1_000, SILENT);
    await first.get(hashBytes(one), source.fetch);
    await first.get(hashBytes(one), source.fetch);
    const second = await ByteCache.open(dir, 1_000, SILENT);
    expect(await second.get(hashBytes(one), source.fetch)).toEqual(Buffer.from(one));
    expect(source.fetches).toBe(1);
  });

  test('fetches again what was damaged', async () => {
    const source = counting(one);
    const cache = await ByteCache.open(dir, 1_000, SILENT);
    await cache.get(hashBytes(one), source.fetch);
    const [name = ''] = await readdir(dir);
    await writeFile(join(dir, name), 'two');
    expect(await cache.get(hashBytes(one), source.fetch)).toEqual(one);
    expect(source.fetches).toBe(2);
  });

  test('stays within its bound: what was used longest ago goes', async () => {
    const cache = await ByteCache.open(dir, 700, SILENT);
    const sources = [one, two, three].map(counting);
    const get = (i: number) =>
      cache.get(hashBytes([one, two, three][i] ?? one), sources[i]?.fetch ?? counting(one).fetch);
    await get(0);
    await get(1);
    await get(0);
    await get(2);
    expect(await readdir(dir)).toHaveLength(2);
    await get(0);
    await get(1);
    expect(sources.map(({ fetches }) => fetches)).toEqual([1, 2, 1]);
  });

  test('removes what is not its own when it is opened', async () => {
    await writeFile(join(dir, 'leftover.tmp'), 'x');
    await ByteCache.open(dir, 700, SILENT);
    expect(await readdir(dir)).toEqual([]);
  });
});
