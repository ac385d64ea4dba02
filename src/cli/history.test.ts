import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readHistory } from './history.ts';
import { NO_CHANGE, playQueue } from './scenario.ts';

const [ANNA, BEN] = ['a', 'b'].map((digit) => `ed25519:${digit.repeat(64)}`) as [string, string];
const [FIRST, SECOND] = ['1'.repeat(16), '2'.repeat(16)];

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'swarm-history-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

function line(over: {
  job?: string;
  stage?: string;
  peer?: string;
  items?: number;
  startAt?: number;
  runMs?: number;
  how?: string;
}) {
  const { job = FIRST, stage = 'map', peer = ANNA, items = 100, startAt = 0, runMs = 1_000, how = 'accepted' } = over;
  const range = { start: 0, end: items };
  const times = { planned: { startAt, runMs }, real: { endAt: startAt + runMs, runMs } };
  return { epoch: '1.1', job, stage, ...range, peer, why: 'fresh', how, ...times };
}

async function write(...lines: readonly object[]): Promise<string> {
  const path = join(dir, 'decisions.jsonl');
  await writeFile(path, lines.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
  return path;
}

describe('a decision log read back', () => {
  test('has the jobs as they came, what was done of each, and by whom how fast', async () => {
    const path = await write(
      line({ startAt: 5_000 }),
      line({ startAt: 6_000, peer: BEN, runMs: 4_000 }),
      line({ startAt: 5_000, how: 'lost', runMs: 90_000 }),
      line({ startAt: 10_000, stage: 'merge', items: 1, runMs: 500 }),
      line({ startAt: 25_000, job: SECOND }),
    );
    const { queue, comesAtMs } = await readHistory(path, []);
    expect([...comesAtMs]).toEqual([
      [FIRST, 0],
      [SECOND, 20_000],
    ]);
    const [map, merge] = queue.jobs[0]?.stages ?? [];
    expect(map).toMatchObject({ name: 'map', left: 200, needs: [] });
    expect(map?.speeds).toEqual([
      { peer: ANNA, msPerItem: 10 },
      { peer: BEN, msPerItem: 40 },
    ]);
    expect(merge).toMatchObject({ name: 'merge', left: 1, needs: ['map'] });
    // Ben never merged: half as slow again as the mean at the one stage, and so here.
    expect(merge?.speeds[1]?.msPerItem).toBeGreaterThan(500);
    const played = playQueue(queue, NO_CHANGE, comesAtMs);
    expect(played.totalMs).toBeGreaterThan(20_000);
  });

  test('without a peer, what it did falls to the others', async () => {
    const path = await write(line({ items: 2_000, runMs: 20_000 }), line({ items: 1_000, peer: BEN, runMs: 20_000 }));
    const { queue, comesAtMs } = await readHistory(path, []);
    const ben = queue.peers.find(({ id }) => id === BEN)?.name ?? '';
    const without = { ...NO_CHANGE, without: [ben] };
    expect(playQueue(queue, without, comesAtMs).totalMs).toBeGreaterThan(
      1.3 * playQueue(queue, NO_CHANGE, comesAtMs).totalMs,
    );
  });

  test.each([
    ['{"job":1}', /line 1/],
    ['no JSON', /line 1/],
  ])('what is no decision log is refused with the line: %s', async (text, message) => {
    const path = join(dir, 'other.txt');
    await writeFile(path, text);
    await expect(readHistory(path, [])).rejects.toThrow(message);
  });

  test('a file that is not there is said', async () => {
    await expect(readHistory(join(dir, 'nowhere'), [])).rejects.toMatchObject({ code: 'bad-input' });
  });

  test('an empty log has nothing to play', async () => {
    const { queue } = await readHistory(await write(), []);
    expect(() => playQueue(queue, NO_CHANGE)).toThrow(/nothing to play/);
  });
});
