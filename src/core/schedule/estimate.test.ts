import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { key } from '../../../test/helpers/core-harness.ts';
import { Prng } from '../../lib/prng.ts';
import {
  createEstimateBook,
  estimateSetupMs,
  estimateSpeed,
  estimateUploadMs,
  learnSetup,
  learnSpeed,
  learnTransfer,
  listEstimates,
  restoreEstimate,
  type EstimateBook,
  type Observation,
} from './estimate.ts';

const HOUR_MS = 3_600_000;

function seen(peer: number, at = 0, workClass = 'noop|map||1', logSlowness = 0): Observation {
  return { workClass, family: 'noop|map|', peer: key(peer), logSlowness, at };
}

function learnMany(book: EstimateBook, observation: Observation, msPerItem: readonly number[]): void {
  for (const ms of msPerItem) learnSpeed(book, observation, ms);
}

function msOf(book: EstimateBook, observation: Observation): number {
  return estimateSpeed(book, observation)?.msPerItem ?? Number.NaN;
}

describe('speed', () => {
  test('nothing is claimed of work that nobody has run', () => {
    expect(estimateSpeed(createEstimateBook(), seen(1))).toBeUndefined();
  });

  test('noise is averaged out, and what is uncertain at first becomes certain', () => {
    const book = createEstimateBook();
    const prng = new Prng(1);
    learnSpeed(book, seen(1), 10);
    const first = estimateSpeed(book, seen(1));
    learnMany(
      book,
      seen(1),
      Array.from({ length: 60 }, () => 10 * (0.8 + 0.4 * prng.float())),
    );
    const later = estimateSpeed(book, seen(1));
    expect(later?.msPerItem).toBeGreaterThan(8.5);
    expect(later?.msPerItem).toBeLessThan(11.5);
    expect(later?.sigma).toBeLessThan((first?.sigma ?? 0) / 2);
  });

  test('one outlier of a hundredfold moves it little', () => {
    const book = createEstimateBook();
    learnMany(book, seen(1), [10, 10.5, 9.5, 10, 10.2, 9.8, 10, 10]);
    learnSpeed(book, seen(1), 1_000);
    expect(msOf(book, seen(1))).toBeLessThan(14);
  });

  test('a device that becomes eight times slower is believed after a few tasks', () => {
    const book = createEstimateBook();
    learnMany(book, seen(1), [10, 10.5, 9.5, 10, 10.2, 9.8, 10, 10]);
    learnMany(book, seen(1), [80, 81, 79, 80]);
    expect(msOf(book, seen(1))).toBeGreaterThan(60);
  });

  test('a peer that has not run a work class is guessed from what it does elsewhere', () => {
    const book = createEstimateBook();
    for (let i = 0; i < 10; i++) {
      learnSpeed(book, seen(1, 0, 'a'), 10);
      learnSpeed(book, seen(2, 0, 'a'), 40);
      learnSpeed(book, seen(1, 0, 'b'), 100);
    }
    const guess = estimateSpeed(book, seen(2, 0, 'b'));
    expect(guess?.measured).toBe(false);
    expect(guess?.msPerItem).toBeGreaterThan(250);
    expect(guess?.msPerItem).toBeLessThan(640);
  });

  test('the device table decides until something is known', () => {
    const book = createEstimateBook();
    learnMany(book, seen(1, 0, 'a', -3), [10, 10, 10, 10]);
    expect(msOf(book, seen(2, 0, 'a', -3))).toBeCloseTo(10, 0);
    expect(msOf(book, seen(3, 0, 'a', -3 + Math.log(5)))).toBeGreaterThan(40);
  });

  test('a stale estimate fades: the peer is measured again, and the first new result counts', () => {
    const book = createEstimateBook();
    learnMany(
      book,
      seen(1),
      Array.from({ length: 8 }, () => 1_000),
    );
    for (let i = 0; i < 8; i++) learnSpeed(book, seen(2, 5 * HOUR_MS), 10);
    expect(estimateSpeed(book, seen(1, 0))?.measured).toBe(true);
    expect(estimateSpeed(book, seen(1, 5 * HOUR_MS))?.measured).toBe(false);
    learnMany(book, seen(1, 5 * HOUR_MS), [10, 10, 10]);
    expect(msOf(book, seen(1, 5 * HOUR_MS))).toBeLessThan(30);
  });

  test('absurd speeds never make an absurd or broken estimate', () => {
    const ms = fc.oneof(fc.double(), fc.constantFrom(0, -1, Number.NaN, Infinity, 1e308, 1e-308));
    fc.assert(
      fc.property(fc.array(ms, { minLength: 1, maxLength: 30 }), (observations) => {
        const book = createEstimateBook();
        learnMany(book, seen(1), observations);
        const { msPerItem, sigma } = estimateSpeed(book, seen(1)) ?? { msPerItem: 0, sigma: 0 };
        expect(msPerItem).toBeGreaterThan(0);
        expect(msPerItem).toBeLessThanOrEqual(86_400_000);
        expect(Number.isFinite(sigma) && sigma > 0).toBe(true);
      }),
    );
  });
});

test('set-up is learned apart from speed, for the peer and, until then, for the kind of work', () => {
  const book = createEstimateBook();
  expect(estimateSetupMs(book, seen(1))).toBe(0);
  learnSetup(book, seen(1), 4_000);
  expect(estimateSetupMs(book, seen(1))).toBeCloseTo(4_000, 0);
  expect(estimateSetupMs(book, seen(2))).toBeCloseTo(4_000, 0);
  expect(estimateSpeed(book, seen(1))).toBeUndefined();
});

test('what is saved and restored says the same', () => {
  const book = createEstimateBook();
  for (const peer of [1, 2]) learnMany(book, seen(peer), [10 * peer, 11 * peer]);
  learnSetup(book, seen(1), 900);
  const copy = createEstimateBook();
  for (const estimate of listEstimates(book)) expect(restoreEstimate(copy, estimate)).toBe(true);
  for (const peer of [1, 2, 3]) expect(estimateSpeed(copy, seen(peer))).toEqual(estimateSpeed(book, seen(peer)));
  expect(estimateSetupMs(copy, seen(1))).toBe(estimateSetupMs(book, seen(1)));
  expect(restoreEstimate(copy, { ...[...listEstimates(book)][0]!, id: 'nonsense' })).toBe(false);
});

test('a slow uplink sets the pace of results that are big, once it is known', () => {
  const book = createEstimateBook();
  expect(estimateUploadMs(book, seen(1))).toBe(0);
  learnTransfer(book, seen(1), { sizeBytes: 1_000, items: 10, uploadMs: 50 });
  expect(estimateUploadMs(book, seen(1))).toBe(0);
  // 20 Mbit/s: 2,500 bytes a ms.
  learnTransfer(book, seen(1), { sizeBytes: 1_000_000, items: 10, uploadMs: 400 });
  for (let i = 0; i < 20; i++) learnTransfer(book, seen(1), { sizeBytes: 1_000_000, items: 10, uploadMs: 400 });
  expect(estimateUploadMs(book, seen(1))).toBeCloseTo(40, 0);
});
