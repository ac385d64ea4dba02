// Owns the recent past: a bounded ring of attempts, filled by the core's trace, from which pages of what changed are
// read. It begins anew with the coordinator; what counts is in the store.

import type { TraceEntry } from '../core/trace.ts';
import type { Epoch, JobId, StageId } from '../lib/ids.ts';
import type { AttemptView, TimelineView } from '../protocol/views.ts';

/** So many attempts are kept: a few MB, and as many as a screen can show. */
export const TIMELINE_ATTEMPTS = 10_000;

type Started = Extract<TraceEntry, { kind: 'started' }>;
type Ended = Extract<TraceEntry, { kind: 'ended' }>;

/** An attempt as far as it has come. */
export type TracedAttempt = {
  /** Grows with each change of any attempt. */
  seq: number;
  readonly started: Started;
  /** Where its range ends now: earlier than it did, when the tail was taken back. */
  end: number;
  ended: Ended | undefined;
};

export class Timeline {
  readonly #capacity: number;
  readonly #ring: TracedAttempt[] = [];
  readonly #open = new Map<Epoch, TracedAttempt>();
  readonly #onEnded: (attempt: TracedAttempt) => void;
  #place = 0;
  #seq = 0;

  /** `onEnded` is told each attempt when it is over. Must not throw. */
  constructor(options: { readonly capacity?: number; readonly onEnded?: (attempt: TracedAttempt) => void } = {}) {
    this.#capacity = options.capacity ?? TIMELINE_ATTEMPTS;
    this.#onEnded = options.onEnded ?? (() => undefined);
  }

  note(entry: TraceEntry): void {
    if (entry.kind === 'started') return this.#add(entry);
    const attempt = this.#open.get(entry.epoch);
    if (!attempt) return;
    attempt.seq = ++this.#seq;
    if (entry.kind === 'shrunk') {
      attempt.end = entry.end;
      return;
    }
    attempt.ended = entry;
    this.#open.delete(entry.epoch);
    this.#onEnded(attempt);
  }

  /** Attempts that changed after `from`, the oldest change first; `next` continues. */
  page(from: number, limit: number, job?: JobId): Pick<TimelineView, 'attempts' | 'next'> {
    const changed = this.#ring.filter(
      ({ seq, started }) => seq > from && (job === undefined || started.stage.startsWith(`${job}/`)),
    );
    const attempts = changed.sort((a, b) => a.seq - b.seq).slice(0, limit);
    const isAll = attempts.length === changed.length;
    return { attempts: attempts.map(toAttemptView), next: isAll ? this.#seq : (attempts.at(-1)?.seq ?? from) };
  }

  #add(started: Started): void {
    const attempt: TracedAttempt = { seq: ++this.#seq, started, end: started.end, ended: undefined };
    const oldest = this.#ring[this.#place];
    if (oldest) this.#open.delete(oldest.started.epoch);
    this.#ring[this.#place] = attempt;
    this.#place = (this.#place + 1) % this.#capacity;
    this.#open.set(started.epoch, attempt);
  }
}

function toAttemptView({ started, end, ended }: TracedAttempt): AttemptView {
  const { epoch, peer, start, why, at, expectedMs } = started;
  const { job, stage } = splitStageId(started.stage);
  return {
    ...{ epoch, job, stage, peer, start, end, why, startedAt: at },
    ...(end < started.end && { cutFrom: started.end }),
    ...(expectedMs !== undefined && { expectedMs }),
    ...(ended && { endedAt: ended.at, how: ended.how }),
    ...(ended?.durationMs !== undefined && { durationMs: ended.durationMs }),
    ...(ended?.sizeBytes !== undefined && { sizeBytes: ended.sizeBytes }),
    ...(ended?.reason !== undefined && { reason: ended.reason }),
  };
}

/** The two names that a stage's id is made of. */
export function splitStageId(id: StageId): { readonly job: JobId; readonly stage: string } {
  const slash = id.indexOf('/');
  return { job: id.slice(0, slash) as JobId, stage: id.slice(slash + 1) };
}
