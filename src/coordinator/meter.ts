// Owns how fast jobs go: samples of the items done by each peer over the last seconds. For people only; nothing is
// decided by it.

import type { JobRecord, State } from '../core/state.ts';
import { toStageId, type JobId, type PeerId } from '../lib/ids.ts';

const SAMPLE_EVERY_MS = 1_000;
/** Heartbeats carry cursors every few seconds; a shorter window would jump. */
const WINDOW_MS = 15_000;

type Sample = { readonly at: number; readonly done: ReadonlyMap<PeerId, number> };

/** Items per second, by peer and together. */
export type Rates = { readonly byPeer: ReadonlyMap<PeerId, number>; readonly total: number };

export class Meter {
  readonly #samples = new Map<JobId, Sample[]>();
  #sampledAt = -Infinity;

  /** Takes samples of running jobs when it is time; cheap to call often. */
  sample(state: State, at: number): void {
    if (at - this.#sampledAt < SAMPLE_EVERY_MS) return;
    this.#sampledAt = at;
    for (const job of state.jobs.values()) {
      if (job.status.kind !== 'running') this.#samples.delete(job.id);
      else if (isMapping(state, job)) this.#add(job, { at, done: countDone(state, job) });
    }
  }

  /** Undefined until two samples are far enough apart. */
  ratesOf(job: JobId): Rates | undefined {
    const samples = this.#samples.get(job) ?? [];
    const [first, last] = [samples[0], samples.at(-1)];
    if (!first || !last || last.at <= first.at) return undefined;
    const seconds = (last.at - first.at) / 1_000;
    const byPeer = new Map<PeerId, number>();
    let total = 0;
    for (const [peer, done] of last.done) {
      const rate = Math.max(0, done - (first.done.get(peer) ?? 0)) / seconds;
      byPeer.set(peer, rate);
      total += rate;
    }
    return { byPeer, total };
  }

  #add(job: JobRecord, sample: Sample): void {
    const samples = this.#samples.get(job.id) ?? [];
    samples.push(sample);
    while (samples.length > 2 && sample.at - (samples[1]?.at ?? 0) > WINDOW_MS) samples.shift();
    this.#samples.set(job.id, samples);
  }
}

/** While only steps over parts are left, the last speed of the items stands. */
function isMapping(state: State, job: JobRecord): boolean {
  return job.spec.stages.some(({ name, items }) => {
    const status = state.stages.get(toStageId(job.id, name))?.record.status.kind;
    return items.kind !== 'parts' && status !== 'finished';
  });
}

/** Items that each peer has done for a job: accepted ones, and those its running attempts have passed. */
export function countDone(state: State, job: JobRecord): Map<PeerId, number> {
  const done = new Map<PeerId, number>();
  const add = (peer: PeerId, items: number) => done.set(peer, (done.get(peer) ?? 0) + items);
  for (const { name, items } of job.spec.stages) {
    const stage = state.stages.get(toStageId(job.id, name));
    if (!stage || items.kind === 'parts') continue;
    for (const [peer, accepted] of stage.doneBy) add(peer, accepted);
    for (const epoch of stage.running) {
      const attempt = state.attempts.get(epoch);
      if (attempt && !attempt.canceled) add(attempt.peer, attempt.cursor - attempt.start);
    }
  }
  return done;
}
