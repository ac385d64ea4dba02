// Owns who gave and who took: device time by week, submitter and peer, and by job. Also what each submitter has had of
// late, by which lines are served. Speed-normalised: a second of a fast device counts for more. Knows no money.

import { toRecord } from './record.ts';
import type { JobRecord, Share, State } from './state.ts';
import type { JobId, KeyId, PeerId } from '../lib/ids.ts';
import { putOnce, remove, type Turn } from './turn.ts';

/** Durable: what a peer did for a submitter in a week. */
export type LedgerRecord = {
  readonly id: string;
  /** When the week begins: a Monday, 00:00 UTC, ms since 1970. */
  readonly week: number;
  readonly submitter: KeyId;
  readonly peer: PeerId;
  readonly deviceMs: number;
  /** In the time of a device of 1 TFLOPS. */
  readonly normalisedMs: number;
  readonly items: number;
};

/** Durable: the device time of a job's accepted results. */
export type UsageRecord = { readonly id: JobId; readonly deviceMs: number };

const DAY_MS = 86_400_000;
const WEEKS_KEPT = 53;
/** What somebody had counts half after so long: nobody pays for last month, nor waits long for a newcomer. */
const SHARE_HALF_LIFE_MS = 600_000;
/** Whatever a peer makes believe, its second counts for at most so many of a device of 1 TFLOPS, or so few. */
const MAX_FACTOR = 1_000;

export type Work = { readonly peer: PeerId; readonly deviceMs: number; readonly items: number };

/** Books device time that led to an accepted result. */
export function bookWork(turn: Turn, job: JobRecord, { peer, deviceMs, items }: Work): void {
  const { state, at } = turn;
  const normalisedMs = deviceMs * speedFactor(state, peer);
  const week = weekOf(at);
  const id = `${week}|${job.submitter}|${peer}`;
  const before = state.ledger.get(id);
  if (!before) forgetOldWeeks(turn, week);
  const record: LedgerRecord = {
    id,
    week,
    submitter: job.submitter,
    peer,
    deviceMs: (before?.deviceMs ?? 0) + deviceMs,
    normalisedMs: (before?.normalisedMs ?? 0) + normalisedMs,
    items: (before?.items ?? 0) + items,
  };
  state.ledger.set(id, record);
  putOnce(turn, toRecord('ledger', record));
  const usage: UsageRecord = { id: job.id, deviceMs: (state.usage.get(job.id)?.deviceMs ?? 0) + deviceMs };
  state.usage.set(job.id, usage);
  putOnce(turn, toRecord('usage', usage));
  state.shares.set(job.submitter, { ms: shareOf(state, job.submitter, at) + normalisedMs, at });
  state.counters.spentMs += deviceMs;
}

/** What a submitter has had of late, in normalised device ms. */
export function shareOf(state: State, submitter: KeyId, at: number): number {
  const share: Share | undefined = state.shares.get(submitter);
  return share ? share.ms * 2 ** (-Math.max(0, at - share.at) / SHARE_HALF_LIFE_MS) : 0;
}

/** What a second of this peer is worth: about its TFLOPS, first believed, then learned. */
export function speedFactor(state: State, peer: PeerId): number {
  const slowness = state.estimates.peers.get(peer)?.mean ?? state.sessions.get(peer)?.logSlowness ?? 0;
  return Math.min(MAX_FACTOR, Math.max(1 / MAX_FACTOR, Math.exp(-slowness)));
}

/** The Monday, 00:00 UTC, on which the week of a time begins. 1970-01-01 was a Thursday. */
export function weekOf(at: number): number {
  const day = Math.floor(at / DAY_MS);
  return (day - ((day + 3) % 7)) * DAY_MS;
}

function forgetOldWeeks(turn: Turn, week: number): void {
  const oldest = week - WEEKS_KEPT * 7 * DAY_MS;
  for (const record of turn.state.ledger.values()) {
    if (record.week >= oldest) continue;
    turn.state.ledger.delete(record.id);
    remove(turn, { kind: 'ledger', id: record.id });
  }
}
