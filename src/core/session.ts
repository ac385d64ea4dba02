// Owns what a live link tells: that the peer is there, and how far its attempts have come.

import type { Epoch, PeerId } from '../lib/ids.ts';
import type { Session } from './state.ts';
import type { Turn } from './turn.ts';

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
  const attempt = turn.state.attempts.get(epoch);
  if (attempt?.peer !== peer) return;
  const moved = Math.min(Math.max(cursor, attempt.cursor), attempt.end);
  const load = turn.state.sessions.get(peer)?.load;
  load?.set(attempt.stage, (load.get(attempt.stage) ?? 0) - (moved - attempt.cursor));
  turn.state.attempts.set(epoch, { ...attempt, cursor: moved });
}
