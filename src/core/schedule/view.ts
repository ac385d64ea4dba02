// Owns the read-only view of the state that a plan is made from: only what placement needs, in a fixed order, and made
// only as far as it is looked at. Knows no rule.

import { assert } from '../../lib/assert.ts';
import type { Epoch, JobId, KeyId, PeerId, StageId } from '../../lib/ids.ts';
import { quarantineOf, type PeerHealth } from '../health.ts';
import { shareOf, speedFactor } from '../ledger.ts';
import { departureRate, withDepartures } from '../presence.ts';
import { isWarm } from '../session.ts';
import type { Attempt, Limits, RetryRecord, Session, Stage, State } from '../state.ts';
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

/** An attempt as the search for work to take back sees it. */
export type AttemptView = {
  readonly epoch: Epoch;
  readonly stage: StageView;
  readonly start: number;
  readonly end: number;
  readonly cursor: number;
  /** It runs; the others of its peer wait behind it. */
  readonly running: boolean;
  /** Expected ms from now until it is through, what is before it not counted. */
  readonly remainingMs: number;
  /** Its tail can be given to another: no retry, no twin, not being shrunk. */
  readonly divisible: boolean;
  readonly hasTwin: boolean;
  /** Its peer is out of reach, or it is longer at work than anybody expected. */
  readonly late: boolean;
};

export type LineView = {
  readonly submitter: KeyId;
  /** What it has had of late and what runs for it now, in normalised ms. */
  readonly servedMs: number;
  /** Its share grows with the priority of its most urgent job, at most fourfold. */
  readonly weight: number;
  /** Running stages, most important first. */
  readonly stages: Iterable<StageView>;
  /** The classes of work among them; the peer has shown how fast it is at one of them, or has not. */
  readonly classCount: number;
  readonly isMeasured: (peer: PeerId) => boolean;
  /** Those of them that have retries. */
  readonly retrying: readonly StageView[];
};

