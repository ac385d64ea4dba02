import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { JOB, key, SUBMITTER } from '../../../test/helpers/core-harness.ts';
import type { StageId } from '../../lib/ids.ts';
import { DEFAULT_LIMITS } from '../state.ts';
import type { Assignment } from './draft.ts';
import { plan } from './plan.ts';
import type { PeerView, StageView, View } from './view.ts';

const STAGE = '00000000000000aa/map' as StageId;

function peerView(number: number, extra: Partial<PeerView> = {}): PeerView {
  return {
    ...{ id: key(number), owner: undefined, drained: false, quarantine: undefined, labels: [], factor: 1 },
    ...{ memoryBytes: 8e9, freeMemoryBytes: undefined, freeDiskBytes: undefined },
    ...{
      freeSlots: 2,
      queuedMs: 0,
      heldAttempts: 0,
      heldClasses: new Set((extra.heldAttempts ?? 0) > 0 ? ['noop'] : []),
    },
    ...extra,
  };
}

function stageView(
  pendingItems: number,
  msPerItem: readonly (number | undefined)[],
  extra: Partial<StageView> = {},
): StageView {
  const typical = msPerItem.find((ms) => ms !== undefined);
  return {
    ...{ id: STAGE, job: JOB, submitter: SUBMITTER, workClass: 'noop', priority: 0, deadlineAt: Infinity },
    ...{
      pendingItems,
      classItems: pendingItems,
      taskItems: undefined,
      memoryBytes: 0,
      diskBytes: 0,
      labels: [],
      dueRetries: [],
    },
    ...{ refusals: new Map(), maxPeers: Infinity, peersAtWork: new Set(), setupMs: () => 0, fleet: 'noop' },
    speedOf: (peer) => {
      const own = msPerItem[Number(peer.slice(-4))];
      const ms = own ?? typical;
      return ms === undefined ? undefined : { msPerItem: ms, sigma: 0.2, measured: own !== undefined };
    },
    ...extra,
  };
}

function line0(stages: StageView | readonly StageView[]): StageView {
  const [first] = [stages].flat();
  if (!first) throw new Error('a view needs a stage');
  return first;
}

function viewOf(stages: StageView | readonly StageView[], peers: readonly PeerView[]): View {
  const byLine = Map.groupBy([stages].flat(), ({ submitter }) => submitter);
  const lines = [...byLine].map(([submitter, line]) => ({
    ...{
      submitter,
      servedMs: 0,
      weight: 1,
      stages: line,
      classes: [...new Set(line.map(({ workClass }) => workClass))],
    },
    retrying: line.filter(({ dueRetries }) => dueRetries.length > 0),
  }));
  return {
    ...{ at: 0, limits: DEFAULT_LIMITS, backupMs: 0, spentMs: 0, peers, lines, classes: [], silent: [] },
    ...{ heldBy: () => [], headOf: () => undefined, stageOf: () => line0(stages) },
    isMeasured: (_, peer) => line0(stages).speedOf(peer)?.measured ?? false,
  };
}

/** Plays a stage to its end on peers whose real speed is `msPerItem`; the ms it takes. */
function play(items: number, msPerItem: readonly number[]): number {
  const known: (number | undefined)[] = msPerItem.map(() => undefined);
  const busy: { peer: number; doneAt: number; items: number }[] = [];
  let [now, pending] = [0, items];
  for (let rounds = 0; pending > 0 || busy.length > 0; rounds++) {
    if (rounds > 100_000) throw new Error('the stage does not end');
    const peers = msPerItem.map((ms, i) => {
      const held = busy.filter(({ peer }) => peer === i);
      const queuedMs = known[i] === undefined ? 0 : Math.max(0, ...held.map(({ doneAt }) => doneAt - now));
      return peerView(i, { freeSlots: 2 - held.length, queuedMs, heldAttempts: held.length });
    });
    for (const { peer, itemsPerTask } of pending > 0
      ? plan(viewOf(stageView(pending, known), peers)).assignments
      : []) {
      const i = Number(peer.slice(-4));
      const taken = Math.min(itemsPerTask, pending);
      const freeAt = Math.max(now, ...busy.filter((task) => task.peer === i).map(({ doneAt }) => doneAt));
      busy.push({ peer: i, doneAt: freeAt + taken * (msPerItem[i] as number), items: taken });
      pending -= taken;
    }
    busy.sort((a, b) => a.doneAt - b.doneAt);
    const next = busy.shift();
    if (!next) throw new Error('items are left and nobody works');
    now = next.doneAt;
    known[next.peer] = msPerItem[next.peer];
  }
  return now;
}

