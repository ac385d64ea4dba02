// Owns reports: what an agent says became of an attempt, taken once (INV-1) or dropped and counted.

import { defined } from '../lib/assert.ts';
import type { PeerId } from '../lib/ids.ts';
import { rangeLength } from '../lib/range-set.ts';
import type { Outcome, Report } from '../protocol/to-coordinator.ts';
import { endAttempt, type EndDetail } from './attempt.ts';
import type { EventBody } from './event.ts';
import { endJob, onStageFinished } from './job.ts';
import { learnSpeed } from './schedule/estimate.ts';
import { touchSession } from './session.ts';
import { acceptRange, failRange, returnRange, type StageOutcome } from './stage.ts';
import type { Attempt, Stage } from './state.ts';
import type { AttemptEnd } from './trace.ts';
import { send, type Turn } from './turn.ts';

/** Takes reports. Each is acknowledged once its effect is durable, the stale ones too, so that the agent forgets them. */
export function onReported(turn: Turn, event: Extract<EventBody, { kind: 'reported' }>): void {
  if (!touchSession(turn, event.peer, event.link)) return;
  for (const report of event.reports) takeReport(turn, event.peer, report);
  send(turn, event.peer, { type: 'ack', epochs: event.reports.map((report) => report.epoch) });
}

function takeReport(turn: Turn, peer: PeerId, { epoch, outcome }: Report): void {
  const attempt = turn.state.attempts.get(epoch);
  if (attempt?.peer !== peer) {
    turn.state.counters.staleDropped++;
    return;
  }
  const stage = defined(turn.state.stages.get(attempt.stage), `stage ${attempt.stage}`);
  endAttempt(turn, attempt, ...toEnd(stage, attempt, outcome));
  if (attempt.canceled) return returnRange(stage, attempt);
  if (outcome.kind === 'done') takeResult(turn, stage, attempt, outcome);
  else if (outcome.kind === 'failed') takeFailure(turn, stage, attempt, outcome);
  else returnRange(stage, attempt);
}

function toEnd(stage: Stage, attempt: Attempt, outcome: Outcome): [AttemptEnd, EndDetail?] {
  if (attempt.canceled || outcome.kind === 'stopped') return [attempt.canceled ? 'stopped' : 'returned'];
  if (outcome.kind === 'failed') return [outcome.scope === 'peer' ? 'returned' : 'failed', { reason: outcome.reason }];
  const { durationMs, part } = outcome;
  return [
    stage.finished.overlaps(attempt) ? 'duplicate' : 'accepted',
    { durationMs, ...(part && { sizeBytes: part.sizeBytes }) },
  ];
}

function takeResult(turn: Turn, stage: Stage, attempt: Attempt, outcome: Extract<Outcome, { kind: 'done' }>): void {
  if (stage.finished.overlaps(attempt)) {
    turn.state.counters.duplicatesDropped++;
    return;
  }
  learnSpeed(turn.state.speeds, stage.spec, attempt.peer, outcome.durationMs / rangeLength(attempt));
  const { start, end, peer } = attempt;
  const bytes = outcome.part && { part: outcome.part };
  const inline = outcome.inline === undefined ? undefined : { inline: outcome.inline };
  settle(turn, stage, acceptRange(turn, stage, { stage: stage.id, start, end, peer, ...bytes, ...inline }));
}

function takeFailure(turn: Turn, stage: Stage, attempt: Attempt, outcome: Extract<Outcome, { kind: 'failed' }>): void {
  if (outcome.scope === 'peer') {
    stage.refusals.set(attempt.peer, outcome.reason);
    return returnRange(stage, attempt);
  }
  const { item, reason } = outcome;
  const culprit = outcome.scope === 'item' && item !== undefined ? { item } : undefined;
  settle(
    turn,
    stage,
    failRange(turn, stage, attempt, { reason, peer: attempt.peer, tries: attempt.tries + 1, ...culprit }),
  );
}

/** Carries a stage's end over to its job. */
function settle(turn: Turn, stage: Stage, outcome: StageOutcome): void {
  if (outcome.kind === 'finished') onStageFinished(turn, stage.jobId);
  if (outcome.kind !== 'hopeless') return;
  const job = defined(turn.state.jobs.get(stage.jobId), `job ${stage.jobId}`);
  endJob(turn, job, { kind: 'failed', at: turn.at, reason: outcome.reason });
}
