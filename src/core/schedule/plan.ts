// Owns placement: a pure function from a view to assignments. Lines of submitters are served by weighted fair sharing;
// within a line stages go by priority, deadline, age and the work behind them. Each stage is given out for its earliest
// expected completion over learned speeds: ranges sized to each peer, smaller near the end (weighted factoring, Flynn
// Hummel et al. 1996), nothing for a peer that would be the last to finish. Commits nothing; somebody else does.

import type { KeyId, PeerId, StageId } from '../../lib/ids.ts';
import type { RetryRecord } from '../state.ts';
import { checkFeasible, type Infeasible } from './feasible.ts';
import type { Guide } from './guide.ts';
import type { LineView, PeerView, StageView, View } from './view.ts';

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
  | Infeasible
  | { readonly kind: 'no-free-slot' }
  /** It has enough to do already. */
  | { readonly kind: 'busy'; readonly queuedMs: number }
  /** Its speed is being measured with a first task. */
  | { readonly kind: 'measuring' }
  /** Others finish the rest before it would. */
  | { readonly kind: 'others-finish-sooner'; readonly best: PeerId; readonly bestMs: number; readonly ownMs: number };

/** The first task on a peer is small: its speed is not known yet. */
const PROBE_ITEMS = 8;
/** Where others have shown how long items take, it is meant to take so long, and to have no more items than this. */
const [PROBE_MS, MAX_PROBE_ITEMS] = [300, 64];
/** With a fixed task size, so many tasks before the speed is known. */
const PROBE_TASKS = 8;
/** Shorter tasks than this cost more in set-up and messages than they win in balance. */
export const MIN_TASK_MS = 250;
/** A task runs at least so many times as long as getting ready for it takes. */
const SETUP_SHARE = 2;
/** Weighted factoring hands out half of what is left in each round. */
const FACTORING = 2;
/** Stages of a line that are as important as the first and looked at for the one that suits the peer best. */
const MAX_CHOICES = 8;

/** A peer while a plan is made: what it is promised so far is counted in. */
export type Candidate = {
  readonly peer: PeerView;
  freeSlots: number;
  queuedMs: number;
  held: number;
  readonly heldClasses: Set<string>;
};

/** A line while a plan is made. */
type Queue = {
  readonly line: LineView;
  servedMs: number;
  readonly open: OpenStage[];
  readonly rest: Iterator<StageView>;
};

/** A stage while a plan is made. */
type OpenStage = { readonly stage: StageView; readonly fleet: Fleet; pending: number };

/** The peers that can run a stage, and what they are together; shared by all stages that are alike in this. */
type Fleet = {
  readonly able: readonly Candidate[];
  itemsPerMs: number;
  /** Items of this class of work that nobody has, of all stages. */
  classItems: number;
  /** What they have to do already, in items of such a stage. */
  queuedItems: number;
  /** Who would be through with one more item first. */
  best: Candidate | undefined;
  /** The promises that the sums and the best know of. */
  version: number;
};

