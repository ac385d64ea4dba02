import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planDag, type DagPlan, type DagTask } from './dag.ts';

const drawn = fc.integer({ min: 1, max: 4 }).chain((devices) =>
  fc.array(
    fc.record({
      needs: fc.array(fc.tuple(fc.nat({ max: 60 }), fc.integer({ min: 0, max: 50 })), { maxLength: 3 }),
      msOn: fc.array(
        fc.oneof(
          { weight: 6, arbitrary: fc.integer({ min: 1, max: 100 }) },
          { weight: 1, arbitrary: fc.constant(Infinity) },
        ),
        {
          ...{ minLength: devices, maxLength: devices },
        },
      ),
    }),
    { maxLength: 40 },
  ),
);

/** Whatever was drawn, with needs that point back and a device for each. */
function toTasks(raw: readonly { needs: readonly [number, number][]; msOn: readonly number[] }[]): DagTask[] {
  return raw.map(({ needs, msOn }, task) => ({
    needs: [...new Map(task === 0 ? [] : needs.map(([need, ms]) => [need % task, ms]))].map(([need, transferMs]) => ({
      ...{ task: need, transferMs },
    })),
    msOn: msOn.some(Number.isFinite) ? msOn : msOn.map(() => 7),
  }));
}

function violationsOf(tasks: readonly DagTask[], { deviceOf, startMs, makespanMs }: DagPlan): string[] {
  const found: string[] = [];
  const end = (task: number) => (startMs[task] ?? 0) + (tasks[task]?.msOn[deviceOf[task] ?? -1] ?? NaN);
  for (const [task, { needs }] of tasks.entries()) {
    if (!Number.isFinite(end(task)) || end(task) > makespanMs) found.push(`task ${task} does not end in time`);
    for (const { task: need, transferMs } of needs) {
      const readyMs = end(need) + (deviceOf[need] === deviceOf[task] ? 0 : transferMs);
      if ((startMs[task] ?? 0) < readyMs) found.push(`task ${task} begins before ${need} is there`);
    }
    for (let other = 0; other < task; other++) {
      const apart = end(other) <= (startMs[task] ?? 0) || end(task) <= (startMs[other] ?? 0);
      if (deviceOf[other] === deviceOf[task] && !apart) found.push(`${other} and ${task} overlap`);
    }
  }
  return found;
}

describe('planning a DAG', () => {
  test('what is needed comes first, transfers are waited for, and no device does two things at once', () => {
    fc.assert(
      fc.property(drawn, (raw) => {
        const tasks = toTasks(raw);
        expect(violationsOf(tasks, planDag(tasks))).toEqual([]);
      }),
    );
  });

  test('nothing to do ends at once', () => {
    expect(planDag([])).toEqual({ deviceOf: [], startMs: [], makespanMs: 0 });
  });

  test('a task that nobody can run is said', () => {
    expect(() => planDag([{ needs: [], msOn: [Infinity, Infinity] }])).toThrow(/no device can run task 0/);
  });

  test('a dear transfer keeps a chain on one device', () => {
    const chain = (task: number): DagTask => ({ needs: [{ task, transferMs: 1_000 }], msOn: [10, 9] });
    const plan = planDag([{ needs: [], msOn: [10, 30] }, chain(0), chain(1)]);
    expect(new Set(plan.deviceOf).size).toBe(1);
    expect(plan.makespanMs).toBe(30);
  });

  test('independent tasks are spread', () => {
    const plan = planDag(Array.from({ length: 4 }, () => ({ needs: [], msOn: [10, 10] })));
    expect(plan.makespanMs).toBe(20);
  });
});
