// Owns how the state is shown: the schemas of protocol/views.ts filled from it. Changes nothing. A step over parts is one
// item to the core; people are shown the items of the stages that map.

import { isEnded } from '../core/job.ts';
import type { JobRecord, PartRecord, PeerRecord, Session, Stage, State } from '../core/state.ts';
import { toStageId, type KeyId, type PeerId } from '../lib/ids.ts';
import type { Telemetry } from '../protocol/device.ts';
import type { FailureView, JobDetail, JobSummary, LedgerView, PartView, PeerView } from '../protocol/views.ts';
import { MAX_REASON_CHARS } from '../protocol/names.ts';
import { quarantineOf } from '../core/health.ts';
import { estimateSpeed } from '../core/schedule/estimate.ts';
import { forecast } from '../core/schedule/forecast.ts';
import { countDone, type Rates } from './meter.ts';

/** What a view is made from besides the state. */
export type ViewContext = {
  readonly state: State;
  readonly now: number;
  readonly adminKey: KeyId;
  readonly telemetryOf: (peer: PeerId) => Telemetry | undefined;
};

/** What a peer holds beyond so many tasks is counted, not listed. */
const MAX_DOING = 8;

export function toPeerView(context: ViewContext, peer: PeerRecord): PeerView {
  const { state, now, telemetryOf } = context;
  const { id, name, joinedAt, drained } = peer;
  const session = state.sessions.get(id);
  const quarantine = quarantineOf(state, id, now);
  const shown = {
    ...{ id, name, joinedAt, drained, connected: session?.connected ?? false },
    ...(quarantine && { quarantine: { leftMs: quarantine.until - now, reason: quarantine.reason } }),
  };
  if (!session) return shown;
  const telemetry = telemetryOf(id);
  const uplink = state.estimates.uplinks.get(id);
  return {
    ...shown,
    session: {
      version: session.version,
      ...(session.sandbox !== undefined && { sandbox: session.sandbox }),
      devices: [...session.devices],
      labels: [...session.labels],
      silentMs: Math.max(0, now - session.lastSeenAt),
      heldTasks: session.attempts.size,
      doing: listDoing(context, session),
      ...(uplink && { uplinkBytesPerSecond: 1_000 / Math.exp(uplink.mean) }),
      ...(telemetry && { telemetry }),
    },
  };
}

function listDoing({ state, now }: ViewContext, session: Session): PeerDoing[] {
  return [...session.attempts].slice(0, MAX_DOING).flatMap((epoch) => {
    const attempt = state.attempts.get(epoch);
    const stage = attempt && state.stages.get(attempt.stage);
    const job = stage && state.jobs.get(stage.jobId);
    if (!attempt || !stage || !job || attempt.canceled) return [];
    const { peer, logSlowness } = session;
    const { workClass, family } = stage;
    const speed = estimateSpeed(state.estimates, { workClass, family, peer, logSlowness, at: now });
    const { start, end, cursor, why, assignedAt } = attempt;
    return {
      ...{ job: job.id, jobName: job.spec.name, stage: stage.spec.name, start, end, cursor, why },
      elapsedMs: Math.max(0, now - assignedAt),
      ...(speed && { itemsPerSecond: 1_000 / speed.msPerItem }),
    };
  });
}

type PeerDoing = NonNullable<PeerView['session']>['doing'][number];

export function toLedgerView(context: ViewContext): LedgerView {
  const rows = [...context.state.ledger.values()].map((row) => ({
    week: new Date(row.week).toISOString().slice(0, 10),
    row: {
      ...{ peer: row.peer, peerName: nameOf(context, row.peer) },
      ...{ submitter: row.submitter, submitterName: nameOf(context, row.submitter) },
      ...{ deviceSeconds: row.deviceMs / 1_000, normalisedSeconds: row.normalisedMs / 1_000, items: row.items },
    },
  }));
  const weeks = [...Map.groupBy(rows, ({ week }) => week)].sort(([a], [b]) => (a < b ? 1 : -1));
  return {
    weeks: weeks.map(([week, ofWeek]) => ({
      week,
      rows: ofWeek.map(({ row }) => row).sort((a, b) => b.deviceSeconds - a.deviceSeconds),
    })),
  };
}

export function toJobSummary(context: ViewContext, job: JobRecord): JobSummary {
  const { status } = job;
  const reason = toReason(context, job);
  return {
    id: job.id,
    name: job.spec.name,
    submitter: job.submitter,
    submitterName: nameOf(context, job.submitter),
    submittedAt: job.submittedAt,
    ...(isEnded(status) && 'at' in status && { endedAt: status.at }),
    priority: job.priority,
    status: status.kind,
    ...(reason !== undefined && { reason }),
    items: sumItems(
      listStages(context.state, job).filter(({ spec }) => spec.items.kind !== 'parts'),
      context.state,
    ),
  };
}

