// Owns attempts: their start and end, adoption, loss, shrinking, and twins. An attempt's epoch is its name and its
// fence: a report whose epoch is not in the state changes nothing (INV-3). Attempts are not durable.

import { defined } from '../lib/assert.ts';
import { toEpoch, type Epoch, type PeerId, type StageId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import type { Verdict } from '../protocol/to-agent.ts';
import type { HeldAttempt } from '../protocol/to-coordinator.ts';
import { addPending, removePending } from './line.ts';
import { returnRange } from './stage.ts';
import type { Attempt, Session, Stage, State } from './state.ts';
import type { AttemptEnd, StartReason, TraceEntry } from './trace.ts';
import { send, trace, type Turn } from './turn.ts';

export type Start = Range & { readonly tries: number; readonly why: StartReason; readonly expectedMs?: number };

/** Puts a range into a peer's hands under a new epoch. */
export function startAttempt(turn: Turn, stage: Stage, peer: PeerId, from: Start): Attempt {
  const { state, at } = turn;
  const { start, end, tries, why, expectedMs } = from;
  const epoch = toEpoch(state.incarnation, ++state.attemptCounter);
  const attempt: Attempt = {
    epoch,
    stage: stage.id,
    peer,
    start,
    end,
    tries,
    why,
    assignedAt: at,
    cursor: start,
    cursorAt: at,
    canceled: false,
  };
  state.attempts.set(epoch, attempt);
  stage.running.add(epoch);
  const session = defined(state.sessions.get(peer), `session of ${peer}`);
  if (session.attempts.size === 0 && session.headSince !== at) state.sessions.set(peer, { ...session, headSince: at });
  session.attempts.add(epoch);
  charge(session, stage.id, end - start);
  const started = { kind: 'started' as const, at, epoch, stage: stage.id, peer, start, end, why };
  trace(turn, expectedMs === undefined ? started : { ...started, expectedMs });
  return attempt;
}

/** Adds items to what a peer still has to do; fewer than none is none. */
function charge(session: Session, stage: StageId, items: number): void {
  const left = (session.load.get(stage) ?? 0) + items;
  if (left > 0) session.load.set(stage, left);
  else session.load.delete(stage);
}

export type EndDetail = Pick<Extract<TraceEntry, { kind: 'ended' }>, 'durationMs' | 'sizeBytes' | 'reason'>;

/** Forgets an attempt; from here on its epoch is stale. */
export function endAttempt(turn: Turn, attempt: Attempt, how: AttemptEnd, detail?: EndDetail): void {
  const { state, at } = turn;
  trace(turn, { kind: 'ended', at, epoch: attempt.epoch, how, ...detail });
  state.attempts.delete(attempt.epoch);
  state.shrinking.delete(attempt.epoch);
  state.stages.get(attempt.stage)?.running.delete(attempt.epoch);
  const session = state.sessions.get(attempt.peer);
  if (!session) return;
  const [head] = session.attempts;
  // What ran for nothing took device time all the same; of what is lost nobody knows for how long it ran.
  if (head === attempt.epoch && how !== 'accepted' && how !== 'lost')
    state.counters.spentMs += at - Math.max(attempt.assignedAt, session.headSince);
  session.attempts.delete(attempt.epoch);
  charge(session, attempt.stage, attempt.cursor - attempt.end);
  if (head === attempt.epoch && session.headSince !== at)
    state.sessions.set(session.peer, { ...session, headSince: at });
}

/** Gives back the range of an attempt that ended without a result, unless its twin goes on with it or it is done. */
export function giveBack(state: State, attempt: Attempt): void {
  const stage = state.stages.get(attempt.stage);
  if (!stage || attempt.spare || stage.finished.overlaps(attempt)) return;
  const twin = twinOf(state, attempt);
  if (twin) setAttempt(state, withoutTwin(twin));
  else returnRange(stage, attempt);
}

/** The other attempt at the same range, for as long as its peer may hold it. */
export function twinOf(state: State, attempt: Attempt): Attempt | undefined {
  return attempt.twin === undefined ? undefined : state.attempts.get(attempt.twin);
}

/** Marks two attempts as twins: the first valid result wins. */
export function pairTwins(state: State, a: Attempt, b: Attempt): void {
  setAttempt(state, { ...a, twin: b.epoch });
  setAttempt(state, { ...b, twin: a.epoch });
}

/** Stops one of two twins; the other goes on alone. */
export function stopSpare(turn: Turn, attempt: Attempt): void {
  const twin = twinOf(turn.state, attempt);
  if (!twin) return;
  setAttempt(turn.state, withoutTwin(twin));
  stopAttempt(turn, { ...withoutTwin(attempt), spare: true });
}

function withoutTwin(attempt: Attempt): Attempt {
  const { twin: _, ...alone } = attempt;
  return alone;
}

export function setAttempt(state: State, attempt: Attempt): void {
  state.attempts.set(attempt.epoch, attempt);
}

/** Gives up an attempt whose peer no longer holds it; the range is handed out again. Ignores epochs of other peers. */
export function loseAttempt(turn: Turn, epoch: Epoch, peer?: PeerId): void {
  const attempt = turn.state.attempts.get(epoch);
  if (!attempt || (peer !== undefined && attempt.peer !== peer)) return;
  endAttempt(turn, attempt, 'lost');
  turn.state.counters.lost++;
  giveBack(turn.state, attempt);
}

/** Whether the tail of an attempt can be given to another: a retry is a record of its own, a twin runs the same range. */
export function isDivisible(state: State, attempt: Attempt): boolean {
  const stage = state.stages.get(attempt.stage);
  return stage !== undefined && !stage.retrying.has(attempt.start) && !twinOf(state, attempt) && !attempt.canceled;
}

/** Asks a peer for the tail of an attempt: nothing is given away before it answers. */
export function askToShrink(turn: Turn, attempt: Attempt, until: number, meantFor: PeerId): void {
  const { state, at } = turn;
  setAttempt(state, { ...attempt, shrink: { until, at, meantFor } });
  state.shrinking.add(attempt.epoch);
  send(turn, attempt.peer, { type: 'shrink', tasks: [{ epoch: attempt.epoch, until }] });
}

/** Takes the boundary a peer keeps to; what lies behind it waits for others. `end` within the range gives nothing back twice. */
export function shrinkAttempt(turn: Turn, attempt: Attempt, end: number): Attempt {
  const { state } = turn;
  const { shrink: _, ...kept } = attempt;
  state.shrinking.delete(attempt.epoch);
  const isShorter = end > attempt.start && end < attempt.end && isDivisible(state, attempt);
  const shrunk = isShorter ? { ...kept, end, cursor: Math.min(attempt.cursor, end) } : kept;
  setAttempt(state, shrunk);
  if (!isShorter) return shrunk;
  trace(turn, { kind: 'shrunk', at: turn.at, epoch: attempt.epoch, end });
  state.counters.stolen += attempt.end - end;
  const stage = state.stages.get(attempt.stage);
  if (stage) addPending(stage, { start: end, end: attempt.end });
  const session = state.sessions.get(attempt.peer);
  if (session) charge(session, attempt.stage, shrunk.end - shrunk.cursor - (attempt.end - attempt.cursor));
  return shrunk;
}

/** Takes over work that a peer holds under an epoch of the past, if nobody else has its range; otherwise fences it. */
export function adoptAttempt(turn: Turn, peer: PeerId, held: HeldAttempt): Verdict {
  const { state } = turn;
  const stage = state.stages.get(held.stage);
  const job = stage && state.jobs.get(stage.jobId);
  const isOpen = job?.status.kind === 'running' || job?.status.kind === 'paused';
  const adoptable = stage?.record.status.kind === 'running' && isOpen && held.start < held.end;
  const hasSlot = (session: Session): boolean => session.attempts.size < session.backlog;
  const tries =
    adoptable && hasSlot(defined(state.sessions.get(peer), `session of ${peer}`)) ? claimRange(stage, held) : undefined;
  if (!stage || tries === undefined) {
    state.counters.fenced++;
    return { kind: 'drop', epoch: held.epoch };
  }
  state.counters.adopted++;
  const { start, end } = held;
  const attempt = startAttempt(turn, stage, peer, { start, end, tries, why: 'adopted' });
  return { kind: 'adopt', epoch: held.epoch, newEpoch: attempt.epoch };
}

/** Takes exactly this range out of what waits; the tries it has behind it, or undefined when it is not to be had. */
function claimRange(stage: Stage, range: Range): number | undefined {
  const retry = stage.retries.get(range.start);
  if (retry?.end === range.end && !stage.retrying.has(range.start)) {
    stage.retrying.add(range.start);
    return retry.tries;
  }
  if (!stage.pending.covers(range)) return undefined;
  removePending(stage, range);
  return 0;
}

/** Asks every peer to stop its attempts of a stage (INV-8). They stay in sight until reported stopped or lost. */
export function stopAttempts(turn: Turn, stageId: StageId): void {
  const stage = defined(turn.state.stages.get(stageId), `stage ${stageId}`);
  const byPeer = new Map<PeerId, Epoch[]>();
  for (const epoch of stage.running) {
    const attempt = defined(turn.state.attempts.get(epoch), `attempt ${epoch}`);
    if (attempt.canceled) continue;
    setAttempt(turn.state, { ...attempt, canceled: true });
    byPeer.set(attempt.peer, [...(byPeer.get(attempt.peer) ?? []), epoch]);
  }
  for (const [peer, epochs] of byPeer) send(turn, peer, { type: 'cancel', epochs });
}

/** Asks a peer to stop an attempt whose outcome no longer counts. */
export function stopAttempt(turn: Turn, attempt: Attempt): void {
  setAttempt(turn.state, { ...attempt, canceled: true });
  send(turn, attempt.peer, { type: 'cancel', epochs: [attempt.epoch] });
}
