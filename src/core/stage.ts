// Owns stages: which items are finished, failed, waiting to be retried or pending, and when a stage begins and ends.
// A stage is lazy: its memory grows with gaps between ranges, never with items. What its end means for the job is not
// known here: functions return a StageOutcome.

import { defined } from '../lib/assert.ts';
import { toStageId, type PeerId } from '../lib/ids.ts';
import { RangeSet, rangeLength, type Range } from '../lib/range-set.ts';
import { countItems } from '../protocol/job-spec.ts';
import { addPending } from './line.ts';
import { workClassOf, workFamilyOf } from './schedule/estimate.ts';
import { stageKey, toRecord, toStageRecord } from './record.ts';
import type { JobRecord, PartRecord, RetryRecord, Stage, StageRecord } from './state.ts';
import { put, remove, type Turn } from './turn.ts';

/** Beyond this a retry waits no longer. */
const MAX_BACKOFF_MS = 60_000;
/** A range that failed this often as a whole is halved, until the item at fault stands alone. */
const TRIES_BEFORE_SPLIT = 2;

export function createStage(job: JobRecord, record: StageRecord): Stage {
  const spec = defined(
    job.spec.stages.find(({ name }) => toStageId(job.id, name) === record.id),
    `spec of stage ${record.id}`,
  );
  const itemCount = countItems(spec);
  return {
    id: record.id,
    jobId: job.id,
    spec,
    itemCount,
    workClass: workClassOf(spec),
    family: workFamilyOf(spec),
    record,
    line: undefined,
    finished: new RangeSet(),
    pending: RangeSet.of({ start: 0, end: itemCount }),
    parts: new Map(),
    retries: new Map(),
    retrying: new Set(),
    failures: new Map(),
    doneBy: new Map(),
    running: new Set(),
    refusals: new Map(),
  };
}

export function addStages(turn: Turn, job: JobRecord): void {
  for (const { name } of job.spec.stages) {
    const record: StageRecord = { id: toStageId(job.id, name), jobId: job.id, status: { kind: 'waiting' } };
    turn.state.stages.set(record.id, createStage(job, record));
    put(turn, toRecord('stage', record));
  }
}

/** Starts each waiting stage whose needs have all finished. */
export function startReadyStages(turn: Turn, job: JobRecord): void {
  for (const spec of job.spec.stages) {
    const stage = defined(turn.state.stages.get(toStageId(job.id, spec.name)), `stage ${spec.name}`);
    if (stage.record.status.kind !== 'waiting') continue;
    const ready = spec.needs.every(
      (need) => turn.state.stages.get(toStageId(job.id, need))?.record.status.kind === 'finished',
    );
    if (ready) saveStage(turn, stage, { ...stage.record, status: { kind: 'running', since: turn.at } });
  }
}

/** What a change did to a stage: still open, finished, or hopeless with the reason why the job should end. */
export type StageOutcome =
  | { readonly kind: 'open' }
  | { readonly kind: 'finished' }
  | { readonly kind: 'hopeless'; readonly reason: string };

const OPEN: StageOutcome = { kind: 'open' };

/** Accepts the result of a range, once and for all. */
export function acceptRange(turn: Turn, stage: Stage, part: PartRecord): StageOutcome {
  const { merged, absorbed } = stage.finished.add(part);
  for (const start of absorbed) remove(turn, stageKey('finished', stage.id, start));
  put(turn, toStageRecord('finished', { stage: stage.id, ...merged }));
  if (part.part !== undefined || part.inline !== undefined) {
    stage.parts.set(part.start, part);
    put(turn, toStageRecord('part', part));
  }
  creditPeer(stage, part);
  forgetRetry(turn, stage, part.start);
  turn.state.counters.accepted += rangeLength(part);
  return finishIfDone(turn, stage);
}

export function creditPeer(stage: Stage, part: PartRecord): void {
  stage.doneBy.set(part.peer, (stage.doneBy.get(part.peer) ?? 0) + rangeLength(part));
}