export function toJobDetail(context: ViewContext, job: JobRecord, rates: Rates | undefined): JobDetail {
  const summary = toJobSummary(context, job);
  const itemsPerSecond = isEnded(job.status) ? undefined : rates?.total;
  const eta = forecast(context.state, job.id, context.now);
  return {
    ...summary,
    stages: listStages(context.state, job).map((stage) => toStageView(context, stage)),
    workers: toWorkers(context, job, rates),
    ...(itemsPerSecond !== undefined && { itemsPerSecond }),
    ...(eta && { eta }),
  };
}

function toStageView(context: ViewContext, stage: Stage): JobDetail['stages'][number] {
  return {
    name: stage.spec.name,
    workload: stage.spec.workload,
    status: stage.record.status.kind,
    needs: [...stage.spec.needs],
    items: sumItems([stage], context.state),
    runningTasks: stage.running.size,
    retries: stage.retries.size,
    parts: stage.parts.size,
    refusals: [...stage.refusals].map(([peer, reason]) => ({ peer, name: nameOf(context, peer), reason })),
  };
}

function toWorkers(context: ViewContext, job: JobRecord, rates: Rates | undefined): JobDetail['workers'] {
  const done = countDone(context.state, job);
  const running = countRunning(context.state, job);
  const peers = [...new Set([...done.keys(), ...running.keys()])].sort();
  return peers.map((peer) => {
    const itemsPerSecond = isEnded(job.status) ? undefined : rates?.byPeer.get(peer);
    return {
      peer,
      name: nameOf(context, peer),
      doneItems: done.get(peer) ?? 0,
      runningTasks: running.get(peer) ?? 0,
      ...(itemsPerSecond !== undefined && { itemsPerSecond }),
    };
  });
}

function countRunning(state: State, job: JobRecord): Map<PeerId, number> {
  const running = new Map<PeerId, number>();
  for (const stage of listStages(state, job))
    for (const epoch of stage.running) {
      const peer = state.attempts.get(epoch)?.peer;
      if (peer) running.set(peer, (running.get(peer) ?? 0) + 1);
    }
  return running;
}

function sumItems(stages: readonly Stage[], state: State): JobSummary['items'] {
  let [total, done, failed] = [0, 0, 0];
  for (const stage of stages) {
    total += stage.itemCount;
    done += stage.finished.size;
    failed += stage.failures.size;
    for (const epoch of stage.running) {
      const attempt = state.attempts.get(epoch);
      if (attempt && !attempt.canceled) done += attempt.cursor - attempt.start;
    }
  }
  return { total, done: Math.min(done, total - failed), failed };
}

function toReason(context: ViewContext, { status }: JobRecord): string | undefined {
  // The core puts words before the last reason of a peer, which may have the full length itself.
  if (status.kind === 'failed') return status.reason.slice(0, MAX_REASON_CHARS);
  if (status.kind === 'paused') return `paused by ${nameOf(context, status.by)}`;
  if (status.kind === 'canceled') return `canceled by ${nameOf(context, status.by)}`;
  return undefined;
}

function nameOf({ state, adminKey }: ViewContext, key: KeyId): string {
  return state.members.get(key)?.name ?? (key === adminKey ? 'admin' : 'unknown');
}

/** A job's stages in the order of its spec. */
export function listStages(state: State, job: JobRecord): Stage[] {
  return job.spec.stages.flatMap(({ name }) => state.stages.get(toStageId(job.id, name)) ?? []);
}

/** Jobs, the newest first. */
export function listJobs(state: State): JobRecord[] {
  return [...state.jobs.values()].sort((a, b) => b.submittedAt - a.submittedAt || (a.id < b.id ? -1 : 1));
}

const sortedParts = new WeakMap<Stage, { size: number; parts: PartRecord[] }>();

/** A page of a stage's parts in item order. Sorted once for as long as none is added. */
export function pageParts(stage: Stage, from: number, limit: number): { parts: PartView[]; next?: number } {
  let sorted = sortedParts.get(stage);
  if (sorted?.size !== stage.parts.size) {
    sorted = { size: stage.parts.size, parts: [...stage.parts.values()].sort((a, b) => a.start - b.start) };
    sortedParts.set(stage, sorted);
  }
  const first = sorted.parts.findIndex((part) => part.start >= from);
  const page = first < 0 ? [] : sorted.parts.slice(first, first + limit);
  const next = first < 0 ? undefined : sorted.parts[first + limit]?.start;
  const parts = page.map(({ start, end, peer, part, inline }) => ({
    start,
    end,
    peer,
    ...(part && { part }),
    ...(inline !== undefined && { inline }),
  }));
  return next === undefined ? { parts } : { parts, next };
}

/** A page of a job's failed items; `from` counts failures, not items. */
export function pageFailures(
  state: State,
  job: JobRecord,
  from: number,
  limit: number,
): { failures: FailureView[]; next?: number } {
  const all = listStages(state, job).flatMap((stage) =>
    [...stage.failures.values()]
      .sort((a, b) => a.item - b.item)
      .map(({ item, tries, reason }) => ({ stage: stage.spec.name, item, tries, reason })),
  );
  const failures = all.slice(from, from + limit);
  return from + limit < all.length ? { failures, next: from + limit } : { failures };
}
