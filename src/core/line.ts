// Owns the lines in which running stages wait for peers: one a submitter, ordered by priority, deadline, age and the
// work that waits behind a stage. Kept up to date as stages start and end, so that no plan sorts all jobs. Which line is
// served next is the scheduler's to say.

import { toStageId } from '../lib/ids.ts';
import type { JobRecord, Stage, State } from './state.ts';

/** What a stage is ordered by; fixed while it stands in line. */
export type LineEntry = {
  readonly stage: Stage;
  readonly priority: number;
  readonly deadlineAt: number;
  readonly submittedAt: number;
  /** Items of this stage and of the longest way to the job's end behind it: the upward rank, in items. */
  readonly rank: number;
};

export type Line = LineEntry[];

/** Puts a job's running stages into line, or takes them out, as its status says. */
export function lineUpJob(state: State, job: JobRecord): void {
  for (const { name } of job.spec.stages) {
    const stage = state.stages.get(toStageId(job.id, name));
    if (!stage) continue;
    leaveLine(state, job, stage);
    if (job.status.kind === 'running' && stage.record.status.kind === 'running') enterLine(state, job, stage);
  }
}

function enterLine(state: State, job: JobRecord, stage: Stage): void {
  const { priority, submittedAt, spec } = job;
  const entry: LineEntry = {
    stage,
    priority,
    submittedAt,
    deadlineAt: spec.deadlineAt ?? Infinity,
    rank: upwardRank(state, job, stage),
  };
  const line = state.lines.get(job.submitter) ?? [];
  line.splice(placeOf(line, entry), 0, entry);
  state.lines.set(job.submitter, line);
  stage.line = entry;
}

function leaveLine(state: State, job: JobRecord, stage: Stage): void {
  const line = state.lines.get(job.submitter);
  if (!stage.line || !line) return;
  line.splice(placeOf(line, stage.line), 1);
  stage.line = undefined;
  if (line.length === 0) state.lines.delete(job.submitter);
}

/** Where the entry stands or belongs. */
function placeOf(line: Line, entry: LineEntry): number {
  let [low, high] = [0, line.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = line[middle];
    if (other && compare(other, entry) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function compare(a: LineEntry, b: LineEntry): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  if (a.deadlineAt !== b.deadlineAt) return a.deadlineAt - b.deadlineAt;
  if (a.submittedAt !== b.submittedAt) return a.submittedAt - b.submittedAt;
  if (a.stage.jobId !== b.stage.jobId) return a.stage.jobId < b.stage.jobId ? -1 : 1;
  if (a.rank !== b.rank) return b.rank - a.rank;
  return a.stage.id < b.stage.id ? -1 : a.stage.id > b.stage.id ? 1 : 0;
}

/** As in HEFT (Topcuoglu, Hariri and Wu 2002), with items for a measure: speeds of stages ahead may not be known. */
function upwardRank(state: State, job: JobRecord, stage: Stage): number {
  const ranks = new Map<string, number>();
  for (const { name } of job.spec.stages.toReversed()) {
    const behind = job.spec.stages.filter(({ needs }) => needs.includes(name));
    const longest = Math.max(0, ...behind.map((next) => ranks.get(next.name) ?? 0));
    ranks.set(name, longest + (state.stages.get(toStageId(job.id, name))?.itemCount ?? 1));
  }
  return ranks.get(stage.spec.name) ?? 0;
}
