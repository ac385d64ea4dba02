// Owns the read-only view of the state that a plan is made from: only what placement needs, in a fixed order, and made
// only as far as it is looked at. Knows no rule.

import { assert } from '../../lib/assert.ts';
import type { JobId, KeyId, PeerId, StageId } from '../../lib/ids.ts';
import { quarantineOf, type PeerHealth } from '../health.ts';
import { shareOf, speedFactor } from '../ledger.ts';
import { departureRate, withDepartures } from '../presence.ts';
import { isWarm } from '../session.ts';
import type { Limits, RetryRecord, Session, Stage, State } from '../state.ts';
import { headCorrection, listHeld, toPromises, type AttemptView } from './held.ts';
import { hasMeasured, estimateSetupMs, estimateSpeed, estimateUploadMs, type SpeedEstimate } from './estimate.ts';

export type PeerView = {
  readonly id: PeerId;
  readonly owner: KeyId | undefined;
  readonly drained: boolean;
  readonly quarantine: PeerHealth['quarantine'];
  readonly labels: readonly string[];
  /** The memory of its largest device. */
  readonly memoryBytes: number;
  /** Measured, where nothing of ours can hold the rest; undefined otherwise. */
  readonly freeMemoryBytes: number | undefined;
  readonly freeDiskBytes: number | undefined;
  readonly freeSlots: number;
  /** Expected ms until it is through with what it holds and what is meant for it. */
  readonly queuedMs: number;
  readonly heldAttempts: number;
  /** The classes of work among what it holds. */
  readonly heldClasses: ReadonlySet<string>;
  /** What an ms of it counts in the sharing between submitters. */
  readonly factor: number;
};

export type StageView = {
  readonly id: StageId;
  readonly job: JobId;
  readonly submitter: KeyId;
  readonly workClass: string;
  readonly priority: number;
  readonly deadlineAt: number;
  readonly pendingItems: number;
  /** Pending items of all running stages of this class of work, whoever wants them. */
  readonly classItems: number;
  readonly taskItems: number | undefined;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly labels: readonly string[];
  /** Retries whose time has come and that nobody holds. */
  readonly dueRetries: readonly RetryRecord[];
  readonly refusals: ReadonlyMap<PeerId, string>;
  /** The most peers that may work on its job at once, and who does: one set a job, which grows while a plan is made. */
  readonly maxPeers: number;
  readonly peersAtWork: Set<PeerId>;
  /** The same for stages that the same peers can run at the same speeds. */
  readonly fleet: string;
  /** Expected speed of a peer, or undefined when nobody has run anything like it. */
  readonly speedOf: (peer: PeerId) => SpeedEstimate | undefined;
  /** Expected ms before a first item: 0 where a runner is warm. */
  readonly setupMs: (peer: PeerId) => number;
};

export type LineView = {
  readonly submitter: KeyId;
  /** What it has had of late and what runs for it now, in normalised ms. */
  readonly servedMs: number;
  /** As an admin set it; it grows with the priority of the most urgent job, at most fourfold. */
  readonly weight: number;
  /** Running stages, most important first. */
  readonly stages: Iterable<StageView>;
  /** The classes of work among them. */
  readonly classes: readonly string[];
  /** Those of them that have retries. */
  readonly retrying: readonly StageView[];
};

export type View = {
  readonly at: number;
  readonly limits: Limits;
  /** Device time that backups have cost so far, of how much in all. */
  readonly backupMs: number;
  readonly spentMs: number;
  readonly peers: readonly PeerView[];
  readonly lines: readonly LineView[];
  /** The classes of work that wait, each with a stage to know it by. */
  readonly classes: readonly { readonly workClass: string; readonly items: number; readonly sample: StageView }[];
  /** Whether a peer has shown of late how fast it is at a class of work. */
  readonly isMeasured: (workClass: string, peer: PeerId) => boolean;
  /** Any stage, seen as this view sees all. */
  readonly stageOf: (stage: Stage) => StageView;
  /** What a peer holds, in the order in which it runs it; also of a silent one. */
  readonly heldBy: (peer: PeerId) => readonly AttemptView[];
  /** The one it runs now. */
  readonly headOf: (peer: PeerId) => AttemptView | undefined;
  /** Peers whose connection is down while their lease runs. */
  readonly silent: readonly PeerId[];
};

