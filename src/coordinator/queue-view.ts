// Owns the picture of what waits and who could do it, as far as it is needed to play it through elsewhere.

import { estimateSpeed } from '../core/schedule/estimate.ts';
import type { Session, Stage, State } from '../core/state.ts';
import type { PeerId } from '../lib/ids.ts';
import type { QueueView } from '../protocol/views.ts';
import { listStages, type ViewContext } from './views.ts';

/** A peer that nobody has met: what is believed of it comes from the device table alone. */
const NOBODY = 'ed25519:' as PeerId;

/** Connected peers that take work, and jobs that run. */
export function toQueueView({ state, now }: ViewContext): QueueView {
  const sessions = [...state.sessions.values()].filter(
    ({ connected, peer }) => connected && state.peers.get(peer)?.drained === false,
  );
  const jobs = [...state.activeJobs].flatMap((id) => state.jobs.get(id) ?? []);
  return {
    peers: sessions.map((session) => toPeer(state, session)),
    jobs: jobs
      .filter(({ status }) => status.kind === 'running')
      .map((job) => ({
        ...{ id: job.id, name: job.spec.name, submitter: job.submitter, priority: job.priority },
        stages: listStages(state, job).map((stage) => toStage(state, stage, sessions, now)),
      })),
  };
}

function toPeer(state: State, { peer, owner, labels, devices }: Session): QueueView['peers'][number] {
  const uplink = state.estimates.uplinks.get(peer);
  return {
    ...{ id: peer, name: state.peers.get(peer)?.name ?? 'unknown', labels: [...labels], devices: [...devices] },
    ...(owner && { owner }),
    ...(uplink && { uplinkBytesPerSecond: 1_000 / Math.exp(uplink.mean) }),
  };
}

type StageOfQueue = QueueView['jobs'][number]['stages'][number];

function toStage(state: State, stage: Stage, sessions: readonly Session[], at: number): StageOfQueue {
  const { spec, workClass, family } = stage;
  const { estimates } = state;
  const speedOf = (peer: PeerId, logSlowness: number) =>
    estimateSpeed(estimates, { workClass, family, peer, logSlowness, at })?.msPerItem;
  const anybody = speedOf(NOBODY, 0);
  const size = estimates.sizes.get(workClass);
  return {
    ...{ name: spec.name, needs: [...spec.needs], labels: [...spec.labels], memoryBytes: spec.memoryBytes },
    left: Math.max(0, stage.itemCount - stage.finished.size - stage.failures.size),
    ...(spec.taskItems !== undefined && { taskItems: spec.taskItems }),
    ...(size && { bytesPerItem: Math.exp(size.mean) }),
    ...(anybody !== undefined && { msPerItemAtOneTflops: anybody }),
    speeds: sessions.flatMap(({ peer, logSlowness }) => {
      const msPerItem = speedOf(peer, logSlowness);
      return msPerItem === undefined || stage.refusals.has(peer) ? [] : { peer, msPerItem };
    }),
  };
}
