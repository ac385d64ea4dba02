// Owns how a peer comes and goes: how long it was there and how often it left, by hour of the week and of late. From it
// follows how likely it stays while something long runs. Durable, and small: a few numbers an hour of the week.

import type { PeerId } from '../lib/ids.ts';
import { toRecord } from './record.ts';
import type { Session, State } from './state.ts';
import { put, type Turn } from './turn.ts';

/** Durable. */
export type PresenceRecord = {
  readonly id: PeerId;
  /** By hour of the week, Monday 00:00 UTC first: ms it was there, and how often it left. */
  readonly hours: Readonly<Record<string, { readonly onlineMs: number; readonly leaves: number }>>;
  /** The same of the last hours, fading. */
  readonly recent: { readonly onlineMs: number; readonly leaves: number; readonly at: number };
};

const HOUR_MS = 3_600_000;
const WEEK_HOURS = 168;
/** Presence is written down at most so often while nothing changes. */
const NOTE_EVERY_MS = 600_000;
/** What was long ago counts less: halved when a peer has been seen for so long in all. */
const MEMORY_MS = 60 * 24 * HOUR_MS;
/** What a peer that was never seen to leave is believed to do: leave once a day. */
const PRIOR_MS = 24 * HOUR_MS;
/** How much the week as a whole weighs against one hour of it, and that hour against what happened of late. */
const [HOUR_PRIOR_MS, RECENT_PRIOR_MS] = [2 * HOUR_MS, HOUR_MS];
const RECENT_HALF_LIFE_MS = 6 * HOUR_MS;
/** Long items on a peer that hardly ever stays so long are not priced beyond this many times their length. */
const MAX_DISCOUNT = 20;

/** Books the time since it was last booked, now and then. */
export function notePresence(turn: Turn, session: Session): void {
  if (turn.at - session.presentSince >= NOTE_EVERY_MS) book(turn, session, 0);
}

/** Books that a peer is gone. */
export function noteLeave(turn: Turn, session: Session): void {
  book(turn, session, 1);
}

function book(turn: Turn, session: Session, leaves: number): void {
  const { state, at } = turn;
  const onlineMs = Math.max(0, session.lastSeenAt - session.presentSince);
  const before = state.presence.get(session.peer) ?? emptyRecord(session.peer, at);
  const hour = String(hourOfWeek(at));
  const ofHour = before.hours[hour] ?? { onlineMs: 0, leaves: 0 };
  const hours = { ...before.hours, [hour]: { onlineMs: ofHour.onlineMs + onlineMs, leaves: ofHour.leaves + leaves } };
  const fading = fadeOf(before, at);
  const recent = {
    onlineMs: before.recent.onlineMs * fading + onlineMs,
    leaves: before.recent.leaves * fading + leaves,
    at,
  };
  const record = { id: session.peer, hours: forgetOld(hours), recent };
  state.presence.set(record.id, record);
  put(turn, toRecord('presence', record));
  state.sessions.set(session.peer, { ...session, presentSince: at });
}

function emptyRecord(id: PeerId, at: number): PresenceRecord {
  return { id, hours: {}, recent: { onlineMs: 0, leaves: 0, at } };
}

function fadeOf({ recent }: PresenceRecord, at: number): number {
  return 2 ** (-Math.max(0, at - recent.at) / RECENT_HALF_LIFE_MS);
}

function forgetOld(hours: PresenceRecord['hours']): PresenceRecord['hours'] {
  if (total(hours).onlineMs <= MEMORY_MS) return hours;
  const halved = Object.entries(hours).map(([hour, { onlineMs, leaves }]) => [
    hour,
    { onlineMs: onlineMs / 2, leaves: leaves / 2 },
  ]);
  return Object.fromEntries(halved) as PresenceRecord['hours'];
}

function total(hours: PresenceRecord['hours']): { onlineMs: number; leaves: number } {
  let [onlineMs, leaves] = [0, 0];
  for (const hour of Object.values(hours)) {
    onlineMs += hour.onlineMs;
    leaves += hour.leaves;
  }
  return { onlineMs, leaves };
}

/** 1970-01-01 was a Thursday. */
function hourOfWeek(at: number): number {
  return (Math.floor(at / HOUR_MS) + 3 * 24) % WEEK_HOURS;
}

/** Expected departures per ms of a peer at this hour of the week, recent ones counted most. */
export function departureRate(state: State, peer: PeerId, at: number): number {
  const record = state.presence.get(peer);
  if (!record) return 1 / PRIOR_MS;
  const all = total(record.hours);
  const ofWeek = (all.leaves + 1) / (all.onlineMs + PRIOR_MS);
  const hour = record.hours[String(hourOfWeek(at))] ?? { onlineMs: 0, leaves: 0 };
  const ofHour = (hour.leaves + ofWeek * HOUR_PRIOR_MS) / (hour.onlineMs + HOUR_PRIOR_MS);
  const fading = fadeOf(record, at);
  const { onlineMs, leaves } = record.recent;
  return (leaves * fading + ofHour * RECENT_PRIOR_MS) / (onlineMs * fading + RECENT_PRIOR_MS);
}

/**
 * Expected ms until an indivisible item is through on a peer that leaves at random and then has to begin it anew:
 * (e^(rate t) - 1) / rate, the expected completion time under restarts (Duda 1983).
 */
export function withDepartures(itemMs: number, ratePerMs: number): number {
  const exposure = itemMs * ratePerMs;
  if (exposure < 1e-6) return itemMs;
  return itemMs * Math.min(MAX_DISCOUNT, Math.expm1(exposure) / exposure);
}