describe('plan', () => {
  test.each([
    ['equal peers', [5, 5, 5]],
    ['tenfold differences', [2, 5, 20]],
    ['one very slow', [1, 1, 100]],
    ['eight of all kinds', [1, 2, 3, 5, 8, 13, 21, 34]],
  ])('on %s a stage of 20,000 items ends within 1.1 of the fluid bound', (_name, speeds) => {
    const bound = 20_000 / speeds.reduce((sum, ms) => sum + 1 / ms, 0);
    expect(play(20_000, speeds) / bound).toBeLessThan(1.1);
  });

  test('never gives more than there is, and always something when somebody is free', () => {
    const speed = fc.option(fc.double({ min: 0.01, max: 1_000, noNaN: true }), { nil: undefined });
    const peer = fc.record({ ms: speed, freeSlots: fc.nat(4), queuedMs: fc.nat(10_000), drained: fc.boolean() });
    fc.assert(
      fc.property(
        fc.array(peer, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 5_000 }),
        (drawn, items) => {
          const peers = drawn.map(({ freeSlots, queuedMs, drained }, i) =>
            peerView(i, { freeSlots, queuedMs, drained }),
          );
          const { assignments } = plan(
            viewOf(
              stageView(
                items,
                drawn.map(({ ms }) => ms),
              ),
              peers,
            ),
          );
          const slots = new Map(peers.map(({ id, freeSlots }) => [id, freeSlots]));
          for (const { peer: id, tasks } of assignments) slots.set(id, (slots.get(id) ?? 0) - tasks);
          expect(Math.min(...slots.values())).toBeGreaterThanOrEqual(0);
          expect(assignments.some((assignment) => drawn[Number(assignment.peer.slice(-4))]?.drained)).toBe(false);
          const isIdle =
            drawn.some(({ drained, freeSlots }) => !drained && freeSlots > 0) &&
            drawn.every(({ queuedMs }) => queuedMs === 0);
          if (isIdle) expect(assignments.length).toBeGreaterThan(0);
        },
      ),
    );
  });

  test('a first task on a peer is small, and no second is given before it is back', () => {
    const stage = stageView(10_000, [undefined]);
    expect(plan(viewOf(stage, [peerView(0)])).assignments).toMatchObject([{ tasks: 1, itemsPerTask: 8 }]);
    expect(plan(viewOf(stage, [peerView(0, { freeSlots: 1, heldAttempts: 1 })])).assignments).toEqual([]);
  });

  test('a slow peer gets nothing of a tail that the fast one ends sooner', () => {
    const { assignments } = plan(viewOf(stageView(4, [1, 1_000]), [peerView(0), peerView(1)]));
    expect(new Set(assignments.map(({ peer }: Assignment) => peer))).toEqual(new Set([key(0)]));
  });

  test('the lower stage is served only with what the upper leaves', () => {
    const upper = stageView(1_000_000, [1]);
    const lower = { ...stageView(10, [1]), id: '00000000000000bb/map' as StageId, priority: -1 };
    const { assignments } = plan(viewOf([upper, lower], [peerView(0)]));
    expect(assignments.map(({ stage }) => stage)).not.toContain(lower.id);
  });
});