export type View = {
  readonly at: number;
  readonly limits: Limits;
  /** Device time that backups have cost so far, of how much in all. */
  readonly wastedMs: number;
  readonly spentMs: number;
  readonly peers: readonly PeerView[];
  readonly lines: readonly LineView[];
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
  const peers = sessions
    .filter((session) => session.connected)
    .map((session) => toPeerView(state, session, speeds, running, at));
  return {
    ...{ at, limits: state.limits, peers },
    ...{ wastedMs: state.counters.wastedMs, spentMs: state.counters.spentMs },
    lines: [...state.lines].map(([submitter, line]) => ({
      submitter,
      servedMs: shareOf(state, submitter, at) + (running.get(submitter) ?? 0),
      weight: 2 ** ((line.entries[0]?.priority ?? 0) / 50),
      stages: lazily(line.entries, viewOf),
      classCount: line.classes.size,
      isMeasured: (peer) => speeds.isMeasured(line.classes.keys(), peer),
      retrying: retryingStages(state, submitter).map(viewOf),
    })),
    stageOf: viewOf,
    heldBy: (peer) => [...toAttemptViews(state, peer, viewOf, at)],
    headOf: (peer) => toAttemptViews(state, peer, viewOf, at).next().value ?? undefined,
    silent: sessions.filter((session) => !session.connected).map(({ peer }) => peer),
  };
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

  /** Whether the peer has shown how fast it is at any of these classes. */
  isMeasured(classes: Iterable<string>, peer: PeerId): boolean {
    for (const workClass of classes) if (hasMeasured(this.#state.estimates, workClass, peer, this.#at)) return true;
    return false;
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

function toPeerView(
  state: State,
  session: Session,
  speeds: SpeedTable,
  running: Map<KeyId, number>,
  at: number,
): PeerView {
  const { peer, owner, labels, attempts, freeMemoryBytes, freeDiskBytes } = session;
  const factor = speedFactor(state, peer);
  let queuedMs = 0;
  for (const [stageId, items] of session.load) {
    const stage = state.stages.get(stageId);
    const submitter = stage && state.jobs.get(stage.jobId)?.submitter;
    if (!stage || !submitter) continue;
    const ms = items * (speeds.get(stage, peer)?.msPerItem ?? 0);
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
    queuedMs: Math.max(0, queuedMs + headCorrection(state, session, speeds, at) + promisedMs(state, peer, speeds)),
    heldAttempts: attempts.size,
  };
}

/** What is on its way to a peer because another was asked for it, less what it was asked for itself. */
function promisedMs(state: State, peer: PeerId, speeds: SpeedTable): number {
  let promised = 0;
  for (const epoch of state.shrinking) {
    const attempt = state.attempts.get(epoch);
    const stage = attempt && state.stages.get(attempt.stage);
    if (!attempt?.shrink || !stage) continue;
    const items = attempt.end - Math.max(attempt.start, attempt.shrink.until);
    const ms = items * (speeds.get(stage, peer)?.msPerItem ?? 0);
    if (attempt.shrink.meantFor === peer) promised += ms;
    else if (attempt.peer === peer) promised -= ms;
  }
  return promised;
}

/** How much longer, or shorter, the attempt at the head takes than its items and its peer's speed say. */
function headCorrection(state: State, session: Session, speeds: SpeedTable, at: number): number {
  const [head] = session.attempts;
  const attempt = head === undefined ? undefined : state.attempts.get(head);
  const stage = attempt && state.stages.get(attempt.stage);
  if (!attempt || !stage) return 0;
  const msPerItem = speeds.get(stage, session.peer)?.msPerItem;
  if (msPerItem === undefined) return 0;
  return remainingMs(attempt, session, msPerItem, at) - (attempt.end - attempt.cursor) * msPerItem;
}

/**
 * Expected ms that the attempt at a peer's head still takes. It goes on at the speed it has shown; one that has shown
 * none and is late is expected to need as long again as it has had, as heavy-tailed waits do.
 */
function remainingMs(attempt: Attempt, session: Session, msPerItem: number, at: number): number {
  const { start, end, cursor, cursorAt, assignedAt } = attempt;
  const startedAt = Math.max(assignedAt, session.headSince);
  const left = end - cursor;
  const shown = cursor > start ? (cursorAt - startedAt) / (cursor - start) : 0;
  const since = at - (cursor > start ? cursorAt : startedAt);
  const expected = left * Math.max(shown, msPerItem) - since;
  return expected >= 0 ? expected : Math.max(0, since - left * Math.max(shown, msPerItem));
}

/** Later than this many times what was expected, and at least so many ms, an attempt is late. */
const LATE = 1.5;
const LATE_MS = 500;

function* toAttemptViews(
  state: State,
  peer: PeerId,
  viewOf: (stage: Stage) => StageView,
  at: number,
): Generator<AttemptView, undefined> {
  const session = state.sessions.get(peer);
  if (!session) return;
  let isHead = true;
  for (const epoch of session.attempts) {
    const attempt = state.attempts.get(epoch);
    const stage = attempt && state.stages.get(attempt.stage);
    if (!attempt || !stage || attempt.canceled) continue;
    const known = viewOf(stage).speedOf(peer)?.msPerItem;
    const msPerItem = known ?? 0;
    // A peer that is out of reach may not come back: what it holds is expected to wait for the end of its lease.
    const silentMs = session.connected ? 0 : state.limits.leaseMs;
    const plainMs = (attempt.end - attempt.cursor) * msPerItem;
    const elapsedMs = at - Math.max(attempt.assignedAt, session.headSince);
    const isSlow =
      isHead && known !== undefined && elapsedMs > LATE * (attempt.end - attempt.start) * msPerItem + LATE_MS;
    yield {
      ...{
        epoch,
        stage: viewOf(stage),
        start: attempt.start,
        end: attempt.end,
        cursor: attempt.cursor,
        running: isHead,
      },
      remainingMs: session.connected && isHead ? remainingMs(attempt, session, msPerItem, at) : silentMs + plainMs,
      divisible: !attempt.shrink && !attempt.twin && !stage.retrying.has(attempt.start) && session.protocol >= 2,
      hasTwin: attempt.twin !== undefined,
      late: !session.connected || isSlow,
    };
    isHead = false;
  }
}
