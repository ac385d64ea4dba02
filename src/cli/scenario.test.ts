import { describe, expect, test } from 'vitest';
import type { JobId, KeyId } from '../lib/ids.ts';
import type { QueueView } from '../protocol/views.ts';
import { listUnknown, NO_CHANGE, playQueue } from './scenario.ts';

const keyOf = (digit: string) => `ed25519:${digit.repeat(64)}` as KeyId;
const [ANNA, BEN, BOSS] = [keyOf('a'), keyOf('b'), keyOf('c')];
const JOB = '0123456789abcdef' as JobId;
const GIB = 2 ** 30;

type Stage = QueueView['jobs'][number]['stages'][number];

function peer(id: KeyId, name: string): QueueView['peers'][number] {
  const device = { id: 'cpu', kind: 'cpu' as const, name: 'a CPU', memoryBytes: 8 * GIB, threads: 4 };
  return { id, name, labels: [], devices: [device] };
}

function stage(over: Partial<Stage> = {}): Stage {
  return {
    ...{ name: 'map', needs: [], left: 6_000, memoryBytes: 0, labels: [], msPerItemAtOneTflops: 209 },
    speeds: [
      { peer: ANNA, msPerItem: 10 },
      { peer: BEN, msPerItem: 30 },
    ],
    ...over,
  };
}

function queueOf(...stages: Stage[]): QueueView {
  return {
    peers: [peer(ANNA, 'anna'), peer(BEN, 'ben')],
    jobs: [{ id: JOB, name: 'job', submitter: BOSS, priority: 0, stages }],
  };
}

describe('playing a queue', () => {
  test('takes about as long as the fleet needs at its speeds', () => {
    // 6,000 items at 1/10 + 1/30 items a ms.
    const { totalMs, jobMs } = playQueue(queueOf(stage()), NO_CHANGE);
    expect(totalMs / 45_000).toBeGreaterThan(0.95);
    expect(totalMs / 45_000).toBeLessThan(1.15);
    expect([...jobMs]).toEqual([[JOB, totalMs]]);
  });

  test('a device more ends it sooner, a peer less later', () => {
    const queue = queueOf(stage());
    const { totalMs } = playQueue(queue, NO_CHANGE);
    // 1 ms an item, by the device table.
    const more = playQueue(queue, { ...NO_CHANGE, add: ['RTX 5090'] }).totalMs;
    expect(more).toBeLessThan(totalMs / 5);
    const less = playQueue(queue, { ...NO_CHANGE, without: ['anna'] }).totalMs;
    expect(less).toBeGreaterThan(totalMs * 3);
  });

  test('where results are big, the uplink is what counts', () => {
    const queue = queueOf(stage({ bytesPerItem: 100_000 }));
    const slow = {
      ...NO_CHANGE,
      uplinks: new Map([
        ['anna', 1_000_000],
        ['ben', 1_000_000],
      ]),
    };
    // 600 MB over 2 MB/s.
    expect(playQueue(queue, slow).totalMs).toBeGreaterThan(270_000);
    expect(playQueue(queue, NO_CHANGE).totalMs).toBeLessThan(60_000);
  });

  test('stages wait for those that they need', () => {
    const chain = queueOf(stage({ left: 1_200 }), stage({ name: 'next', needs: ['map'], left: 1_200 }));
    expect(playQueue(chain, NO_CHANGE).totalMs).toBeGreaterThan(18_000);
  });

  test('what nobody has run is left out and named', () => {
    const { msPerItemAtOneTflops: _, ...unknown } = stage({ name: 'new', speeds: [] });
    const queue = queueOf(stage(), unknown);
    expect(listUnknown(queue)).toEqual(['job/new']);
    expect(playQueue(queue, NO_CHANGE).totalMs).toBeLessThan(60_000);
    expect(() => playQueue(queueOf(unknown), NO_CHANGE)).toThrow(/nothing to play/);
  });

  test('names that are not there are refused, with the one that was meant', () => {
    expect(() => playQueue(queueOf(stage()), { ...NO_CHANGE, without: ['ana'] })).toThrow(/did you mean "anna"/);
  });

  test('what would never end is not played', () => {
    expect(() => playQueue(queueOf(stage()), { ...NO_CHANGE, without: ['anna', 'ben'] })).toThrow(
      /no peer would be left/,
    );
    const onlyAnna = stage({ speeds: [{ peer: ANNA, msPerItem: 10 }] });
    expect(() => playQueue(queueOf(onlyAnna), { ...NO_CHANGE, without: ['anna'] })).toThrow(/wait for ever/);
    expect(() => playQueue(queueOf(stage({ memoryBytes: 9 * GIB })), NO_CHANGE)).toThrow(/wait for ever/);
    expect(
      playQueue(queueOf(stage({ memoryBytes: 9 * GIB })), { ...NO_CHANGE, add: ['5090'] }).totalMs,
    ).toBeGreaterThan(0);
  });
});
