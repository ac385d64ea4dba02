// Owns a plan in the making: what peers are promised so far, and the sums over all that can run a stage, kept up to date
// as promises are made. Knows no rule.

import type { PeerId, StageId } from '../../lib/ids.ts';
import { checkFeasible } from './feasible.ts';
import type { Guide } from './guide.ts';
import type { PeerView, StageView, View } from './view.ts';

/** `tasks` tasks of up to `itemsPerTask` items each; or one retry, named by the start of its range. */
export type Assignment = {
  readonly peer: PeerId;
  readonly stage: StageId;
  readonly itemsPerTask: number;
  readonly tasks: number;
  readonly retry?: number;
};

/** A peer while a plan is made: what it is promised so far is counted in. */
export type Candidate = {
  readonly peer: PeerView;
  freeSlots: number;
  queuedMs: number;
  held: number;
  readonly heldClasses: Set<string>;
};

/** A stage while a plan is made. */
export type OpenStage = { readonly stage: StageView; readonly fleet: Fleet; pending: number };

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

export function toDraft(view: View): Draft {
  return {
    view,
    candidates: view.peers.map(toCandidate),
    assignments: [],
    fleets: new Map(),
    guide: undefined,
    version: 0,
  };
}

export function toCandidate(peer: PeerView): Candidate {
  const { freeSlots, queuedMs, heldAttempts, heldClasses } = peer;
  return { peer, freeSlots, queuedMs, held: heldAttempts, heldClasses: new Set(heldClasses) };
}

export function isFree({ peer, freeSlots }: Candidate): boolean {
  return freeSlots > 0 && !peer.drained && !peer.quarantine;
}

export function toOpenStage(draft: Draft, stage: StageView): OpenStage {
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
export function refresh(draft: Draft, { fleet, stage }: OpenStage): void {
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

export function promise(draft: Draft, candidate: Candidate, ms: number, tasks: number): void {
  candidate.queuedMs += ms;
  candidate.freeSlots -= tasks;
  candidate.held += tasks;
  draft.version++;
}

/** Promises work of a stage; the sums of its own fleet follow without being made anew. */
export function giveFrom(
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

/** Expected ms per item; 1 when nobody knows, which leaves the order of queues to decide. */
export function expectedMs(stage: StageView, peer: PeerView): number {
  return stage.speedOf(peer.id)?.msPerItem ?? 1;
}

/** Getting ready is paid once: by a peer with a queue it is paid already, or hidden behind it. */
export function firstSetupMs(stage: StageView, { peer, held }: Candidate): number {
  return held === 0 ? stage.setupMs(peer.id) : 0;
}

export function finishMs(stage: StageView, candidate: Candidate, items: number): number {
  return candidate.queuedMs + firstSetupMs(stage, candidate) + expectedMs(stage, candidate.peer) * items;
}

/** The candidate that would be through with `items` more items first; ties go to the lower id. */
export function earliest(stage: StageView, candidates: readonly Candidate[], items: number): Candidate | undefined {
  let best: { candidate: Candidate; doneMs: number } | undefined;
  for (const candidate of candidates) {
    const doneMs = finishMs(stage, candidate, items);
    if (!best || doneMs < best.doneMs) best = { candidate, doneMs };
  }
  return best?.candidate;
}
