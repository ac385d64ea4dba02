import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RangeSet, type Range } from './range-set.ts';

const LIMIT = 40;
const rangeArbitrary = fc
  .tuple(fc.integer({ min: 0, max: LIMIT - 1 }), fc.integer({ min: 1, max: 10 }))
  .map(([start, length]): Range => ({ start, end: Math.min(start + length, LIMIT) }));
const actionArbitrary = fc.record({ kind: fc.constantFrom('add', 'remove', 'take'), range: rangeArbitrary });

function membersOf(set: RangeSet): number[] {
  return [...set].flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i));
}

describe('RangeSet', () => {
  test('behaves as a set of numbers under any sequence of actions', () => {
    fc.assert(
      fc.property(fc.array(actionArbitrary, { maxLength: 30 }), rangeArbitrary, (actions, probe) => {
        const [set, model] = [new RangeSet(), new Set<number>()];
        for (const { kind, range } of actions) {
          const numbers = Array.from({ length: range.end - range.start }, (_, i) => range.start + i);
          if (kind === 'add') {
            set.add(range);
            for (const n of numbers) model.add(n);
          } else if (kind === 'remove') {
            set.remove(range);
            for (const n of numbers) model.delete(n);
          } else {
            const taken = set.takeFirst(numbers.length);
            for (let n = taken?.start ?? 0; n < (taken?.end ?? 0); n++) expect(model.delete(n)).toBe(true);
          }
        }
        const probed = Array.from({ length: probe.end - probe.start }, (_, i) => probe.start + i);
        expect(membersOf(set)).toEqual([...model].sort((a, b) => a - b));
        expect(set.size).toBe(model.size);
        expect(set.covers(probe)).toBe(probed.every((n) => model.has(n)));
        expect(set.overlaps(probe)).toBe(probed.some((n) => model.has(n)));
        const ranges = [...set];
        for (const [i, range] of ranges.entries())
          if (i > 0) expect(range.start).toBeGreaterThan(ranges[i - 1]?.end ?? 0);
      }),
      { numRuns: 500 },
    );
  });

  test('adding says which ranges it swallowed, so that their records can be deleted', () => {
    const set = RangeSet.of({ start: 0, end: 2 }, { start: 4, end: 6 }, { start: 8, end: 9 });
    expect(set.add({ start: 2, end: 8 })).toEqual({ merged: { start: 0, end: 9 }, absorbed: [4, 8] });
    expect([...set]).toEqual([{ start: 0, end: 9 }]);
  });
});
