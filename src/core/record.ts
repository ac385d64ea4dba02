// Owns how the state's durable records are named and versioned in the store. Knows no store.

import type { Range } from '../lib/range-set.ts';
import type { StageId } from '../lib/ids.ts';
import type { StoredRecord } from './change.ts';
import type { LedgerRecord, UsageRecord } from './ledger.ts';
import type { PresenceRecord } from './presence.ts';
import type { ForecastRecord } from './schedule/forecast.ts';
import type { Estimate } from './schedule/estimate.ts';
import type {
  FailureRecord,
  InviteRecord,
  JobRecord,
  MemberRecord,
  PartRecord,
  PeerRecord,
  RetryRecord,
  StageRecord,
  WeightRecord,
} from './state.ts';

/** A durable run of accepted items. Ranges that touch are merged, so a stage in order is one record. */
export type FinishedRecord = Range & { readonly stage: StageId };

type Records = {
  readonly member: MemberRecord;
  readonly peer: PeerRecord;
  readonly invite: InviteRecord;
  readonly weight: WeightRecord;
  readonly job: JobRecord;
  readonly stage: StageRecord;
  readonly finished: FinishedRecord;
  readonly part: PartRecord;
  readonly retry: RetryRecord;
  readonly failure: FailureRecord;
  readonly estimate: Estimate;
  readonly ledger: LedgerRecord;
  readonly usage: UsageRecord;
  readonly forecast: ForecastRecord;
  readonly presence: PresenceRecord;
};

export type RecordKind = keyof Records;

/** The schema version of each kind: a change of shape raises it and adds a case to recovery. */
const VERSIONS: Readonly<Record<RecordKind, number>> = {
  member: 1,
  peer: 1,
  invite: 1,
  weight: 1,
  job: 1,
  stage: 1,
  finished: 1,
  part: 1,
  retry: 1,
  failure: 1,
  estimate: 1,
  ledger: 1,
  usage: 1,
  forecast: 1,
  presence: 1,
};

export function isRecordKind(kind: string): kind is RecordKind {
  return Object.hasOwn(VERSIONS, kind);
}

export function versionOf(kind: RecordKind): number {
  return VERSIONS[kind];
}

type StagePlaceKind = 'finished' | 'part' | 'retry' | 'failure';

/** The store's form of a record that has an id of its own. */
export function toRecord<K extends Exclude<RecordKind, StagePlaceKind>>(kind: K, value: Records[K]): StoredRecord {
  return { kind, id: value.id, version: VERSIONS[kind], value };
}

/** The store's form of a record that belongs to a place in a stage. */
export function toStageRecord<K extends 'finished' | 'part' | 'retry' | 'failure'>(
  kind: K,
  value: Records[K],
): StoredRecord {
  const at = 'item' in value ? value.item : value.start;
  return { kind, id: placeInStage(value.stage, at), version: VERSIONS[kind], value };
}

export function stageKey(
  kind: 'finished' | 'part' | 'retry' | 'failure',
  stage: StageId,
  at: number,
): { kind: string; id: string } {
  return { kind, id: placeInStage(stage, at) };
}

function placeInStage(stage: StageId, at: number): string {
  return `${stage}@${at}`;
}
