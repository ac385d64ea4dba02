// Owns attempts: their start and end, adoption and loss. An attempt's epoch is its name and its fence: a report whose
// epoch is not in the state changes nothing (INV-3). Attempts are not durable.

import { defined } from '../lib/assert.ts';
import { toEpoch, type Epoch, type PeerId, type StageId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import type { Verdict } from '../protocol/to-agent.ts';
import type { HeldAttempt } from '../protocol/to-coordinator.ts';
import { estimateMsPerItem } from './schedule/estimate.ts';
import { returnRange } from './stage.ts';
import type { Attempt, Session, Stage } from './state.ts';
import type { AttemptEnd, StartReason, TraceEntry } from './trace.ts';
import { send, trace, type Turn } from './turn.ts';

/** Puts a range into a peer's hands under a new epoch. */
export function startAttempt(
  turn: Turn,
  stage: Stage,
  peer: PeerId,
  { start, end, tries }: Range & { readonly tries: number },
  why: StartReason,
): Attempt {
  const { state, at } = turn;
  const epoch = toEpoch(state.incarnation, ++state.attemptCounter);
  const attempt = { epoch, stage: stage.id, peer, start, end, tries, assignedAt: at, cursor: start, canceled: false };
  state.attempts.set(epoch, attempt);
  const msPerItem = estimateMsPerItem(state.speeds, stage.spec, peer);
  const expected = msPerItem === undefined ? undefined : { expectedMs: msPerItem * (end - start) };
  trace(turn, { kind: 'started', at, epoch, stage: stage.id, peer, start, end, why, ...expected });
  stage.running.add(epoch);
  const session = defined(state.sessions.get(peer), `session of ${peer}`);
  session.attempts.add(epoch);
  session.load.set(stage.id, (session.load.get(stage.id) ?? 0) + (end - start));
  return attempt;
}

export type EndDetail = Pick<Extract<TraceEntry, { kind: 'ended' }>, 'durationMs' | 'sizeBytes' | 'reason'>;

/** Forgets an attempt; from here on its epoch is stale. */
export function endAttempt(turn: Turn, attempt: Attempt, how: AttemptEnd, detail?: EndDetail): void {
  const { state, at } = turn;
  trace(turn, { kind: 'ended', at, epoch: attempt.epoch, how, ...detail });
  state.attempts.delete(attempt.epoch);
  state.stages.get(attempt.stage)?.running.delete(attempt.epoch);
  const session = state.sessions.get(attempt.peer);
  if (!session) return;
  session.attempts.delete(attempt.epoch);
  const left = (session.load.get(attempt.stage) ?? 0) - (attempt.end - attempt.cursor);
  if (left > 0) session.load.set(attempt.stage, left);
  else session.load.delete(attempt.stage);
}

/** Gives up an attempt whose peer no longer holds it; the range is handed out again. Ignores epochs of other peers. */
export function loseAttempt(turn: Turn, epoch: Epoch, peer?: PeerId): void {
  const attempt = turn.state.attempts.get(epoch);
  if (!attempt || (peer !== undefined && attempt.peer !== peer)) return;
  endAttempt(turn, attempt, 'lost');
  turn.state.counters.lost++;
  const stage = turn.state.stages.get(attempt.stage);
  if (stage) returnRange(stage, attempt);
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
  const attempt = startAttempt(turn, stage, peer, { start: held.start, end: held.end, tries }, 'adopted');
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
  stage.pending.remove(range);
  return 0;
}

/** Asks every peer to stop its attempts of a stage (INV-8). They stay in sight until reported stopped or lost. */
export function stopAttempts(turn: Turn, stageId: StageId): void {
  const stage = defined(turn.state.stages.get(stageId), `stage ${stageId}`);
  const byPeer = new Map<PeerId, Epoch[]>();
  for (const epoch of stage.running) {
    const attempt = defined(turn.state.attempts.get(epoch), `attempt ${epoch}`);
    turn.state.attempts.set(epoch, { ...attempt, canceled: true });
    byPeer.set(attempt.peer, [...(byPeer.get(attempt.peer) ?? []), epoch]);
  }
  for (const [peer, epochs] of byPeer) send(turn, peer, { type: 'cancel', epochs });
}
