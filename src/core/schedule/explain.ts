// Owns the answer to "why is this not running, and what is the cheapest change that makes it run?", and for what runs,
// why there: the plan's own rules, asked about one stage. Says it as data; words are the shell's.

import type { Epoch, PeerId, StageId } from '../../lib/ids.ts';
import { isEnded } from '../job.ts';
import type { Attempt, Stage, State } from '../state.ts';
import type { StartReason } from '../trace.ts';
import type { Infeasible } from './feasible.ts';
import { finishOn, obstacleFor } from './plan.ts';
import type { Obstacle } from './share.ts';
import { toView, type StageView, type View } from './view.ts';

export type PeerObstacle = { readonly peer: PeerId; readonly obstacle: Obstacle };

/** Something an owner or the submitter can do; the peers that are in the way are told by `obstacle`. */
export type Remedy = { readonly peer: PeerId; readonly obstacle: Infeasible };

export type Explanation =
  | { readonly kind: 'ended' }
  | { readonly kind: 'paused' }
  | { readonly kind: 'waits-for-stages'; readonly stages: readonly string[] }
  | { readonly kind: 'all-assigned' }
  | { readonly kind: 'waits-to-retry'; readonly at: number; readonly reason: string }
  | { readonly kind: 'no-peer-connected' }
  | {
      readonly kind: 'peers';
      readonly obstacles: readonly PeerObstacle[];
      /** Present when no connected peer can run it however long it waits. */
      readonly cheapest?: Remedy;
    };

/** A running attempt: why it is where it is. */
export type Placement = {
  readonly epoch: Epoch;
  readonly peer: PeerId;
  readonly start: number;
  readonly end: number;
  readonly cursor: number;
  readonly why: StartReason;
  readonly elapsedMs: number;
  /** What the rest is expected to take here; absent while nobody has run anything like it. */
  readonly leftMs?: number;
  /** The peer that would be through next soonest if it took the rest now. */
  readonly secondBest?: { readonly peer: PeerId; readonly ms: number };
};

const MAX_PLACEMENTS = 20;

export function explain(state: State, stageId: StageId, at: number): Explanation | undefined {
  const stage = state.stages.get(stageId);
  const job = stage && state.jobs.get(stage.jobId);
  if (!stage || !job) return undefined;
  if (isEnded(job.status) || stage.record.status.kind === 'finished') return { kind: 'ended' };
  if (job.status.kind === 'paused') return { kind: 'paused' };
  if (stage.record.status.kind === 'waiting') return { kind: 'waits-for-stages', stages: stage.spec.needs };
  const view = toView(state, at);
  const ofStage = view.stageOf(stage);
  return ofStage.pendingItems === 0 && ofStage.dueRetries.length === 0
    ? explainAssigned(stage)
    : explainPeers(view, ofStage);
}

function explainAssigned(stage: Stage): Explanation {
  const next = [...stage.retries.values()]
    .filter(({ start }) => !stage.retrying.has(start))
    .toSorted((a, b) => a.notBefore - b.notBefore)[0];
  if (stage.running.size > 0 || !next) return { kind: 'all-assigned' };
  return { kind: 'waits-to-retry', at: next.notBefore, reason: next.reason };
}

function explainPeers(view: View, stage: StageView): Explanation {
  if (view.peers.length === 0) return { kind: 'no-peer-connected' };
  const obstacles = view.peers.flatMap((peer): PeerObstacle[] => {
    const obstacle = obstacleFor(view, stage, peer);
    return obstacle ? [{ peer: peer.id, obstacle }] : [];
  });
  const cheapest = obstacles.length === view.peers.length ? findRemedy(obstacles) : undefined;
  return { kind: 'peers', obstacles, ...(cheapest && { cheapest }) };
}

/** The least that would have to change, when nothing but a change helps. */
function findRemedy(obstacles: readonly PeerObstacle[]): Remedy | undefined {
  const remedies: Remedy[] = [];
  for (const { peer, obstacle } of obstacles) {
    if (!isInfeasible(obstacle)) return undefined;
    remedies.push({ peer, obstacle });
  }
  return remedies.toSorted((a, b) => priceOf(a.obstacle) - priceOf(b.obstacle) || (a.peer < b.peer ? -1 : 1))[0];
}

function isInfeasible(obstacle: Obstacle): obstacle is Infeasible {
  return PRICES[obstacle.kind as Infeasible['kind']] !== undefined;
}

/** What is one command comes before what needs a talk with the owner, and that before new hardware. */
const PRICES: Readonly<Record<Infeasible['kind'], number>> = {
  'job-peers': 0,
  drained: 1,
  quarantined: 2,
  memory: 3,
  disk: 5,
  labels: 6,
  refused: 7,
};
const NEW_HARDWARE = 10;

/** Among shortages the smaller one is cheaper. */
function priceOf(obstacle: Infeasible): number {
  const base = PRICES[obstacle.kind];
  if (obstacle.kind === 'disk') return base + 1 - obstacle.freeBytes / obstacle.neededBytes;
  if (obstacle.kind !== 'memory') return base;
  const { neededBytes, freeBytes, presentBytes } = obstacle;
  return freeBytes === undefined ? NEW_HARDWARE + 1 - presentBytes / neededBytes : base + 1 - freeBytes / neededBytes;
}

/** Why what runs of a stage runs where it does. */
export function explainRunning(state: State, stageId: StageId, at: number): Placement[] {
  const stage = state.stages.get(stageId);
  if (!stage || stage.running.size === 0) return [];
  const view = toView(state, at);
  const ofStage = view.stageOf(stage);
  return [...stage.running].slice(0, MAX_PLACEMENTS).flatMap((epoch): Placement[] => {
    const attempt = state.attempts.get(epoch);
    return attempt ? [toPlacement(view, ofStage, attempt)] : [];
  });
}

function toPlacement(view: View, stage: StageView, attempt: Attempt): Placement {
  const { epoch, peer, start, end, cursor, why, assignedAt } = attempt;
  const leftMs = view.heldBy(peer).find((held) => held.epoch === epoch)?.remainingMs;
  const others = view.peers
    .filter(({ id }) => id !== peer)
    .flatMap((other) => finishOn(view, stage, other, end - cursor) ?? [])
    .toSorted((a, b) => a.ms - b.ms);
  const [secondBest] = others;
  return {
    ...{ epoch, peer, start, end, cursor, why, elapsedMs: view.at - assignedAt },
    ...(leftMs !== undefined && { leftMs }),
    ...(secondBest && { secondBest }),
  };
}
