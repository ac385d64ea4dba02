// Owns planted bugs: known mistakes that a run can be given on purpose, to show that the simulator finds them.

import { defined } from '../lib/assert.ts';
import { step } from '../core/step.ts';
import type { Change } from '../core/change.ts';
import type { Effect } from '../core/effect.ts';
import type { Event } from '../core/event.ts';
import type { Epoch, StageId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import { addPending } from '../core/line.ts';
import type { Estimate } from '../core/schedule/estimate.ts';
import { acceptRange } from '../core/stage.ts';
import type { RetryRecord, State } from '../core/state.ts';
import type { Device } from '../protocol/device.ts';
import type { Step } from '../core/step.ts';
import type { Turn } from '../core/turn.ts';
import type { StepFunction } from './coordinator-node.ts';
import type { SimulatedDisk } from './disk.ts';

export const PLANTS = [
  'no-epoch-check',
  'answers-before-commit',
  'forgets-retries',
  'gives-tail-away-unanswered',
  'lease-never-ends',
  'retry-count-reset',
  'memory-promised-twice',
  'cancel-lost-at-reconnect',
  'loser-not-stopped',
  'fair-share-starvation',
  'stale-estimate-never-decays',
  'shows-what-is-not-durable',
] as const;
export type Plant = (typeof PLANTS)[number];

/** The production step, or one with the named bug in it. */
export function plantedStep(plant: Plant | undefined): StepFunction {
  switch (plant) {
    case undefined:
    case 'answers-before-commit':
    case 'shows-what-is-not-durable':
      return step;
    case 'no-epoch-check':
      return withoutEpochCheck();
    case 'forgets-retries':
      return (state, event) => {
        const { changes, effects } = step(state, event);
        return { changes: changes.filter((change) => change.op !== 'put' || change.record.kind !== 'retry'), effects };
      };
    case 'gives-tail-away-unanswered':
      return giveTailAway;
    case 'lease-never-ends':
      return neverEndLease;
    case 'retry-count-reset':
      return resetRetries;
    case 'memory-promised-twice':
      return promiseTwice;
    case 'cancel-lost-at-reconnect':
      return loseCancel;
    case 'loser-not-stopped':
      return keepLoser;
    case 'fair-share-starvation':
      return starve;
    case 'stale-estimate-never-decays':
      return withoutRelearning();
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

/** What a peer was asked for is handed out at once, though it may be at work on it. */
function giveTailAway(state: State, event: Event): Step {
  const asked = new Set(state.shrinking);
  const stepped = step(state, event);
  for (const epoch of state.shrinking) {
    const attempt = asked.has(epoch) ? undefined : state.attempts.get(epoch);
    const stage = attempt && state.stages.get(attempt.stage);
    const start = Math.max(attempt?.start ?? 0, attempt?.shrink?.until ?? 0);
    if (attempt && stage && start < attempt.end) addPending(stage, { start, end: attempt.end });
  }
  return stepped;
}

/** Every peer counts as heard just now. */
function neverEndLease(state: State, event: Event): Step {
  if (event.kind === 'tick')
    for (const session of state.sessions.values())
      state.sessions.set(session.peer, { ...session, lastSeenAt: event.at });
  return step(state, event);
}

/** What failed counts as having failed once, however often it did. */
function resetRetries(state: State, event: Event): Step {
  const { changes, effects } = step(state, event);
  const reset = changes.map((change): Change => {
    if (change.op !== 'put' || change.record.kind !== 'retry') return change;
    const retry: RetryRecord = { ...(change.record.value as RetryRecord), tries: 1 };
    state.stages.get(retry.stage)?.retries.set(retry.start, retry);
    return { op: 'put', record: { ...change.record, value: retry } };
  });
  return { changes: reset, effects };
}

/** Devices are believed to have room for everything. */
function promiseTwice(state: State, event: Event): Step {
  const sessions = [...state.sessions.values()];
  const roomy = (device: Device): Device => ({ ...device, memoryBytes: Number.MAX_SAFE_INTEGER });
  for (const session of sessions) state.sessions.set(session.peer, { ...session, devices: session.devices.map(roomy) });
  const stepped = step(state, event);
  for (const { peer, devices } of sessions) {
    const session = state.sessions.get(peer);
    // One that just said hello has told its devices anew.
    if (session?.devices.some(({ memoryBytes }) => memoryBytes === Number.MAX_SAFE_INTEGER))
      state.sessions.set(peer, { ...session, devices });
  }
  return stepped;
}

/** A peer that comes back goes on with what was canceled while it was away. */
function loseCancel(state: State, event: Event): Step {
  if (event.kind === 'link-opened')
    for (const { epoch } of event.hello.attempts) {
      const attempt = state.attempts.get(epoch);
      if (attempt) state.attempts.set(epoch, { ...attempt, canceled: false });
    }
  return step(state, event);
}

/** The second of two that work at a range is not told that the first was faster. */
function keepLoser(state: State, event: Event): Step {
  const { changes, effects } = step(state, event);
  const isCancel = (effect: Effect): boolean => effect.kind === 'send' && effect.message.type === 'cancel';
  return { changes, effects: event.kind === 'reported' ? effects.filter((effect) => !isCancel(effect)) : effects };
}

/** One of the submitters counts as having had more than anybody ever could. */
function starve(state: State, event: Event): Step {
  const [victim] = [...state.lines.keys()].sort();
  if (victim !== undefined) state.shares.set(victim, { ms: Number.MAX_SAFE_INTEGER, at: event.at });
  return step(state, event);
}

/** The first that is learned of a peer's speed is believed for ever. */
function withoutRelearning(): StepFunction {
  const first = new Map<string, Estimate>();
  return (state, event) => {
    const stepped = step(state, event);
    for (const pairs of state.estimates.pairs.values())
      for (const [peer, estimate] of pairs) {
        const kept = first.get(estimate.id) ?? estimate;
        first.set(estimate.id, kept);
        pairs.set(peer, { ...kept, at: event.at });
      }
    return stepped;
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
