// Owns what-if questions: a queue and changes to the fleet become a fleet in virtual time, which the production
// scheduler plays through. Knows no connection and no output.

import { deviceLogSlowness } from '../core/schedule/device-table.ts';
import { DEFAULT_LIMITS } from '../core/state.ts';
import type { JobId, PeerId } from '../lib/ids.ts';
import type { Device } from '../protocol/device.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { QueueView } from '../protocol/views.ts';
import { playFleet, type FleetJob, type FleetPeer, type FleetStage } from '../sim/fleet.ts';
import { findNear } from './near-match.ts';

export type FleetChange = {
  /** Names of devices to have besides, such as `5090`. */
  readonly add: readonly string[];
  /** Names of peers to do without. */
  readonly without: readonly string[];
  /** Uplinks by peer's name, in bytes per second. */
  readonly uplinks: ReadonlyMap<string, number>;
};

export const NO_CHANGE: FleetChange = { add: [], without: [], uplinks: new Map() };

export type Outlook = {
  /** Until everything has ended, the median of several plays. */
  readonly totalMs: number;
  readonly jobMs: ReadonlyMap<JobId, number>;
};

/** Real tasks vary; a few plays show by how much that matters. */
const PLAYS = 5;
/** A queue of a week is played with as many tasks as one of an hour. */
const TASKS_A_PEER = 300;

type Stage = QueueView['jobs'][number]['stages'][number];

/** Stages that cannot be played: nobody has run anything like them, so nobody knows how long they take. */
export function listUnknown({ jobs }: QueueView): string[] {
  return jobs.flatMap(({ name, stages }) =>
    stages.filter((stage) => stage.left > 0 && !isKnown(stage)).map((stage) => `${name}/${stage.name}`),
  );
}

/** Plays the queue through; jobs come at once, or when `comesAtMs` says. Throws 'not-found' for a peer that is not there, 'bad-input' when nothing can be played. */
export function playQueue(
  queue: QueueView,
  change: FleetChange,
  comesAtMs: ReadonlyMap<JobId, number> = new Map(),
): Outlook {
  const stages = queue.jobs.flatMap((job) => job.stages.filter((stage) => stage.left > 0 && isKnown(stage)));
  if (stages.length === 0)
    throw new SwarmError('bad-input', 'nothing waits whose speed is known: there is nothing to play');
  const peers = toPeers(queue, stages, change);
  if (peers.length === 0) throw new SwarmError('bad-input', 'no peer would be left: nothing would ever end');
  const kinds = new Map(stages.map((stage, kind) => [stage, kind]));
  const jobs = queue.jobs
    .map((job) => ({ id: job.id, fleet: toJob(job, kinds, comesAtMs.get(job.id)) }))
    .filter(({ fleet }) => fleet.stages.length > 0);
  checkPossible(stages, peers);
  const plays = Array.from({ length: PLAYS }, (_, seed) =>
    playFleet({
      ...{ seed: seed + 1, peers, jobs: jobs.map(({ fleet }) => fleet), speedsKnown: true },
      limits: { targetTaskMs: targetTaskMs(stages, peers) },
    }),
  );
  const middle = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
  return {
    totalMs: middle(plays.map(({ makespanMs }) => makespanMs)),
    jobMs: new Map(jobs.map(({ id }, i) => [id, middle(plays.map(({ jobMs }) => jobMs[i] ?? 0))])),
  };
}

function isKnown({ speeds, msPerItemAtOneTflops }: Stage): boolean {
  return speeds.length > 0 || msPerItemAtOneTflops !== undefined;
}

function toPeers(queue: QueueView, stages: readonly Stage[], { add, without, uplinks }: FleetChange): FleetPeer[] {
  for (const name of [...without, ...uplinks.keys()]) checkName(queue, name);
  const kept = queue.peers.filter(({ name }) => !without.includes(name));
  const present = kept.map(({ id, name, owner, labels, devices, uplinkBytesPerSecond }): FleetPeer => {
    const uplink = uplinks.get(name) ?? uplinkBytesPerSecond;
    return {
      ...{ msPerItem: stages.map((stage) => speedOf(stage, id)), labels, devices },
      ...(owner && { owner }),
      ...(uplink !== undefined && { uplinkBytesPerMs: uplink / 1_000 }),
    };
  });
  return [...present, ...add.map((name) => toNewPeer(name, stages))];
}

function speedOf({ speeds }: Stage, peer: PeerId): number {
  return speeds.find((speed) => speed.peer === peer)?.msPerItem ?? Infinity;
}

/** As fast as the device table says, with memory and labels for whatever waits: what it lacks is for its buyer to see. */
function toNewPeer(name: string, stages: readonly Stage[]): FleetPeer {
  const memoryBytes = Math.max(1e10, ...stages.map((stage) => stage.memoryBytes));
  const device: Device = { id: 'gpu', kind: 'cuda', name, memoryBytes, threads: 1 };
  const factor = Math.exp(deviceLogSlowness(device));
  return {
    msPerItem: stages.map(({ msPerItemAtOneTflops = Infinity }) => msPerItemAtOneTflops * factor),
    labels: [...new Set(stages.flatMap(({ labels }) => labels))],
    devices: [device],
  };
}

function checkName({ peers }: QueueView, wanted: string): void {
  const names = peers.map(({ name }) => name);
  if (names.includes(wanted)) return;
  const near = findNear(wanted, names);
  const hint = near === undefined ? 'swarm peers lists who is connected' : `did you mean "${near}"?`;
  throw new SwarmError('not-found', `no connected peer is called "${wanted}": ${hint}`);
}

/** A stage that nobody could run would be played for ever. */
function checkPossible(stages: readonly Stage[], peers: readonly FleetPeer[]): void {
  for (const [kind, stage] of stages.entries()) {
    const canRun = ({ msPerItem, devices = [], labels = [] }: FleetPeer) =>
      Number.isFinite(msPerItem[kind]) &&
      devices.some(({ memoryBytes }) => memoryBytes >= stage.memoryBytes) &&
      stage.labels.every((label) => labels.includes(label));
    if (!peers.some(canRun))
      throw new SwarmError(
        'bad-input',
        `no machine of that fleet could run the stage "${stage.name}": it would wait for ever`,
      );
  }
}

function toJob(
  { stages, submitter, priority }: QueueView['jobs'][number],
  kinds: ReadonlyMap<Stage, number>,
  atMs = 0,
): FleetJob {
  const played = stages.filter((stage) => kinds.has(stage));
  const placeOf = new Map(played.map(({ name }, place) => [name, place]));
  return {
    ...{ submitter, priority, atMs },
    stages: played.map((stage): FleetStage => ({
      ...{ items: stage.left, kind: kinds.get(stage) ?? 0, memoryBytes: stage.memoryBytes, labels: stage.labels },
      needs: stage.needs.flatMap((need) => placeOf.get(need) ?? []),
      ...(stage.taskItems !== undefined && { taskItems: stage.taskItems }),
      ...(stage.bytesPerItem !== undefined && { bytesPerItem: stage.bytesPerItem }),
    })),
  };
}

function targetTaskMs(stages: readonly Stage[], peers: readonly FleetPeer[]): number {
  const workMs = stages.reduce((sum, { left }, kind) => {
    const rate = peers.reduce((total, { msPerItem }) => total + 1 / (msPerItem[kind] ?? Infinity), 0);
    return sum + left / rate;
  }, 0);
  return Math.max(DEFAULT_LIMITS.targetTaskMs, workMs / TASKS_A_PEER);
}
