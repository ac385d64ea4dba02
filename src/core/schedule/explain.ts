// Owns the answer to "why is this not running?": the plan's own rules, asked about one stage. Says it as data; words
// are the shell's.

import type { PeerId, StageId } from '../../lib/ids.ts';
import { isEnded } from '../job.ts';
import type { State } from '../state.ts';
import { obstacleFor, type Obstacle } from './plan.ts';
import { connectedPeers, toStageView, toView } from './view.ts';

export type Explanation =
  | { readonly kind: 'ended' }
  | { readonly kind: 'paused' }
  | { readonly kind: 'waits-for-stages'; readonly stages: readonly string[] }
  | { readonly kind: 'all-assigned'; readonly runningTasks: number }
  | { readonly kind: 'waits-to-retry'; readonly at: number; readonly reason: string }
  | { readonly kind: 'no-peer-connected' }
  | { readonly kind: 'peers'; readonly obstacles: readonly { readonly peer: PeerId; readonly obstacle: Obstacle }[] };

export function explain(state: State, stageId: StageId, at: number): Explanation | undefined {
  const stage = state.stages.get(stageId);
  const job = stage && state.jobs.get(stage.jobId);
  if (!stage || !job) return undefined;
  if (isEnded(job.status) || stage.record.status.kind === 'finished') return { kind: 'ended' };
  if (job.status.kind === 'paused') return { kind: 'paused' };
  if (stage.record.status.kind === 'waiting') return { kind: 'waits-for-stages', stages: stage.spec.needs };
  const view = toStageView(state, stage, at);
  if (view.pendingItems === 0 && view.dueRetries.length === 0) {
    if (stage.running.size > 0) return { kind: 'all-assigned', runningTasks: stage.running.size };
    const next = [...stage.retries.values()].toSorted((a, b) => a.notBefore - b.notBefore)[0];
    return next
      ? { kind: 'waits-to-retry', at: next.notBefore, reason: next.reason }
      : { kind: 'all-assigned', runningTasks: 0 };
  }
  const peers = connectedPeers(state);
  if (peers.length === 0) return { kind: 'no-peer-connected' };
  const whole = { ...toView(state, at), peers };
  const obstacles = peers.flatMap((peer) => {
    const obstacle = obstacleFor(whole, view, peer);
    return obstacle ? [{ peer: peer.id, obstacle }] : [];
  });
  return { kind: 'peers', obstacles };
}