export function toView(state: State, at: number): View {
  const speeds = new SpeedTable(state, at);
  const stageViews = new Map<StageId, StageView>();
  const peersAtWork = new Map<JobId, Set<PeerId>>();
  const viewOf = (stage: Stage): StageView => {
    const known = stageViews.get(stage.id) ?? toStageView(state, stage, speeds, peersAtWork, at);
    stageViews.set(stage.id, known);
    return known;
  };
  const sessions = [...state.sessions.values()].sort((a, b) => (a.peer < b.peer ? -1 : 1));
  const running = new Map<KeyId, number>();
  const speedOf = (stage: Stage, peer: PeerId) => speeds.get(stage, peer);
  const promises = toPromises(state, speedOf);
  const peers = sessions
    .filter((session) => session.connected)
    .map((session) =>
      toPeerView(state, session, { speedOf, running, promisedMs: promises.get(session.peer) ?? 0, at }),
    );
  return {
    ...{ at, limits: state.limits, peers },
    ...{ backupMs: state.counters.backupMs, spentMs: state.counters.spentMs },
    lines: [...state.lines].map(([submitter, line]) => ({
      submitter,
      servedMs: shareOf(state, submitter, at) + (running.get(submitter) ?? 0),
      weight: (state.weights.get(submitter)?.weight ?? 1) * 2 ** ((line.entries[0]?.priority ?? 0) / 50),
      stages: lazily(line.entries, viewOf),
      classes: [...line.classes.keys()],
      retrying: retryingStages(state, submitter).map(viewOf),
    })),
    classes: listClasses(state, viewOf),
    stageOf: viewOf,
    isMeasured: (workClass, peer) => hasMeasured(state.estimates, workClass, peer, at),
    heldBy: (peer) => [...listHeld(state, peer, viewOf, at)],
    headOf: (peer) => listHeld(state, peer, viewOf, at).next().value ?? undefined,
    silent: sessions.filter((session) => !session.connected).map(({ peer }) => peer),
  };
}

function listClasses(state: State, viewOf: (stage: Stage) => StageView): View['classes'] {
  const samples = new Map<string, Stage>();
  for (const { classes } of state.lines.values())
    for (const [workClass, { pending, sample }] of classes) if (pending > 0) samples.set(workClass, sample);
  return [...samples]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([workClass, sample]) => ({ workClass, items: pendingOf(state, workClass), sample: viewOf(sample) }));
}

