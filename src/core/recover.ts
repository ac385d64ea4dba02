// Owns the way back: a state from the store's records. No old logic is replayed; sessions and attempts start empty and
// come back with what agents say in their hellos.

import { defined } from '../lib/assert.ts';
import { toStageId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { StoredRecord } from './change.ts';
import { keepJob } from './job.ts';
import type { LedgerRecord, UsageRecord } from './ledger.ts';
import { lineUpJob } from './line.ts';
import { isRecordKind, toRecord, toStageRecord, versionOf, type FinishedRecord, type RecordKind } from './record.ts';
import type { PresenceRecord } from './presence.ts';
import type { ForecastRecord } from './schedule/forecast.ts';
import { restoreEstimate, type Estimate } from './schedule/estimate.ts';
import { createStage, creditPeer } from './stage.ts';
import {
  createState,
  type FailureRecord,
  type InviteRecord,
  type JobRecord,
  type Limits,
  type MemberRecord,
  type PartRecord,
  type PeerRecord,
  type RetryRecord,
  type Stage,
  type StageRecord,
  type State,
  type WeightRecord,
} from './state.ts';

/** Kinds in the order in which they can be applied: a stage needs its job, a range its stage. */
const ORDER: readonly RecordKind[] = [
  'member',
  'peer',
  'invite',
  'weight',
  'job',
  'stage',
  'finished',
  'part',
  'retry',
  'failure',
  'estimate',
  'ledger',
  'usage',
  'forecast',
  'presence',
];

export type RecoveryFault = { readonly code: 'store-newer' | 'store-corrupt'; readonly message: string };

/**
 * Builds the state from records in any order.
 * A fault names a record that this version cannot read, or one without what it belongs to.
 */
export function recover(
  records: readonly StoredRecord[],
  incarnation: number,
  limits?: Limits,
): Result<State, RecoveryFault> {
  const state = createState(incarnation, limits);
  const byKind = new Map<RecordKind, StoredRecord[]>(ORDER.map((kind) => [kind, []]));
  for (const record of records) {
    if (!isRecordKind(record.kind))
      return newer(`the store holds a record of an unknown kind "${record.kind}" (${record.id})`);
    if (record.version !== versionOf(record.kind))
      return newer(
        `record ${record.kind} ${record.id} has version ${record.version}; this release reads ${versionOf(record.kind)}`,
      );
    byKind.get(record.kind)?.push(record);
  }
  for (const kind of ORDER)
    for (const record of byKind.get(kind) ?? [])
      if (!apply(state, kind, record.value))
        return err({
          code: 'store-corrupt',
          message: `record ${kind} ${record.id} belongs to a job or stage that is not in the store`,
        });
  for (const stage of state.stages.values()) derivePending(stage);
  for (const id of state.activeJobs) lineUpJob(state, defined(state.jobs.get(id), `job ${id}`));
  return ok(state);
}

function newer(message: string): Result<never, RecoveryFault> {
  return err({ code: 'store-newer', message });
}

function apply(state: State, kind: RecordKind, value: unknown): boolean {
  switch (kind) {
    case 'member': {
      const member = value as MemberRecord;
      return set(state.members, member.id, member);
    }
    case 'peer': {
      const peer = value as PeerRecord;
      return set(state.peers, peer.id, peer);
    }
    case 'weight': {
      const weight = value as WeightRecord;
      return set(state.weights, weight.id, weight);
    }
    case 'invite': {
      const invite = value as InviteRecord;
      return set(state.invites, invite.id, invite);
    }
    case 'job':
      keepJob(state, value as JobRecord);
      return true;
    case 'estimate': {
      const estimate = value as Estimate;
      return restoreEstimate(state.estimates, estimate) && set(state.savedEstimates, estimate.id, estimate);
    }
    case 'ledger': {
      const record = value as LedgerRecord;
      return set(state.ledger, record.id, record);
    }
    case 'forecast':
      state.forecastErrors = (value as ForecastRecord).errors;
      return true;
    case 'presence': {
      const record = value as PresenceRecord;
      return set(state.presence, record.id, record);
    }
    case 'usage': {
      const record = value as UsageRecord;
      return set(state.usage, record.id, record);
    }
    case 'stage': {
      const record = value as StageRecord;
      const job = state.jobs.get(record.jobId);
      if (!job?.spec.stages.some(({ name }) => toStageId(job.id, name) === record.id)) return false;
      return set(state.stages, record.id, createStage(job, record));
    }
    default:
      return applyToStage(state, kind, value as { readonly stage: Stage['id'] });
  }
}

function applyToStage(state: State, kind: RecordKind, value: { readonly stage: Stage['id'] }): boolean {
  const stage = state.stages.get(value.stage);
  if (!stage) return false;
  if (kind === 'finished') stage.finished.add(value as FinishedRecord);
  if (kind === 'part') {
    const part = value as PartRecord;
    creditPeer(stage, part);
    set(stage.parts, part.start, part);
  }
  if (kind === 'retry') {
    set(stage.retries, (value as RetryRecord).start, value as RetryRecord);
    state.retrying.add(stage.id);
  }
  if (kind === 'failure') set(stage.failures, (value as FailureRecord).item, value as FailureRecord);
  return true;
}

function set<K, V>(map: Map<K, V>, key: K, value: V): true {
  map.set(key, value);
  return true;
}

/** What nobody has finished, failed or set aside for a retry. */
function derivePending(stage: Stage): void {
  for (const range of stage.finished) stage.pending.remove(range);
  for (const retry of stage.retries.values()) stage.pending.remove(retry);
  for (const { item } of stage.failures.values()) stage.pending.remove({ start: item, end: item + 1 });
}

/** The durable part of a state as records, in a fixed order: what a store that followed every change must hold. */
export function* durableRecords(state: State): Generator<StoredRecord> {
  for (const value of sortedValues(state.members)) yield toRecord('member', value);
  for (const value of sortedValues(state.peers)) yield toRecord('peer', value);
  for (const value of sortedValues(state.invites)) yield toRecord('invite', value);
  for (const value of sortedValues(state.weights)) yield toRecord('weight', value);
  for (const value of sortedValues(state.jobs)) yield toRecord('job', value);
  for (const value of sortedValues(state.savedEstimates)) yield toRecord('estimate', value);
  for (const value of sortedValues(state.ledger)) yield toRecord('ledger', value);
  for (const value of sortedValues(state.presence)) yield toRecord('presence', value);
  for (const value of sortedValues(state.usage)) yield toRecord('usage', value);
  if (state.forecastErrors.length > 0) yield toRecord('forecast', { id: 'errors', errors: state.forecastErrors });
  for (const stage of sortedValues(state.stages)) {
    yield toRecord('stage', stage.record);
    for (const range of stage.finished) yield toStageRecord('finished', { stage: stage.id, ...range });
    for (const value of sortedValues(stage.parts)) yield toStageRecord('part', value);
    for (const value of sortedValues(stage.retries)) yield toStageRecord('retry', value);
    for (const value of sortedValues(stage.failures)) yield toStageRecord('failure', value);
  }
}

function sortedValues<K extends string | number, V>(map: ReadonlyMap<K, V>): V[] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}
