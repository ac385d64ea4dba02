// Owns quarantine: a peer that fails everything that others can do gets nothing for a while, with a reason that is
// shown. It comes back by itself, or by hand. Not durable: a restart gives everybody another chance.

import type { PeerId } from '../lib/ids.ts';
import type { State } from './state.ts';

export type PeerHealth = {
  /** Without a success between them. */
  readonly failuresInRow: number;
  /** How often it was quarantined without doing well since. */
  readonly quarantines: number;
  readonly quarantine?: { readonly until: number; readonly reason: string };
};

const FAILURES_BEFORE_QUARANTINE = 5;
const FIRST_QUARANTINE_MS = 60_000;
const MAX_QUARANTINE_MS = 3_600_000;

/** Notes that another peer could do what failed here. */
export function noteFailure(state: State, peer: PeerId, reason: string, at: number): void {
  // What it still held when it was sent away tells nothing new.
  if (quarantineOf(state, peer, at)) return;
  const before = state.health.get(peer) ?? { failuresInRow: 0, quarantines: 0 };
  const failuresInRow = before.failuresInRow + 1;
  if (failuresInRow < FAILURES_BEFORE_QUARANTINE) {
    state.health.set(peer, { ...before, failuresInRow });
    return;
  }
  const durationMs = Math.min(MAX_QUARANTINE_MS, FIRST_QUARANTINE_MS * 2 ** before.quarantines);
  const why = `${failuresInRow} tasks in a row failed here that others can do; the last: ${reason}`.slice(0, 500);
  // One more failure after it comes back is enough to send it away again.
  state.health.set(peer, {
    failuresInRow: FAILURES_BEFORE_QUARANTINE - 1,
    quarantines: before.quarantines + 1,
    quarantine: { until: at + durationMs, reason: why },
  });
}

/** A success clears the record. */
export function noteSuccess(state: State, peer: PeerId): void {
  state.health.delete(peer);
}

/** The quarantine that holds now, if any. */
export function quarantineOf(state: State, peer: PeerId, at: number): PeerHealth['quarantine'] {
  const quarantine = state.health.get(peer)?.quarantine;
  return quarantine && quarantine.until > at ? quarantine : undefined;
}