/** Gives a range back that nobody is to blame for: its peer left, or it was stopped. */
export function returnRange(stage: Stage, range: Range): void {
  if (stage.retrying.delete(range.start)) return;
  addPending(stage, range);
}

export type Blame = { readonly reason: string; readonly tries: number; readonly peer: PeerId; readonly item?: number };

/**
 * Deals with a range that failed. A named item is set apart at once; a range without a culprit is tried again and then
 * halved; a single item that failed as often as the spec allows is recorded as failed, so that the stage can end.
 */
export function failRange(turn: Turn, stage: Stage, range: Range, blame: Blame): StageOutcome {
  forgetRetry(turn, stage, range.start);
  turn.state.counters.retried++;
  if (rangeLength(range) === 1) return failItem(turn, stage, range, blame);
  const { item } = blame;
  if (item !== undefined && item >= range.start && item < range.end)
    return isolateItem(turn, stage, range, blame, item);
  if (blame.tries < TRIES_BEFORE_SPLIT) return addRetry(turn, stage, range, blame);
  const middle = range.start + Math.ceil(rangeLength(range) / 2);
  addRetry(turn, stage, { start: range.start, end: middle }, { ...blame, tries: 1 });
  return addRetry(turn, stage, { start: middle, end: range.end }, { ...blame, tries: 1 });
}

function isolateItem(turn: Turn, stage: Stage, range: Range, blame: Blame, item: number): StageOutcome {
  if (range.start < item) addPending(stage, { start: range.start, end: item });
  if (item + 1 < range.end) addPending(stage, { start: item + 1, end: range.end });
  return failItem(turn, stage, { start: item, end: item + 1 }, blame);
}

function failItem(turn: Turn, stage: Stage, range: Range, blame: Blame): StageOutcome {
  if (blame.tries < stage.spec.maxAttempts) return addRetry(turn, stage, range, blame);
  const failure = { stage: stage.id, item: range.start, tries: blame.tries, reason: blame.reason };
  stage.failures.set(failure.item, failure);
  put(turn, toStageRecord('failure', failure));
  turn.state.counters.failedItems++;
  return isHopeless(stage) ? hopeless(stage, blame.reason) : finishIfDone(turn, stage);
}

/** A step that failed, or more failed items than the spec allows: the rest would be wasted. */
function isHopeless({ failures, itemCount, spec }: Stage): boolean {
  return failures.size > spec.maxFailedItems || failures.size === itemCount;
}

function hopeless({ failures, itemCount, spec }: Stage, last: string): StageOutcome {
  return {
    kind: 'hopeless',
    reason: `stage "${spec.name}": ${failures.size} of ${itemCount} items failed; the last: ${last}`,
  };
}

function addRetry(turn: Turn, stage: Stage, range: Range, blame: Blame): StageOutcome {
  const backoffMs = Math.min(turn.state.limits.retryBackoffMs * 2 ** (blame.tries - 1), MAX_BACKOFF_MS);
  const retry: RetryRecord = {
    stage: stage.id,
    start: range.start,
    end: range.end,
    tries: blame.tries,
    notBefore: turn.at + backoffMs,
    reason: blame.reason,
    peer: blame.peer,
  };
  stage.retries.set(retry.start, retry);
  turn.state.retrying.add(stage.id);
  put(turn, toStageRecord('retry', retry));
  return OPEN;
}

function forgetRetry(turn: Turn, stage: Stage, start: number): void {
  stage.retrying.delete(start);
  if (stage.retries.delete(start)) remove(turn, stageKey('retry', stage.id, start));
  if (stage.retries.size === 0) turn.state.retrying.delete(stage.id);
}

function finishIfDone(turn: Turn, stage: Stage): StageOutcome {
  if (stage.finished.size + stage.failures.size < stage.itemCount) return OPEN;
  saveStage(turn, stage, { ...stage.record, status: { kind: 'finished', at: turn.at } });
  return { kind: 'finished' };
}

function saveStage(turn: Turn, stage: Stage, record: StageRecord): void {
  stage.record = record;
  put(turn, toRecord('stage', record));
}