/** Kept apart, so that no plan looks through all stages for the few that failed. */
function retryingStages(state: State, submitter: KeyId): Stage[] {
  const stages: Stage[] = [];
  for (const id of state.retrying) {
    const stage = state.stages.get(id);
    if (stage?.line && state.jobs.get(stage.jobId)?.submitter === submitter) stages.push(stage);
  }
  return stages.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function* each<T, U>(items: Iterable<T>, map: (item: T) => U): Generator<U> {
  for (const item of items) yield map(item);
}

function lazily(line: readonly { readonly stage: Stage }[], viewOf: (stage: Stage) => StageView): Iterable<StageView> {
  return { [Symbol.iterator]: () => each(line, ({ stage }) => viewOf(stage)) };
}

/** Estimates by class of work and peer, each made once a plan. */
class SpeedTable {
  readonly #state: State;
  readonly #at: number;
  readonly #rates = new Map<PeerId, number>();
  readonly #byClass = new Map<string, Map<PeerId, SpeedEstimate | undefined>>();

  constructor(state: State, at: number) {
    this.#state = state;
    this.#at = at;
  }

  get({ workClass, family }: Stage, peer: PeerId): SpeedEstimate | undefined {
    const row = this.#byClass.get(workClass) ?? new Map<PeerId, SpeedEstimate | undefined>();
    this.#byClass.set(workClass, row);
    if (row.has(peer)) return row.get(peer);
    const logSlowness = this.#state.sessions.get(peer)?.logSlowness ?? 0;
    const { estimates } = this.#state;
    const seen = { workClass, family, peer, logSlowness, at: this.#at };
    const known = estimateSpeed(estimates, seen);
    // A result is sent while the next task computes: whichever takes longer sets the pace.
    const paceMs = known && Math.max(known.msPerItem, estimateUploadMs(estimates, seen));
    const speed =
      known && paceMs !== undefined
        ? { ...known, msPerItem: withDepartures(paceMs, this.#departures(peer)) }
        : undefined;
    row.set(peer, speed);
    return speed;
  }

  /** Each peer's once a plan. */
  #departures(peer: PeerId): number {
    const known = this.#rates.get(peer) ?? departureRate(this.#state, peer, this.#at);
    this.#rates.set(peer, known);
    return known;
  }
}

function toStageView(
  state: State,
  stage: Stage,
  speeds: SpeedTable,
  peersByJob: Map<JobId, Set<PeerId>>,
  at: number,
): StageView {
  const job = state.jobs.get(stage.jobId);
  assert(job !== undefined, `job ${stage.jobId}`);
  const { taskItems, memoryBytes, diskBytes, labels } = stage.spec;
  const maxPeers = job.spec.limits.peers ?? Infinity;
  const peersAtWork =
    peersByJob.get(job.id) ?? (maxPeers === Infinity ? new Set<PeerId>() : peersOf(state, stage.jobId));
  peersByJob.set(job.id, peersAtWork);
  const isCommon = maxPeers === Infinity && stage.refusals.size === 0;
  const setupMs = (peer: PeerId): number => {
    const session = state.sessions.get(peer);
    if (session && isWarm(session, stage.workClass, at)) return 0;
    const { workClass, family } = stage;
    return estimateSetupMs(state.estimates, { workClass, family, peer, logSlowness: 0, at });
  };
  return {
    ...{ id: stage.id, job: stage.jobId, submitter: job.submitter, workClass: stage.workClass },
    ...{ priority: job.priority, deadlineAt: job.spec.deadlineAt ?? Infinity },
    classItems: pendingOf(state, stage.workClass),
    ...{ pendingItems: stage.pending.size, taskItems, memoryBytes, diskBytes, labels, maxPeers, setupMs },
    dueRetries: dueRetriesOf(stage, at),
    refusals: stage.refusals,
    peersAtWork,
    fleet: isCommon ? `${stage.workClass}|${memoryBytes}|${diskBytes}|${labels.join()}` : stage.id,
    speedOf: (peer) => speeds.get(stage, peer),
  };
}

function pendingOf(state: State, workClass: string): number {
  let pending = 0;
  for (const { classes } of state.lines.values()) pending += classes.get(workClass)?.pending ?? 0;
  return pending;
}

function dueRetriesOf(stage: Stage, at: number): RetryRecord[] {
  const due: RetryRecord[] = [];
  for (const retry of stage.retries.values())
    if (retry.notBefore <= at && !stage.retrying.has(retry.start)) due.push(retry);
  return due;
}

function peersOf(state: State, job: JobId): Set<PeerId> {
  const peers = new Set<PeerId>();
  for (const attempt of state.attempts.values()) if (attempt.stage.startsWith(`${job}/`)) peers.add(attempt.peer);
  return peers;
}

type PeerContext = {
  readonly speedOf: (stage: Stage, peer: PeerId) => SpeedEstimate | undefined;
  /** Grows by what runs for each submitter. */
  readonly running: Map<KeyId, number>;
  readonly promisedMs: number;
  readonly at: number;
};

function toPeerView(state: State, session: Session, context: PeerContext): PeerView {
  const { speedOf, running, promisedMs, at } = context;
  const { peer, owner, labels, attempts, freeMemoryBytes, freeDiskBytes } = session;
  const factor = speedFactor(state, peer);
  let queuedMs = 0;
  const heldClasses = new Set<string>();
  for (const [stageId, items] of session.load) {
    const stage = state.stages.get(stageId);
    const submitter = stage && state.jobs.get(stage.jobId)?.submitter;
    if (!stage || !submitter) continue;
    heldClasses.add(stage.workClass);
    const ms = items * (speedOf(stage, peer)?.msPerItem ?? 0);
    queuedMs += ms;
    running.set(submitter, (running.get(submitter) ?? 0) + ms * factor);
  }
  // Only where nothing of ours runs or is kept warm is memory that is not free somebody else's.
  const isOurs = attempts.size > 0 || [...session.warm.keys()].some((workClass) => isWarm(session, workClass, at));
  return {
    ...{ id: peer, owner, labels, factor, freeDiskBytes },
    drained: state.peers.get(peer)?.drained ?? true,
    quarantine: quarantineOf(state, peer, at),
    memoryBytes: Math.max(...session.devices.map((device) => device.memoryBytes)),
    freeMemoryBytes: isOurs ? undefined : freeMemoryBytes,
    freeSlots: session.backlog - attempts.size,
    queuedMs: Math.max(0, queuedMs + headCorrection(state, session, speedOf, at) + promisedMs),
    heldAttempts: attempts.size,
    heldClasses,
  };
}
