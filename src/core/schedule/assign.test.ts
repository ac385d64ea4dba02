import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assignTasks } from './assign.ts';
import type { MixClass } from './mix.ts';

const cost = fc.oneof(
  { weight: 9, arbitrary: fc.integer({ min: 1, max: 1_000 }) },
  { weight: 1, arbitrary: fc.constant(Infinity) },
);
const instance = fc.integer({ min: 1, max: 6 }).chain((devices) =>
  fc.record({
    classes: fc.array(
      fc.record({
        items: fc.integer({ min: 0, max: 30 }),
        msPerItem: fc.array(cost, { minLength: devices, maxLength: devices }),
      }),
      { maxLength: 8 },
    ),
    queuedMs: fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: devices, maxLength: devices }),
  }),
);

/** Written anew, so that the comparison is with something else. */
function listSchedule(classes: readonly MixClass[], queuedMs: readonly number[]): number {
  const free = [...queuedMs];
  for (const { items, msPerItem } of classes)
    for (let i = 0; i < items; i++) {
      const ends = free.map((at, device) => at + (msPerItem[device] ?? Infinity));
      const device = ends.indexOf(Math.min(...ends));
      if (Number.isFinite(ends[device])) free[device] = ends[device] ?? 0;
    }
  return Math.max(0, ...free);
}

describe('assigning whole tasks', () => {
  test('each task has one device that can run it, and the makespan is what the counts say', () => {
    fc.assert(
      fc.property(instance, ({ classes, queuedMs }) => {
        const { counts, makespanMs } = assignTasks(classes, queuedMs);
        const load = [...queuedMs];
        for (const [c, { items, msPerItem }] of classes.entries()) {
          const canRun = msPerItem.some((ms) => Number.isFinite(ms));
          expect(counts[c]?.reduce((sum, count) => sum + count, 0)).toBe(canRun ? items : 0);
          for (const [device, count] of (counts[c] ?? []).entries()) {
            expect(count).toBeGreaterThanOrEqual(0);
            if (count > 0) load[device] = (load[device] ?? 0) + count * (msPerItem[device] ?? 0);
          }
        }
        expect(makespanMs).toBeCloseTo(Math.max(0, ...load), 3);
      }),
    );
  });

  test('it never ends later than list scheduling by earliest completion', () => {
    fc.assert(
      fc.property(instance, ({ classes, queuedMs }) => {
        const { makespanMs } = assignTasks(classes, queuedMs);
        expect(makespanMs).toBeLessThanOrEqual(listSchedule(classes, queuedMs) * (1 + 1e-9));
      }),
    );
  });

  test('a trap for list scheduling is seen through: the short task must leave the fast device to the long ones', () => {
    const classes = [
      { items: 3, msPerItem: [10, 30] },
      { items: 3, msPerItem: [20, 21] },
    ];
    expect(assignTasks(classes, [0, 0]).makespanMs).toBeLessThanOrEqual(51);
  });
});
