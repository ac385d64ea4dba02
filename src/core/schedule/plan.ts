// Owns placement: a pure function from a view to assignments. Lines of submitters are served by weighted fair sharing;
// within a line stages go by priority, deadline, age and the work behind them, and of equally urgent ones a peer does
// what it is best at. How much it gets is share.ts's to say. Commits nothing; somebody else does.

import type { KeyId, PeerId } from '../../lib/ids.ts';
import type { RetryRecord } from '../state.ts';
import {
  earliest,
  expectedMs,
  finishMs,
  firstSetupMs,
  giveFrom,
  isFree,
  promise,
  toCandidate,
  toDraft,
  toOpenStage,
  type Candidate,
  type Draft,
  type OpenStage,
} from './draft.ts';
import { checkFeasible } from './feasible.ts';
import type { Guide } from './guide.ts';
import { chooseShare, isShare, type Obstacle, type Share } from './share.ts';
import type { LineView, PeerView, StageView, View } from './view.ts';

/** Stages of a line that are as important as the first and looked at for the one that suits the peer best. */
const MAX_CHOICES = 8;

/** A line while a plan is made. */
type Queue = {
  readonly line: LineView;
  servedMs: number;
  readonly open: OpenStage[];
  readonly rest: Iterator<StageView>;
};

/** The guide, where there is one, says which of several kinds of work a peer should rather do. */
export function plan(view: View, guide?: Guide): Draft {
  const draft = { ...toDraft(view), guide };
  if (view.lines.length === 0 || !draft.candidates.some(isFree)) return draft;
  const queues = view.lines.map(toQueue);
  for (const queue of queues) planRetries(draft, queue);
  // The peer that is free first chooses first. What one takes changes what the others should: ask again until nobody
  // takes anything, so that the plan is complete (INV-7).
  for (let moved = true; moved;) {
    moved = false;
    for (const candidate of draft.candidates.filter((other) => hasRoom(draft, other)).sort(byQueue))
      if (serve(draft, queues, candidate)) moved = true;
  }
  return draft;
}

/** Whether anything could be given to it at all: not to one that has enough to do. */
function hasRoom({ view }: Draft, candidate: Candidate): boolean {
  const { held, queuedMs } = candidate;
  return isFree(candidate) && (held === 0 || queuedMs < view.limits.targetTaskMs);
}

function toQueue(line: LineView): Queue {
  return { line, servedMs: line.servedMs, open: [], rest: line.stages[Symbol.iterator]() };
}

/** Gives a peer one share of the line whose turn it is; false when no line has anything for it. */
function serve(draft: Draft, queues: readonly Queue[], candidate: Candidate): boolean {
  for (const queue of inTurn(queues, candidate.peer.owner)) {
    const found = findStage(draft, queue, candidate);
    if (!found) continue;
    const { open, share } = found;
    const items = Math.min(open.pending, share.itemsPerTask * share.tasks);
    draft.assignments.push({ peer: candidate.peer.id, stage: open.stage.id, ...share });
    const ms = items * expectedMs(open.stage, candidate.peer) + firstSetupMs(open.stage, candidate);
    giveFrom(draft, open, candidate, { ms, items, tasks: share.tasks });
    open.pending -= items;
    open.stage.peersAtWork.add(candidate.peer.id);
    candidate.heldClasses.add(open.stage.workClass);
    queue.servedMs += ms * candidate.peer.factor;
    return true;
  }
  return false;
}

/** The owner's own jobs come first on their own machine; otherwise who has had least for its weight. */
function inTurn(queues: readonly Queue[], owner: KeyId | undefined): Queue[] {
  const rank = ({ line, servedMs }: Queue): number => (line.submitter === owner ? -1 : servedMs / line.weight);
  return queues.toSorted((a, b) => rank(a) - rank(b) || (a.line.submitter < b.line.submitter ? -1 : 1));
}

type Found = { readonly open: OpenStage; readonly share: Share };

/** The stage of a line that a peer should serve: of the equally important the one that it is best at beside the others. */
function findStage(draft: Draft, queue: Queue, candidate: Candidate): Found | undefined {
  let best: (Found & { readonly edge: number }) | undefined;
  const choices = Math.min(MAX_CHOICES, countChoices(draft, queue.line, candidate));
  const seen = new Set<string>();
  for (let i = 0; ; i++) {
    const open = openAt(draft, queue, i);
    if (!open || seen.size >= choices || (best && isLessUrgent(open.stage, best.open.stage))) break;
    if (open.pending === 0 || seen.has(open.stage.workClass)) continue;
    const choice = chooseShare(draft, open, candidate);
    if (!isShare(choice)) continue;
    seen.add(open.stage.workClass);
    const edge = edgeOf(draft, open, candidate);
    if (!best || edge > best.edge) best = { open, share: choice, edge };
  }
  return best;
}

