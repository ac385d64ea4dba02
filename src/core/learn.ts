// Owns what the swarm learns from a result: speed, set-up, what is warm; and which of it is written down. Estimates are
// durable only as far as they changed: a restart may know a little less, never something else.

import { rangeLength } from '../lib/range-set.ts';
import type { PeerId } from '../lib/ids.ts';
import type { Outcome } from '../protocol/to-coordinator.ts';
import { toRecord } from './record.ts';
import { learnSetup, learnSpeed, learnTransfer, type Estimate, type Observation } from './schedule/estimate.ts';
import { isWarm, noteWarm } from './session.ts';
import type { Attempt, Stage, State } from './state.ts';
import { putOnce, type Turn } from './turn.ts';

/** Less than this changes no plan. */
const WORTH_SAVING = 0.1;
const SAVE_EVERY_MS = 60_000;

export function toObservation(state: State, stage: Stage, peer: PeerId, at: number): Observation {
  const { workClass, family } = stage;
  return { workClass, family, peer, at, logSlowness: state.sessions.get(peer)?.logSlowness ?? 0 };
}

/**
 * Device time that a result may claim: not more than the peer has had the range, whatever it says. One that was adopted
 * has had it since before this coordinator knew, but not longer than there has been the job.
 */
export function claimedMs({ state, at }: Turn, attempt: Attempt, durationMs: number): number {
  const job = state.stages.get(attempt.stage)?.jobId;
  const submittedAt = (job && state.jobs.get(job)?.submittedAt) ?? attempt.assignedAt;
  const since = attempt.why === 'adopted' ? submittedAt : attempt.assignedAt;
  return Math.min(durationMs, Math.max(0, at - since));
}

export function learnFromResult(
  turn: Turn,
  stage: Stage,
  attempt: Attempt,
  { durationMs, setupMs = 0, part, uploadMs }: Extract<Outcome, { kind: 'done' }>,
): void {
  const { state, at } = turn;
  const seen = toObservation(state, stage, attempt.peer, at);
  const changed = learnSpeed(state.estimates, seen, claimedMs(turn, attempt, durationMs) / rangeLength(attempt));
  // A warm runner has next to no set-up: it tells nothing of a cold one.
  const before = state.sessions.get(attempt.peer);
  if (setupMs > 0 && before && !isWarm(before, stage.workClass, at))
    changed.push(...learnSetup(state.estimates, seen, setupMs));
  const items = rangeLength(attempt);
  if (part) changed.push(...learnTransfer(state.estimates, seen, { sizeBytes: part.sizeBytes, items, uploadMs }));
  for (const estimate of changed) save(turn, estimate);
  const session = state.sessions.get(attempt.peer);
  if (session) noteWarm(session, stage.workClass, at);
}

function save(turn: Turn, estimate: Estimate): void {
  const { savedEstimates } = turn.state;
  const saved = savedEstimates.get(estimate.id);
  const isNews =
    !saved || Math.abs(saved.mean - estimate.mean) > WORTH_SAVING || estimate.at - saved.at > SAVE_EVERY_MS;
  if (!isNews) return;
  savedEstimates.set(estimate.id, estimate);
  putOnce(turn, toRecord('estimate', estimate));
}
