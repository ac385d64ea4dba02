// Owns placement: a pure function from a view to assignments. The rule: earliest expected completion of the stage over
// learned speeds. Peers get ranges sized to their speed, smaller near the end (weighted factoring, Flynn Hummel et al.
// 1996), and a slow peer gets nothing that others would finish sooner. Commits nothing; somebody else does.

import type { PeerId, StageId } from '../../lib/ids.ts';
import type { PeerView, StageView, View } from './view.ts';

/** `tasks` tasks of up to `itemsPerTask` items each; or one retry, named by the start of its range. */
export type Assignment = {
  readonly peer: PeerId;
  readonly stage: StageId;
  readonly itemsPerTask: number;
  readonly tasks: number;
  readonly retry?: number;
};

/** Why a peer gets nothing of a stage now. */
export type Obstacle =
  | { readonly kind: 'drained' }
  | { readonly kind: 'memory'; readonly neededBytes: number; readonly presentBytes: number }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'no-free-slot' }
  /** It has enough to do already. */
  | { readonly kind: 'busy'; readonly queuedMs: number }
  /** Its speed is being measured with a first task. */
  | { readonly kind: 'measuring' }
  /** Others finish the rest before it would. */
  | { readonly kind: 'others-finish-sooner' };

/** The first task on a peer is small: its speed is not known yet. */
const PROBE_ITEMS = 32;
/** With a fixed task size, so many tasks before the speed is known. */
const PROBE_TASKS = 8;
/** Shorter tasks than this cost more in set-up and messages than they win in balance. */
const MIN_TASK_MS = 250;
/** Weighted factoring hands out half of what is left in each round. */
const FACTORING = 2;

/** A peer while a plan is made: what it is promised so far is counted in. */
type Candidate = { readonly peer: PeerView; freeSlots: number; queuedMs: number; held: number };

export function plan(view: View): Assignment[] {
  const candidates = view.peers.map(toCandidate);
  return view.stages.flatMap((stage) => [...planRetries(stage, candidates), ...planPending(view, stage, candidates)]);
}

function toCandidate(peer: PeerView): Candidate {
  return { peer, freeSlots: peer.freeSlots, queuedMs: peer.queuedMs, held: peer.heldAttempts };
}

/** Why this peer cannot run the stage at all, however long it waits. */
export function checkFeasible(stage: StageView, peer: PeerView): Obstacle | undefined {
  if (peer.drained) return { kind: 'drained' };
  if (stage.memoryBytes > peer.memoryBytes)
    return { kind: 'memory', neededBytes: stage.memoryBytes, presentBytes: peer.memoryBytes };
  const reason = stage.refusals.get(peer.id);
  return reason === undefined ? undefined : { kind: 'refused', reason };
}

/** Each due retry goes to the peer that is through with it first; to the one where it failed only if no other can. */
function planRetries(stage: StageView, candidates: readonly Candidate[]): Assignment[] {
  const assignments: Assignment[] = [];
  for (const retry of stage.dueRetries) {
    const able = candidates.filter(({ peer, freeSlots }) => freeSlots > 0 && !checkFeasible(stage, peer));
    const others = able.filter(({ peer }) => peer.id !== retry.peer);
    const best = earliest(stage, others.length > 0 ? others : able, retry.end - retry.start);
    if (!best) continue;
    promise(best, expectedMs(stage, best.peer) * (retry.end - retry.start), 1);
    assignments.push({
      peer: best.peer.id,
      stage: stage.id,
      itemsPerTask: retry.end - retry.start,
      tasks: 1,
      retry: retry.start,
    });
  }
  return assignments;
}

function planPending(view: View, stage: StageView, candidates: readonly Candidate[]): Assignment[] {
  const able = candidates.filter(({ peer }) => !checkFeasible(stage, peer));
  const assignments: Assignment[] = [];
  let pending = stage.pendingItems;
  const give = (candidate: Candidate, share: Share): void => {
    assignments.push({ peer: candidate.peer.id, stage: stage.id, ...share });
    const items = Math.min(pending, share.itemsPerTask * share.tasks);
    promise(candidate, items * (stage.msPerItem(candidate.peer.id) ?? 0), share.tasks);
    pending -= items;
  };
  // The peer that is free first chooses first. What one takes changes what the others should: ask again until nobody
  // takes anything, so that the plan is complete (INV-7).
  for (let moved = true; moved && pending > 0;) {
    moved = false;
    for (const candidate of able.toSorted(byQueue)) {
      const choice = pending > 0 ? chooseShare(view, stage, able, candidate, pending) : undefined;
      if (!choice || !isShare(choice)) continue;
      give(candidate, choice);
      moved = true;
    }
  }
  return assignments;
}

