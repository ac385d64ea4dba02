// Owns reports: what an agent says became of an attempt, taken once (INV-1) or dropped and counted.

import { defined } from '../lib/assert.ts';
import type { PeerId } from '../lib/ids.ts';
import { rangeLength } from '../lib/range-set.ts';
import type { Outcome, Report } from '../protocol/to-coordinator.ts';
import { endAttempt, giveBack, isDivisible, shrinkAttempt, stopAttempt, twinOf, type EndDetail } from './attempt.ts';
import type { EventBody } from './event.ts';
import { noteFailure, noteSuccess } from './health.ts';
import { endJob, onStageFinished } from './job.ts';
import { bookWork } from './ledger.ts';
import { claimedMs, learnFromResult } from './learn.ts';
import { notePrediction } from './schedule/forecast.ts';
import { touchSession } from './session.ts';
import { acceptRange, failRange, type StageOutcome } from './stage.ts';
import type { Attempt, JobRecord, Stage } from './state.ts';
import type { AttemptEnd } from './trace.ts';
import { send, type Turn } from './turn.ts';

type Done = Extract<Outcome, { kind: 'done' }>;
type Failed = Extract<Outcome, { kind: 'failed' }>;

const HOUR_MS = 3_600_000;

/** Takes reports. Each is acknowledged once its effect is durable, the stale ones too, so that the agent forgets them. */
export function onReported(turn: Turn, event: Extract<EventBody, { kind: 'reported' }>): void {
  if (!touchSession(turn, event.peer, event.link)) return;
  for (const report of event.reports) takeReport(turn, event.peer, report);
  send(turn, event.peer, { type: 'ack', epochs: event.reports.map((report) => report.epoch) });
}

function takeReport(turn: Turn, peer: PeerId, { epoch, outcome }: Report): void {
  const { state } = turn;
  const known = state.attempts.get(epoch);
  if (known?.peer !== peer) {
    state.counters.staleDropped++;
    return;
  }
  const attempt = outcome.kind === 'done' ? cutToResult(turn, known, outcome) : known;
  if (!attempt) return;
  const stage = defined(state.stages.get(attempt.stage), `stage ${attempt.stage}`);
  endAttempt(turn, attempt, ...toEnd(stage, attempt, outcome));
  if (outcome.kind === 'done' && stage.finished.overlaps(attempt)) return takeSample(turn, stage, attempt, outcome);
  if (attempt.canceled) return giveBack(state, attempt);
  if (outcome.kind === 'done') takeResult(turn, stage, attempt, outcome);
  else if (outcome.kind === 'failed') takeFailure(turn, stage, attempt, outcome);
  else giveBack(state, attempt);
}

/**
 * The attempt as far as its result goes: a peer that was asked to shrink may report before its boundary was heard. A
 * result that ends elsewhere than it may is worth nothing: the attempt is given up, and undefined returned.
 */
function cutToResult(turn: Turn, attempt: Attempt, { end }: Done): Attempt | undefined {
  if (end === undefined || end === attempt.end) return attempt;
  const mayEnd = end > attempt.start && end < attempt.end && isDivisible(turn.state, attempt);
  if (mayEnd) return shrinkAttempt(turn, attempt, end);
  endAttempt(turn, attempt, 'returned', { reason: `its result ends at ${end}, not at ${attempt.end}` });
  giveBack(turn.state, attempt);
  return undefined;
}

function toEnd(stage: Stage, attempt: Attempt, outcome: Outcome): [AttemptEnd, EndDetail?] {
  if (outcome.kind === 'done' && stage.finished.overlaps(attempt))
    return ['duplicate', { durationMs: outcome.durationMs }];
  if (attempt.canceled) return ['stopped'];
  if (outcome.kind === 'stopped') return ['returned'];
  if (outcome.kind === 'failed') return [outcome.scope === 'peer' ? 'returned' : 'failed', { reason: outcome.reason }];
  const { durationMs, part } = outcome;
  return ['accepted', { durationMs, ...(part && { sizeBytes: part.sizeBytes }) }];
}

function takeResult(turn: Turn, stage: Stage, attempt: Attempt, outcome: Done): void {
  const { state } = turn;
  const job = defined(state.jobs.get(stage.jobId), `job ${stage.jobId}`);
  learnFromResult(turn, stage, attempt, outcome);
  noteSuccess(state, attempt.peer);
  const failed = stage.retries.get(attempt.start);
  // Only what another can do tells against a peer: poison items and broken jobs do not.
  if (failed && failed.peer !== attempt.peer) noteFailure(state, failed.peer, failed.reason, turn.at);
  const twin = twinOf(state, attempt);
  if (twin) stopAttempt(turn, twin);
  const { start, end, peer } = attempt;
  bookWork(turn, job, { peer, deviceMs: claimedMs(turn, attempt, outcome.durationMs), items: rangeLength(attempt) });
  const bytes = outcome.part && { part: outcome.part };
  const inline = outcome.inline === undefined ? undefined : { inline: outcome.inline };
  settle(turn, stage, acceptRange(turn, stage, { stage: stage.id, start, end, peer, ...bytes, ...inline }));
  notePrediction(state, job, turn.at);
  checkBudget(turn, job);
}

/** A job that has used its device-hours ends. */
function checkBudget(turn: Turn, { id, spec }: JobRecord): void {
  const { deviceHours } = spec.limits;
  const usedMs = turn.state.usage.get(id)?.deviceMs ?? 0;
  const job = turn.state.jobs.get(id);
  if (deviceHours === undefined || usedMs <= deviceHours * HOUR_MS || job?.status.kind !== 'running') return;
  const reason = `it has used its limit of ${deviceHours} device-hours; submit it again with a higher one`;
  endJob(turn, job, { kind: 'failed', at: turn.at, reason });
}

/** The loser of two twins finished all the same: its result shows whether both peers compute the same. */
function takeSample({ state }: Turn, stage: Stage, attempt: Attempt, outcome: Done): void {
  state.counters.duplicatesDropped++;
  const accepted = stage.parts.get(attempt.start);
  if (!outcome.part || !accepted?.part || accepted.end !== attempt.end) return;
  if (accepted.part.id === outcome.part.id) state.counters.samplesEqual++;
  else state.counters.samplesUnlike++;
}

function takeFailure(turn: Turn, stage: Stage, attempt: Attempt, outcome: Failed): void {
  const { state } = turn;
  const { peer } = attempt;
  if (outcome.scope === 'peer') stage.refusals.set(peer, outcome.reason);
  // While another is at the same range, its result decides.
  if (outcome.scope === 'peer' || twinOf(state, attempt)) return giveBack(state, attempt);
  const { item, reason } = outcome;
  const culprit = outcome.scope === 'item' && item !== undefined ? { item } : undefined;
  settle(turn, stage, failRange(turn, stage, attempt, { reason, peer, tries: attempt.tries + 1, ...culprit }));
}

/** Carries a stage's end over to its job. */
function settle(turn: Turn, stage: Stage, outcome: StageOutcome): void {
  if (outcome.kind === 'finished') onStageFinished(turn, stage.jobId);
  if (outcome.kind !== 'hopeless') return;
  const job = defined(turn.state.jobs.get(stage.jobId), `job ${stage.jobId}`);
  endJob(turn, job, { kind: 'failed', at: turn.at, reason: outcome.reason });
}
