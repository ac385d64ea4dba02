// Owns the lines in which running stages wait for peers: one a submitter, ordered by priority, deadline, age and the
// work that waits behind a stage. Kept up to date as stages start and end, so that no plan sorts all jobs. Which line is
// served next is the scheduler's to say.

import { toStageId } from '../lib/ids.ts';
import { rangeLength, type Range } from '../lib/range-set.ts';
import type { JobRecord, Stage, State } from './state.ts';

/** What a stage is ordered by; fixed while it stands in line. */
export type LineEntry = {
  readonly stage: Stage;
  readonly priority: number;
  readonly deadlineAt: number;
  readonly submittedAt: number;
  /** Items of this stage and of the longest way to the job's end behind it: the upward rank, in items. */
  readonly rank: number;
  readonly tally: ClassTally;
};

/** What one class of work has in a line: how many stages, and how many items that nobody has. */
export type ClassTally = {
  stages: number;
  pending: number;
  /** One of them, to know the work by. */
  readonly sample: Stage;
};

export type Line = {
  readonly entries: LineEntry[];
  readonly classes: Map<string, ClassTally>;
};

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
  const line: Line = state.lines.get(job.submitter) ?? { entries: [], classes: new Map() };
  const tally = line.classes.get(stage.workClass) ?? { stages: 0, pending: 0, sample: stage };
  const entry: LineEntry = {
    stage,
    tally,
    priority,
    submittedAt,
    deadlineAt: spec.deadlineAt ?? Infinity,
    rank: upwardRank(state, job, stage),
  };
  line.entries.splice(placeOf(line, entry), 0, entry);
  tally.stages++;
  tally.pending += stage.pending.size;
  line.classes.set(stage.workClass, tally);
  state.lines.set(job.submitter, line);
  stage.line = entry;
}

function leaveLine(state: State, job: JobRecord, stage: Stage): void {
  const line = state.lines.get(job.submitter);
  if (!stage.line || !line) return;
  line.entries.splice(placeOf(line, stage.line), 1);
  const { tally } = stage.line;
  tally.stages--;
  tally.pending -= stage.pending.size;
  if (tally.stages === 0) line.classes.delete(stage.workClass);
  stage.line = undefined;
  if (line.entries.length === 0) state.lines.delete(job.submitter);
}

/** Puts items back that nobody has any more. */
export function addPending(stage: Stage, range: Range): void {
  const before = stage.pending.size;
  stage.pending.add(range);
  if (stage.line) stage.line.tally.pending += stage.pending.size - before;
}

/** Takes items out that somebody has now. */
export function removePending(stage: Stage, range: Range): void {
  const before = stage.pending.size;
  stage.pending.remove(range);
  if (stage.line) stage.line.tally.pending += stage.pending.size - before;
}

/** Takes up to so many of the first items that nobody has. */
export function takePending(stage: Stage, maxItems: number): Range | undefined {
  const range = stage.pending.takeFirst(maxItems);
  if (range && stage.line) stage.line.tally.pending -= rangeLength(range);
  return range;
}

/** Where the entry stands or belongs. */
function placeOf({ entries }: Line, entry: LineEntry): number {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = entries[middle];
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
