// Owns the one rule by which a peer gets a share of a stage, or does not: for the earliest expected completion of all
// such work, in ranges sized to the peer, smaller near the end (weighted factoring, Flynn Hummel et al. 1996). The plan
// and the explanation ask the same function.

import type { PeerId } from '../../lib/ids.ts';
import { finishMs, firstSetupMs, refresh, type Candidate, type Draft, type OpenStage } from './draft.ts';
import { checkFeasible, type Infeasible } from './feasible.ts';

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
/** Shorter tasks than this cost more in set-up and messages than they win in balance. */
export const MIN_TASK_MS = 250;
/** A task runs at least so many times as long as getting ready for it takes. */
const SETUP_SHARE = 2;
/** Weighted factoring hands out half of what is left in each round. */
const FACTORING = 2;

export type Share = { readonly itemsPerTask: number; readonly tasks: number };

export function isShare(choice: Share | Obstacle): choice is Share {
  return 'tasks' in choice;
}

/** What `candidate` should get of the pending items now, or why nothing. */
export function chooseShare(draft: Draft, open: OpenStage, candidate: Candidate): Share | Obstacle {
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
  // Nobody knows how long a task of a fixed size takes: it may be an hour.
  if (stage.taskItems !== undefined) return { itemsPerTask: stage.taskItems, tasks: 1 };
  const share = Math.ceil(pending / (FACTORING * fleet.able.length));
  const guess = stage.speedOf(candidate.peer.id)?.msPerItem;
  const items = guess === undefined ? PROBE_ITEMS : Math.min(MAX_PROBE_ITEMS, PROBE_MS / guess);
  return { itemsPerTask: Math.max(1, Math.floor(Math.min(share, items))), tasks: 1 };
}