/** Of a class of work it has not shown how fast it is at, a peer is given one task and no more until that is back. */
function countChoices({ view }: Draft, { classes }: LineView, { peer, heldClasses }: Candidate): number {
  let choices = 0;
  for (const workClass of classes) if (!heldClasses.has(workClass) || view.isMeasured(workClass, peer.id)) choices++;
  return choices;
}

function isLessUrgent(a: StageView, b: StageView): boolean {
  return a.priority !== b.priority || a.deadlineAt !== b.deadlineAt;
}

/**
 * How much this peer should rather do this stage than another: as long as it has not shown how fast it is at such work,
 * most of all; then as the guide says; without one, by its share of the speed of all that can run it.
 */
function edgeOf({ guide, view }: Draft, { stage, fleet }: OpenStage, { peer }: Candidate): number {
  if (!view.isMeasured(stage.workClass, peer.id)) return Infinity;
  const planned = guide?.msOf.get(stage.workClass)?.get(peer.id);
  if (planned !== undefined) return planned;
  return 1 / (expectedMs(stage, peer) * fleet.itemsPerMs);
}

/** The i-th stage of a line that had something to hand out when the plan began. */
function openAt(draft: Draft, queue: Queue, i: number): OpenStage | undefined {
  while (queue.open.length <= i) {
    const { value, done } = queue.rest.next();
    if (done === true) return undefined;
    if (value.pendingItems > 0) queue.open.push(toOpenStage(draft, value));
  }
  return queue.open[i];
}

/** Each due retry goes to the peer that is through with it first; to the one where it failed only if no other can. */
function planRetries(draft: Draft, queue: Queue): void {
  for (const stage of queue.line.retrying)
    for (const retry of stage.dueRetries) {
      const best = findForRetry(draft, stage, retry);
      if (!best) continue;
      const items = retry.end - retry.start;
      draft.assignments.push({
        peer: best.peer.id,
        stage: stage.id,
        itemsPerTask: items,
        tasks: 1,
        retry: retry.start,
      });
      promise(draft, best, expectedMs(stage, best.peer) * items, 1);
      stage.peersAtWork.add(best.peer.id);
    }
}

function findForRetry(draft: Draft, stage: StageView, retry: RetryRecord): Candidate | undefined {
  const able = draft.candidates.filter((candidate) => isFree(candidate) && !checkFeasible(stage, candidate.peer));
  const others = able.filter(({ peer }) => peer.id !== retry.peer);
  return earliest(stage, others.length > 0 ? others : able, retry.end - retry.start);
}

function byQueue(a: Candidate, b: Candidate): number {
  return a.queuedMs - b.queuedMs || (a.peer.id < b.peer.id ? -1 : 1);
}

/** Why a peer gets nothing of a stage that has something to hand out; undefined when it would get something. */
export function obstacleFor(view: View, stage: StageView, peer: PeerView): Obstacle | undefined {
  const draft = toDraft(view);
  const candidate = draft.candidates.find((other) => other.peer.id === peer.id) ?? toCandidate(peer);
  const infeasible = checkFeasible(stage, peer);
  if (infeasible) return infeasible;
  if (candidate.freeSlots <= 0) return { kind: 'no-free-slot' };
  if (stage.dueRetries.length > 0 || stage.pendingItems === 0) return undefined;
  const choice = chooseShare(draft, toOpenStage(draft, stage), candidate);
  return isShare(choice) ? undefined : choice;
}

/** When a peer would be through with so many more items, from now; undefined when it cannot run them or is not known. */
export function finishOn(
  { peers }: View,
  stage: StageView,
  { id }: PeerView,
  items: number,
): { readonly peer: PeerId; readonly ms: number } | undefined {
  const peer = peers.find((other) => other.id === id);
  if (!peer || checkFeasible(stage, peer) || !stage.speedOf(id)) return undefined;
  return { peer: id, ms: finishMs(stage, toCandidate(peer), items) };
}