type Share = { readonly itemsPerTask: number; readonly tasks: number };

function isShare(choice: Share | Obstacle): choice is Share {
  return 'tasks' in choice;
}

/** What `candidate` should get of the pending items now, or why nothing. The one rule that plan and explain share. */
function chooseShare(
  view: View,
  stage: StageView,
  able: readonly Candidate[],
  candidate: Candidate,
  pending: number,
): Share | Obstacle {
  if (candidate.freeSlots <= 0) return { kind: 'no-free-slot' };
  const msPerItem = stage.msPerItem(candidate.peer.id);
  if (msPerItem === undefined) return probe(stage, able, candidate, pending);
  if (candidate.queuedMs >= view.targetTaskMs) return { kind: 'busy', queuedMs: candidate.queuedMs };
  const fair = fairItems(stage, able, candidate, pending);
  if (fair < 0.5 && earliest(stage, able, 1) !== candidate) return { kind: 'others-finish-sooner' };
  const wanted = Math.min(view.targetTaskMs / msPerItem, Math.max(fair / FACTORING, MIN_TASK_MS / msPerItem));
  const items = Math.max(1, Math.min(pending, Math.round(wanted)));
  if (stage.taskItems === undefined) return { itemsPerTask: items, tasks: 1 };
  const tasks = Math.min(candidate.freeSlots, Math.max(1, Math.floor(items / stage.taskItems)));
  return { itemsPerTask: stage.taskItems, tasks };
}

/** A peer whose speed is unknown gets one small task, and no more until that is back. */
function probe(stage: StageView, able: readonly Candidate[], candidate: Candidate, pending: number): Share | Obstacle {
  if (candidate.held > 0) return { kind: 'measuring' };
  if (stage.taskItems !== undefined)
    return {
      itemsPerTask: stage.taskItems,
      tasks: Math.min(PROBE_TASKS, candidate.freeSlots, Math.ceil(pending / stage.taskItems)),
    };
  const share = Math.ceil(pending / (FACTORING * able.length));
  return { itemsPerTask: Math.max(1, Math.min(PROBE_ITEMS, share)), tasks: 1 };
}

/** Items the candidate would do until the moment when all, each at its speed, are through together. */
function fairItems(stage: StageView, able: readonly Candidate[], candidate: Candidate, pending: number): number {
  let [speedSum, backlogItems] = [0, pending];
  for (const { peer, queuedMs } of able) {
    const itemsPerMs = 1 / expectedMs(stage, peer);
    speedSum += itemsPerMs;
    backlogItems += queuedMs * itemsPerMs;
  }
  const finishMs = backlogItems / speedSum;
  return (finishMs - candidate.queuedMs) / expectedMs(stage, candidate.peer);
}

function expectedMs(stage: StageView, peer: PeerView): number {
  return stage.msPerItem(peer.id) ?? stage.typicalMsPerItem ?? 1;
}

/** The candidate that would be through with `items` more items first; ties go to the lower id. */
function earliest(stage: StageView, candidates: readonly Candidate[], items: number): Candidate | undefined {
  let best: { candidate: Candidate; doneMs: number } | undefined;
  for (const candidate of candidates) {
    const doneMs = candidate.queuedMs + expectedMs(stage, candidate.peer) * items;
    if (!best || doneMs < best.doneMs) best = { candidate, doneMs };
  }
  return best?.candidate;
}

function promise(candidate: Candidate, ms: number, tasks: number): void {
  candidate.queuedMs += ms;
  candidate.freeSlots -= tasks;
  candidate.held += tasks;
}

function byQueue(a: Candidate, b: Candidate): number {
  return a.queuedMs - b.queuedMs || (a.peer.id < b.peer.id ? -1 : 1);
}

/** Why a peer gets nothing of a stage that has something to hand out; undefined when it would get something. */
export function obstacleFor(view: View, stage: StageView, peer: PeerView): Obstacle | undefined {
  const infeasible = checkFeasible(stage, peer);
  if (infeasible) return infeasible;
  const able = view.peers.filter((other) => !checkFeasible(stage, other)).map(toCandidate);
  const candidate = able.find((other) => other.peer.id === peer.id) ?? toCandidate(peer);
  if (candidate.freeSlots <= 0) return { kind: 'no-free-slot' };
  if (stage.dueRetries.length > 0 || stage.pendingItems === 0) return undefined;
  const choice = chooseShare(view, stage, able, candidate, stage.pendingItems);
  return isShare(choice) ? undefined : choice;
}
