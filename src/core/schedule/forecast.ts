// Owns when a job will end, as a distribution. A fluid model says how long the rest takes: what waits before it in line,
// its submitter's share, the speed of all peers that can run it, and the stages that wait for others. How wrong such
// predictions were before says how wide the band is (split conformal prediction, Papadopoulos et al. 2002). Knows no
// rule of placement.

import { toStageId, type JobId, type KeyId } from '../../lib/ids.ts';
import type { JobRecord, Stage, State } from '../state.ts';
import { checkFeasible } from './feasible.ts';
import { toView, type StageView, type View } from './view.ts';

/** Times from now. Half of such jobs end within p50, nine in ten within p90. */
export type Forecast = { readonly p50Ms: number; readonly p90Ms: number };

/** Durable: how predictions went, as ln(real / predicted), the newest last; and those that still run. */
export type ForecastRecord = { readonly id: 'errors'; readonly errors: readonly number[] };

/** A prediction that is still to come true. */
export type Prediction = { readonly at: number; readonly ms: number };

const MAX_ERRORS = 200;
/** Stand for what is not known yet: predictions are a little short, and off by a factor of 1.5 or so. */
const PRIOR_ERRORS: readonly number[] = [-0.4, -0.2, -0.1, 0, 0.05, 0.1, 0.15, 0.25, 0.4, 0.7];
/** Predictions are judged that were made when so much of a job was done: before that hardly anything is known. */
const JUDGED_FROM = 0.1;
/** The band is never narrower than this. */
const LEAST_BAND = 1.05;

/** Undefined for what has ended or is paused, and while nobody knows how fast it goes. */
export function forecast(state: State, jobId: JobId, at: number): Forecast | undefined {
  const job = state.jobs.get(jobId);
  const rawMs = job && predictMs(state, job, at);
  if (rawMs === undefined) return undefined;
  const errors = [...PRIOR_ERRORS, ...state.forecastErrors].sort((a, b) => a - b);
  const p50Ms = rawMs * Math.exp(quantile(errors, 0.5));
  return { p50Ms, p90Ms: Math.max(p50Ms * LEAST_BAND, rawMs * Math.exp(quantile(errors, 0.9))) };
}

/** The prediction to be judged at the end of a job, made once, when a part of it is done. */
export function notePrediction(state: State, job: JobRecord, at: number): void {
  if (state.predictions.has(job.id) || doneShare(state, job) < JUDGED_FROM) return;
  const ms = predictMs(state, job, at);
  if (ms !== undefined) state.predictions.set(job.id, { at, ms });
}

/** Judges the prediction of a job that has ended; the errors to be kept, or undefined when there was none. */
export function judgePrediction(state: State, job: JobRecord, at: number): ForecastRecord | undefined {
  const prediction = state.predictions.get(job.id);
  state.predictions.delete(job.id);
  // A canceled or paused job says nothing about how long jobs take.
  if (!prediction || prediction.ms <= 0 || job.status.kind !== 'completed' || at <= prediction.at) return undefined;
  const error = Math.log((at - prediction.at) / prediction.ms);
  state.forecastErrors = [...state.forecastErrors, error].slice(-MAX_ERRORS);
  return { id: 'errors', errors: state.forecastErrors };
}

function doneShare(state: State, job: JobRecord): number {
  let [done, total] = [0, 0];
  for (const stage of stagesOf(state, job)) {
    done += stage.finished.size + stage.failures.size;
    total += stage.itemCount;
  }
  return done / Math.max(1, total);
}

/** The fluid model: ms from now until the last stage is through. */
function predictMs(state: State, job: JobRecord, at: number): number | undefined {
  if (job.status.kind !== 'running') return undefined;
  const view = toView(state, at);
  const share = shareOfLine(view, job.submitter);
  const paces = new Paces(view);
  const aheadMs = waitInLine(state, paces, job, share);
  const ends = new Map<string, number>();
  for (const stage of stagesOf(state, job)) {
    const { spec, record } = stage;
    const startMs = Math.max(0, ...spec.needs.map((need) => ends.get(need) ?? 0));
    if (record.status.kind === 'finished') {
      ends.set(spec.name, 0);
      continue;
    }
    const restMs = stageMs(paces, view.stageOf(stage), leftItems(state, stage), share);
    // Of a stage that waits nothing may be known yet; of one that runs something soon will be.
    if (restMs === undefined && record.status.kind === 'running') return undefined;
    const waitMs = record.status.kind === 'running' ? aheadMs : 0;
    ends.set(spec.name, startMs + waitMs + (restMs ?? 0));
  }
  return Math.max(...ends.values());
}

function stagesOf(state: State, job: JobRecord): Stage[] {
  return job.spec.stages.flatMap(({ name }) => state.stages.get(toStageId(job.id, name)) ?? []);
}

/** Items without a result, the ones that running attempts have passed not counted. */
function leftItems(state: State, stage: Stage): number {
  let left = stage.itemCount - stage.finished.size - stage.failures.size;
  for (const epoch of stage.running) {
    const attempt = state.attempts.get(epoch);
    if (attempt && attempt.why !== 'backup') left -= attempt.cursor - attempt.start;
  }
  return Math.max(0, left);
}

/** The part of the fleet that a submitter gets while others wait too. */
function shareOfLine(view: View, submitter: KeyId): number {
  const all = view.lines.reduce((sum, { weight }) => sum + weight, 0);
  const own = view.lines.find((line) => line.submitter === submitter)?.weight ?? 1;
  return all > 0 ? Math.min(1, own / all) : 1;
}

/** What the same submitter's jobs take that stand before this one. */
function waitInLine(state: State, paces: Paces, job: JobRecord, share: number): number {
  let waitMs = 0;
  for (const { stage } of state.lines.get(job.submitter)?.entries ?? []) {
    if (stage.jobId === job.id) break;
    waitMs += stageMs(paces, paces.view.stageOf(stage), leftItems(state, stage), share) ?? 0;
  }
  return waitMs;
}

/** All peers that can run it together; but no item is divided, and the fastest has to do at least one. */
function stageMs(paces: Paces, stage: StageView, items: number, share: number): number | undefined {
  const { itemsPerMs, fastestMs } = paces.of(stage);
  if (itemsPerMs === 0) return undefined;
  return items === 0 ? 0 : Math.max(items / itemsPerMs / share, fastestMs);
}

type Pace = { readonly itemsPerMs: number; readonly fastestMs: number };

/** How fast all peers together are at stages, worked out once for those that the same peers run at the same speeds. */
class Paces {
  readonly view: View;
  readonly #byFleet = new Map<string, Pace>();

  constructor(view: View) {
    this.view = view;
  }

  of(stage: StageView): Pace {
    const known = this.#byFleet.get(stage.fleet) ?? paceOf(this.view, stage);
    this.#byFleet.set(stage.fleet, known);
    return known;
  }
}

function paceOf({ peers }: View, stage: StageView): Pace {
  let [itemsPerMs, fastestMs] = [0, Infinity];
  for (const peer of peers) {
    const speed = checkFeasible(stage, peer) ? undefined : stage.speedOf(peer.id);
    if (!speed) continue;
    itemsPerMs += 1 / speed.msPerItem;
    fastestMs = Math.min(fastestMs, speed.msPerItem + stage.setupMs(peer.id));
  }
  return { itemsPerMs, fastestMs };
}

/** Of sorted values, as split conformal prediction takes it: the ceiling of (n + 1) q. */
function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length, Math.ceil((sorted.length + 1) * q)) - 1] ?? 0;
}
