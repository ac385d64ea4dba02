// Owns what a live link tells: that the peer is there, how far its attempts have come, what it measured, and what it
// gives back.

import type { Epoch, PeerId } from '../lib/ids.ts';
import { isDivisible, setAttempt, shrinkAttempt } from './attempt.ts';
import type { Session } from './state.ts';
import type { Turn } from './turn.ts';

/** A runner that was used so lately is still warm. */
const WARM_MS = 120_000;
/** More classes of work than a peer keeps warm runners for. */
const MAX_WARM = 16;

/** Renews the lease of the peer behind a link; undefined when the link is not its present one. */
export function touchSession(turn: Turn, peer: PeerId, link: number): Session | undefined {
  const session = turn.state.sessions.get(peer);
  if (session?.link !== link) return undefined;
  const touched = { ...session, lastSeenAt: turn.at };
  turn.state.sessions.set(peer, touched);
  return touched;
}

/** Notes how far an attempt has come; a cursor never goes back. */
export function moveCursor(turn: Turn, peer: PeerId, epoch: Epoch, cursor: number): void {
  const { state, at } = turn;
  const attempt = state.attempts.get(epoch);
  if (attempt?.peer !== peer) return;
  const moved = Math.min(Math.max(cursor, attempt.cursor), attempt.end);
  if (moved === attempt.cursor) return;
  const load = state.sessions.get(peer)?.load;
  load?.set(attempt.stage, (load.get(attempt.stage) ?? 0) - (moved - attempt.cursor));
  setAttempt(state, { ...attempt, cursor: moved, cursorAt: at });
}

/** Takes the boundaries that a peer keeps to. Only what was asked for is taken: a peer does not shrink as it likes. */
export function takeBoundary(turn: Turn, peer: PeerId, epoch: Epoch, end: number): void {
  const attempt = turn.state.attempts.get(epoch);
  if (attempt?.peer === peer && attempt.shrink) shrinkAttempt(turn, attempt, end);
}

/** What a hello says of an attempt that is known: it may have been shrunk while the link was down. False: drop it. */
export function keepAttempt(turn: Turn, epoch: Epoch, end: number): boolean {
  const attempt = turn.state.attempts.get(epoch);
  if (!attempt || attempt.canceled) return false;
  if (end === attempt.end) {
    if (attempt.shrink) shrinkAttempt(turn, attempt, end);
    return true;
  }
  if (end > attempt.end || end <= attempt.start || !isDivisible(turn.state, attempt)) return false;
  shrinkAttempt(turn, attempt, end);
  return true;
}

/** Notes that a class of work was just run, so that its runner is warm. */
export function noteWarm(session: Session, workClass: string, at: number): void {
  session.warm.set(workClass, at);
  if (session.warm.size <= MAX_WARM) return;
  const [oldest] = [...session.warm].toSorted(([, a], [, b]) => a - b);
  if (oldest) session.warm.delete(oldest[0]);
}

export function isWarm(session: Session, workClass: string, at: number): boolean {
  const usedAt = session.warm.get(workClass);
  return usedAt !== undefined && at - usedAt <= WARM_MS;
}
