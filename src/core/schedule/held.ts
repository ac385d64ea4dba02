// Owns what peers hold, as the scheduler sees it: how long each attempt still takes, which are late, and what was asked
// back and is on its way to another. Knows no rule of placement.

import type { Epoch, PeerId } from '../../lib/ids.ts';
import type { Attempt, Session, Stage, State } from '../state.ts';
import type { SpeedEstimate } from './estimate.ts';
import type { StageView } from './view.ts';

/** An attempt as the search for work to take back sees it. */
export type AttemptView = {
  readonly epoch: Epoch;
  readonly peer: PeerId;
  readonly stage: StageView;
  readonly start: number;
  readonly end: number;
  readonly cursor: number;
  /** It runs; the others of its peer wait behind it. */
  readonly running: boolean;
  /** Expected ms from now until it is through, what is before it not counted. */
  readonly remainingMs: number;
  /** Its tail can be given to another: no retry, no twin, not being shrunk. */
  readonly divisible: boolean;
  readonly hasTwin: boolean;
  /** It is the second attempt at a range whose first goes on. */
  readonly isBackup: boolean;
  /** Its peer is out of reach, or it is longer at work than anybody expected. */
  readonly late: boolean;
};

type SpeedOf = (stage: Stage, peer: PeerId) => SpeedEstimate | undefined;

/** Later than this many times what was expected, and at least so many ms, an attempt is late. */
const LATE = 1.5;
const LATE_MS = 500;
const LATE_STEEPNESS = 3;
/** The first protocol in which a peer can be asked for a tail. */
const SHRINK_PROTOCOL = 2;

/** By peer: ms that are on their way to it because another was asked for them, less what it was asked for itself. */
export function toPromises(state: State, speedOf: SpeedOf): ReadonlyMap<PeerId, number> {
  const promises = new Map<PeerId, number>();
  for (const epoch of state.shrinking) {
    const attempt = state.attempts.get(epoch);
    const stage = attempt && state.stages.get(attempt.stage);
    if (!attempt?.shrink || !stage) continue;
    const { peer, shrink } = attempt;
    const items = attempt.end - Math.max(attempt.start, shrink.until);
    const add = (to: PeerId, count: number) =>
      promises.set(to, (promises.get(to) ?? 0) + count * (speedOf(stage, to)?.msPerItem ?? 0));
    add(shrink.meantFor, items);
    add(peer, -items);
  }
  return promises;
}

/** How much longer, or shorter, the attempt at a peer's head takes than its items and the peer's speed say. */
export function headCorrection(state: State, session: Session, speedOf: SpeedOf, at: number): number {
  const [head] = session.attempts;
  const attempt = head === undefined ? undefined : state.attempts.get(head);
  const stage = attempt && state.stages.get(attempt.stage);
  if (!attempt || !stage) return 0;
  const msPerItem = speedOf(stage, session.peer)?.msPerItem;
  if (msPerItem === undefined) return 0;
  return remainingMs(attempt, session, msPerItem, at) - (attempt.end - attempt.cursor) * msPerItem;
}

/**
 * Expected ms that the attempt at a peer's head still takes. It goes on at the speed it has shown. One that is late is
 * expected to need as long again as it has had, as heavy-tailed waits do; from "due now" to that it goes in a straight
 * line, three times as steep.
 */
function remainingMs(attempt: Attempt, session: Session, msPerItem: number, at: number): number {
  const { start, end, cursor, cursorAt, assignedAt } = attempt;
  const startedAt = Math.max(assignedAt, session.headSince);
  const left = end - cursor;
  const shown = cursor > start ? (cursorAt - startedAt) / (cursor - start) : 0;
  const since = at - (cursor > start ? cursorAt : startedAt);
  const expected = left * Math.max(shown, msPerItem);
  return since <= expected ? expected - since : Math.min(since, LATE_STEEPNESS * (since - expected));
}

/** What a peer holds, in the order in which it runs it; canceled ones left out. */
export function* listHeld(
  state: State,
  peer: PeerId,
  viewOf: (stage: Stage) => StageView,
  at: number,
): Generator<AttemptView, undefined> {
  const session = state.sessions.get(peer);
  let isHead = true;
  for (const epoch of session?.attempts ?? []) {
    const attempt = state.attempts.get(epoch);
    const stage = attempt && state.stages.get(attempt.stage);
    if (!session || !attempt || !stage || attempt.canceled) continue;
    yield toAttemptView(state, session, attempt, viewOf(stage), { isHead, at });
    isHead = false;
  }
}

function toAttemptView(
  state: State,
  session: Session,
  attempt: Attempt,
  stage: StageView,
  { isHead, at }: { readonly isHead: boolean; readonly at: number },
): AttemptView {
  const { epoch, peer, start, end, cursor, assignedAt } = attempt;
  const known = stage.speedOf(peer)?.msPerItem;
  const msPerItem = known ?? 0;
  const elapsedMs = at - Math.max(assignedAt, session.headSince);
  const isSlow = isHead && known !== undefined && elapsedMs > LATE * (end - start) * msPerItem + LATE_MS;
  // A peer that is out of reach may not come back: what it holds is expected to wait for the end of its lease.
  const silentMs = session.connected ? 0 : state.limits.leaseMs;
  const isRetry = state.stages.get(attempt.stage)?.retrying.has(start) ?? false;
  return {
    ...{ epoch, peer, stage, start, end, cursor, running: isHead },
    remainingMs:
      session.connected && isHead
        ? remainingMs(attempt, session, msPerItem, at)
        : silentMs + (end - cursor) * msPerItem,
    divisible: !attempt.shrink && !attempt.twin && !isRetry && session.protocol >= SHRINK_PROTOCOL,
    hasTwin: attempt.twin !== undefined,
    isBackup: attempt.twin !== undefined && attempt.why === 'backup',
    late: !session.connected || isSlow,
  };
}
