// Owns planted bugs: known mistakes that a run can be given on purpose, to show that the simulator finds them.

import { defined } from '../lib/assert.ts';
import { step } from '../core/step.ts';
import type { Change } from '../core/change.ts';
import type { Event } from '../core/event.ts';
import type { Epoch, StageId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import { acceptRange } from '../core/stage.ts';
import type { State } from '../core/state.ts';
import type { Step } from '../core/step.ts';
import type { Turn } from '../core/turn.ts';
import type { StepFunction } from './coordinator-node.ts';
import type { SimulatedDisk } from './disk.ts';

export const PLANTS = ['no-epoch-check', 'answers-before-commit', 'forgets-retries'] as const;
export type Plant = (typeof PLANTS)[number];

/** The production step, or one with the named bug in it. */
export function plantedStep(plant: Plant | undefined): StepFunction {
  switch (plant) {
    case undefined:
    case 'answers-before-commit':
      return step;
    case 'no-epoch-check':
      return withoutEpochCheck();
    case 'forgets-retries':
      return (state, event) => {
        const { changes, effects } = step(state, event);
        return { changes: changes.filter((change) => change.op !== 'put' || change.record.kind !== 'retry'), effects };
      };
  }
}

/** The disk's commit, or one that says "durable" before it is. */
export function plantedCommit(
  plant: Plant | undefined,
  disk: SimulatedDisk,
): (changes: readonly Change[]) => Promise<void> {
  if (plant !== 'answers-before-commit') return (changes) => disk.commit(changes);
  return (changes) => {
    disk.commit(changes).catch(() => undefined);
    return Promise.resolve();
  };
}

/** A report is believed for whatever range its epoch once stood for, as if epochs did not fence. */
function withoutEpochCheck(): StepFunction {
  const seen = new Map<Epoch, Range & { stage: StageId }>();
  return (state, event) => {
    for (const attempt of state.attempts.values()) seen.set(attempt.epoch, attempt);
    const believed =
      event.kind === 'reported' ? believe(state, event, seen) : { changes: [], sums: new Map(), effects: [] };
    const { changes, effects } = step(state, event);
    return { changes: [...believed.changes, ...changes], effects: [...believed.effects, ...effects] };
  };
}

function believe(
  state: State,
  event: Extract<Event, { kind: 'reported' }>,
  seen: ReadonlyMap<Epoch, Range & { stage: StageId }>,
): Step {
  const turn: Turn = { state, at: event.at, changes: [], sums: new Map(), effects: [] };
  for (const { epoch, outcome } of event.reports) {
    const stale = state.attempts.has(epoch) ? undefined : seen.get(epoch);
    if (!stale || outcome.kind !== 'done') continue;
    const stage = defined(state.stages.get(stale.stage), `stage ${stale.stage}`);
    acceptRange(turn, stage, { ...stale, peer: event.peer, ...(outcome.part && { part: outcome.part }) });
  }
  return turn;
}
