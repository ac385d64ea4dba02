// Owns the read-only view of the state that a plan is made from: only what placement needs, in a fixed order.

import type { PeerId, StageId } from '../../lib/ids.ts';
import type { JobRecord, RetryRecord, Session, Stage, State } from '../state.ts';
import { estimateMsPerItem, estimateWorkloadMsPerItem } from './estimate.ts';

export type PeerView = {
  readonly id: PeerId;
  readonly drained: boolean;
  /** The memory of its largest device. */
  readonly memoryBytes: number;
  readonly freeSlots: number;
  /** Expected ms until it is through with what it holds. */
  readonly queuedMs: number;
  readonly heldAttempts: number;
};

export type StageView = {
  readonly id: StageId;
  readonly pendingItems: number;
  readonly taskItems: number | undefined;
  readonly memoryBytes: number;
  /** Retries whose time has come and that nobody holds. */
  readonly dueRetries: readonly RetryRecord[];
  readonly refusals: ReadonlyMap<PeerId, string>;
  /** Expected ms per item; undefined until the peer has run the stage's workload once. */
  readonly msPerItem: (peer: PeerId) => number | undefined;
  readonly typicalMsPerItem: number | undefined;
};

export type View = {
  readonly at: number;
  readonly targetTaskMs: number;
  readonly peers: readonly PeerView[];
  /** Stages with something to hand out, most important first. */
  readonly stages: readonly StageView[];
};

export function toView(state: State, at: number): View {
  const stages = runnableStages(state)
    .map((stage) => toStageView(state, stage, at))
    .filter((stage) => stage.pendingItems > 0 || stage.dueRetries.length > 0);
  const peers = stages.length === 0 ? [] : connectedPeers(state);
  return { at, targetTaskMs: state.limits.targetTaskMs, peers, stages };
}

/** Started stages of running jobs: by priority, then by age, then by place in the spec. */
function runnableStages(state: State): Stage[] {
  const jobs: JobRecord[] = [];
  for (const id of state.activeJobs) {
    const job = state.jobs.get(id);
    if (job?.status.kind === 'running') jobs.push(job);
  }
  jobs.sort((a, b) => b.priority - a.priority || a.submittedAt - b.submittedAt || (a.id < b.id ? -1 : 1));
  const stages: Stage[] = [];
  for (const job of jobs)
    for (const { name } of job.spec.stages) {
      const stage = state.stages.get(`${job.id}/${name}` as StageId);
      if (stage?.record.status.kind === 'running') stages.push(stage);
    }
  return stages;
}

export function toStageView(state: State, stage: Stage, at: number): StageView {
  const dueRetries: RetryRecord[] = [];
  for (const retry of stage.retries.values())
    if (retry.notBefore <= at && !stage.retrying.has(retry.start)) dueRetries.push(retry);
  return {
    id: stage.id,
    pendingItems: stage.pending.size,
    taskItems: stage.spec.taskItems,
    memoryBytes: stage.spec.memoryBytes,
    dueRetries,
    refusals: stage.refusals,
    msPerItem: (peer) => estimateMsPerItem(state.speeds, stage.spec, peer),
    typicalMsPerItem: estimateWorkloadMsPerItem(state.speeds, stage.spec),
  };
}

export function connectedPeers(state: State): PeerView[] {
  const sessions = [...state.sessions.values()].filter((session) => session.connected);
  return sessions.map((session) => toPeerView(state, session)).sort((a, b) => (a.id < b.id ? -1 : 1));
}

function toPeerView(state: State, session: Session): PeerView {
  return {
    id: session.peer,
    drained: state.peers.get(session.peer)?.drained ?? true,
    memoryBytes: Math.max(...session.devices.map((device) => device.memoryBytes)),
    freeSlots: session.backlog - session.attempts.size,
    queuedMs: expectedQueueMs(state, session),
    heldAttempts: session.attempts.size,
  };
}

function expectedQueueMs(state: State, session: Session): number {
  let queuedMs = 0;
  for (const [stageId, items] of session.load) {
    const spec = state.stages.get(stageId)?.spec;
    if (spec) queuedMs += items * (estimateMsPerItem(state.speeds, spec, session.peer) ?? 0);
  }
  return queuedMs;
}