export type Draft = {
  readonly view: View;
  readonly candidates: readonly Candidate[];
  readonly assignments: Assignment[];
  readonly fleets: Map<string, Fleet>;
  readonly guide: Guide | undefined;
  /** Promises made so far. */
  version: number;
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

function toDraft(view: View): Draft {
  return {
    view,
    candidates: view.peers.map(toCandidate),
    assignments: [],
    fleets: new Map(),
    guide: undefined,
    version: 0,
  };
}

function toCandidate(peer: PeerView): Candidate {
  const { freeSlots, queuedMs, heldAttempts, heldClasses } = peer;
  return { peer, freeSlots, queuedMs, held: heldAttempts, heldClasses: new Set(heldClasses) };
}

/** Whether anything could be given to it at all: not to one that has enough to do. */
function hasRoom({ view }: Draft, candidate: Candidate): boolean {
  const { held, queuedMs } = candidate;
  return isFree(candidate) && (held === 0 || queuedMs < view.limits.targetTaskMs);
}

function isFree({ peer, freeSlots }: Candidate): boolean {
  return freeSlots > 0 && !peer.drained && !peer.quarantine;
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

/** Promises work of a stage; the sums of its own fleet follow without being made anew. */
function giveFrom(
  draft: Draft,
  { fleet, stage }: OpenStage,
  candidate: Candidate,
  given: { readonly ms: number; readonly items: number; readonly tasks: number },
): void {
  const isCurrent = fleet.version === draft.version;
  fleet.classItems -= given.items;
  promise(draft, candidate, given.ms, given.tasks);
  if (!isCurrent) return;
  fleet.version = draft.version;
  fleet.queuedItems += given.items;
  if (fleet.best === candidate) fleet.best = earliest(stage, fleet.able, 1);
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

function toOpenStage(draft: Draft, stage: StageView): OpenStage {
  return { stage, fleet: fleetOf(draft, stage), pending: stage.pendingItems };
}

function fleetOf(draft: Draft, stage: StageView): Fleet {
  const known = draft.fleets.get(stage.fleet);
  if (known) return known;
  const able = draft.candidates.filter(({ peer }) => !checkFeasible(stage, peer));
  const fleet: Fleet = {
    able,
    classItems: stage.classItems,
    itemsPerMs: 0,
    queuedItems: 0,
    best: undefined,
    version: -1,
  };
  draft.fleets.set(stage.fleet, fleet);
  return fleet;
}

/** Brings the sums up to date after promises of other stages. */
function refresh(draft: Draft, { fleet, stage }: OpenStage): void {
  if (fleet.version === draft.version) return;
  fleet.version = draft.version;
  fleet.itemsPerMs = 0;
  fleet.queuedItems = 0;
  for (const { peer, queuedMs } of fleet.able) {
    const itemsPerMs = 1 / expectedMs(stage, peer);
    fleet.itemsPerMs += itemsPerMs;
    fleet.queuedItems += queuedMs * itemsPerMs;
  }
  fleet.best = earliest(stage, fleet.able, 1);
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

type Share = { readonly itemsPerTask: number; readonly tasks: number };

function isShare(choice: Share | Obstacle): choice is Share {
  return 'tasks' in choice;
}

/** What `candidate` should get of the pending items now, or why nothing. The one rule that plan and explain share. */
function chooseShare(draft: Draft, open: OpenStage, candidate: Candidate): Share | Obstacle {
  const { stage, fleet } = open;
  const infeasible = checkFeasible(stage, candidate.peer);
  if (infeasible) return infeasible;
  if (candidate.freeSlots <= 0) return { kind: 'no-free-slot' };
  const { targetTaskMs } = draft.view.limits;
  const speed = stage.speedOf(candidate.peer.id);
  if (!speed?.measured && candidate.held === 0) return probe(open, candidate);
  if (candidate.queuedMs >= targetTaskMs) return { kind: 'busy', queuedMs: candidate.queuedMs };
  if (!speed?.measured) return probe(open, candidate);
  refresh(draft, open);
  const { msPerItem } = speed;
  const setupMs = firstSetupMs(stage, candidate);
  const fairItems = (items: number): number =>
    ((items + fleet.queuedItems) / fleet.itemsPerMs - candidate.queuedMs - setupMs) / msPerItem;
  // Whether it should work at all depends on all such work there is; how much of this stage, on the stage.
  if (fairItems(Math.max(open.pending, fleet.classItems)) < 0.5) {
    const { best } = fleet;
    if (best && best !== candidate)
      return {
        ...{ kind: 'others-finish-sooner', best: best.peer.id },
        ...{ bestMs: finishMs(stage, best, 1), ownMs: finishMs(stage, candidate, 1) },
      };
  }
  const floorMs = Math.max(MIN_TASK_MS, SETUP_SHARE * setupMs);
  const wanted = Math.min(
    Math.max(targetTaskMs, floorMs) / msPerItem,
    Math.max(fairItems(open.pending) / FACTORING, floorMs / msPerItem),
  );
  const items = Math.max(1, Math.min(open.pending, Math.round(wanted)));
  if (stage.taskItems === undefined) return { itemsPerTask: items, tasks: 1 };
  const tasks = Math.min(candidate.freeSlots, Math.max(1, Math.floor(items / stage.taskItems)));
  return { itemsPerTask: stage.taskItems, tasks };
}

/** A peer whose speed is unknown gets one small task, and no more until that is back. */
function probe({ stage, fleet, pending }: OpenStage, candidate: Candidate): Share | Obstacle {
  if (candidate.heldClasses.has(stage.workClass)) return { kind: 'measuring' };
  if (stage.taskItems !== undefined)
    return {
      itemsPerTask: stage.taskItems,
      tasks: Math.min(PROBE_TASKS, candidate.freeSlots, Math.ceil(pending / stage.taskItems)),
    };
  const share = Math.ceil(pending / (FACTORING * fleet.able.length));
  const guess = stage.speedOf(candidate.peer.id)?.msPerItem;
  const items = guess === undefined ? PROBE_ITEMS : Math.min(MAX_PROBE_ITEMS, PROBE_MS / guess);
  return { itemsPerTask: Math.max(1, Math.floor(Math.min(share, items))), tasks: 1 };
}

/** Expected ms per item; 1 when nobody knows, which leaves the order of queues to decide. */
export function expectedMs(stage: StageView, peer: PeerView): number {
  return stage.speedOf(peer.id)?.msPerItem ?? 1;
}

/** Getting ready is paid once: by a peer with a queue it is paid already, or hidden behind it. */
function firstSetupMs(stage: StageView, { peer, held }: Candidate): number {
  return held === 0 ? stage.setupMs(peer.id) : 0;
}

function finishMs(stage: StageView, candidate: Candidate, items: number): number {
  return candidate.queuedMs + firstSetupMs(stage, candidate) + expectedMs(stage, candidate.peer) * items;
}

/** The candidate that would be through with `items` more items first; ties go to the lower id. */
function earliest(stage: StageView, candidates: readonly Candidate[], items: number): Candidate | undefined {
  let best: { candidate: Candidate; doneMs: number } | undefined;
  for (const candidate of candidates) {
    const doneMs = finishMs(stage, candidate, items);
    if (!best || doneMs < best.doneMs) best = { candidate, doneMs };
  }
  return best?.candidate;
}

export function promise(draft: Draft, candidate: Candidate, ms: number, tasks: number): void {
  candidate.queuedMs += ms;
  candidate.freeSlots -= tasks;
  candidate.held += tasks;
  draft.version++;
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
