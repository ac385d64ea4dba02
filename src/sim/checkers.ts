// Owns what a run must never violate: the invariants of the design, checked after every step, at every restart and at
// the end. Each violation is a line that begins with the invariant's name.

import type { Effect } from '../core/effect.ts';
import type { Event } from '../core/event.ts';
import type { StoredRecord } from '../core/change.ts';
import { checkInvariants, checkNothingIdle } from '../core/invariants.ts';
import { durableRecords } from '../core/recover.ts';
import type { Attempt, JobStatus, State } from '../core/state.ts';
import type { Epoch, JobId, KeyId, PeerId, StageId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import { RangeSet } from '../lib/range-set.ts';
import { ClientHistory } from './client-history.ts';
import { SchedulingCheckers } from './scheduling-checkers.ts';

export class Violation extends Error {
  override readonly name = 'Violation';
}

export class Checkers {
  /** What callers and agents were told is durable (INV-4). */
  readonly #submitted = new Set<JobId>();
  readonly #canceled = new Set<JobId>();
  readonly #accepted = new Map<StageId, RangeSet>();
  readonly #toldToStop = new Set<Epoch>();
  readonly #heardAt = new Map<PeerId, number>();
  readonly #history = new ClientHistory();
  readonly #scheduling = new SchedulingCheckers();
  #finishedAtStart = 0;
  steps = 0;

  /** Before every step: what it is about may be gone afterwards. */
  before(state: State, event: Event): ReadonlyMap<Epoch, Attempt> {
    return this.#scheduling.attemptsOf(state, event);
  }

  /** After every step. INV-7 is checked when work has just been handed out. */
  onStepped(state: State, event: Event, effects: readonly Effect[], before: ReadonlyMap<Epoch, Attempt>): void {
    this.steps++;
    this.#checkToldToStop(state, effects);
    this.#checkLeases(state, event);
    this.#fail(checkInvariants(state));
    if (countFinished(state) !== this.#finishedAtStart + state.counters.accepted)
      throw new Violation(
        `INV-1: ${state.counters.accepted} items were accepted since the start, ${countFinished(state) - this.#finishedAtStart} are finished`,
      );
    if (event.kind === 'schedule') this.#fail(checkNothingIdle(state, event.at));
    this.#fail(this.#scheduling.check(state, event, effects, before));
  }

  /** INV-8: whoever is within reach and holds what is canceled has been told; the others are told when they come back. */
  #checkToldToStop(state: State, effects: readonly Effect[]): void {
    for (const effect of effects)
      if (effect.kind === 'send' && effect.message.type === 'cancel')
        for (const epoch of effect.message.epochs) this.#toldToStop.add(epoch);
    for (const attempt of state.attempts.values())
      if (attempt.canceled && state.sessions.get(attempt.peer)?.connected && !this.#toldToStop.has(attempt.epoch))
        throw new Violation(
          `INV-8: ${attempt.peer} goes on with ${attempt.epoch}, which is canceled, and was not told`,
        );
  }

  /** Whoever has not been heard for a lease, by what came over its link, holds nothing after a tick. */
  #checkLeases(state: State, event: Event): void {
    if ('link' in event && state.sessions.get(event.peer)?.link === event.link && event.kind !== 'link-closed')
      this.#heardAt.set(event.peer, event.at);
    if (event.kind !== 'tick') return;
    for (const { peer } of state.sessions.values()) {
      const silentMs = event.at - (this.#heardAt.get(peer) ?? event.at);
      if (silentMs > state.limits.leaseMs)
        throw new Violation(`lease: ${peer} has been silent for ${Math.round(silentMs)} ms and keeps what it holds`);
    }
  }

  /** A moment in the clients' lives. */
  get moment(): number {
    return this.#history.moment;
  }

  /** A client that asked at a moment was told of a job's status. */
  onStatusSeen(job: JobId, status: JobStatus | undefined, askedAt: number): void {
    const violation = this.#history.take(job, status, askedAt);
    if (violation !== undefined) throw new Violation(`linearizability: ${violation}`);
  }

  onSubmitAcknowledged(job: JobId): void {
    this.#submitted.add(job);
    this.#history.noteSubmitted(job);
  }

  onCancelAcknowledged(job: JobId): void {
    this.#canceled.add(job);
    this.onStatusSeen(job, { kind: 'canceled', at: 0, by: '' as KeyId }, this.moment);
  }

  /** An agent was told that its result is durable and has forgotten it. */
  onResultAcknowledged(stage: StageId, range: Range): void {
    const ranges = this.#accepted.get(stage) ?? new RangeSet();
    ranges.add(range);
    this.#accepted.set(stage, ranges);
  }

  /** INV-5: only specs that passed the agent's own check are run. */
  onRun(peer: PeerId, job: JobId, accepted: boolean): void {
    if (!accepted) throw new Violation(`INV-5: ${peer} runs job ${job}, whose spec it has not accepted`);
  }

  /** INV-4 and INV-9, whenever a coordinator has just recovered. */
  onRecovered(state: State, stored: readonly StoredRecord[]): void {
    this.checkStore(state, stored);
    this.#finishedAtStart = countFinished(state) - state.counters.accepted;
    for (const job of this.#submitted)
      if (!state.jobs.has(job)) throw new Violation(`INV-4: the submission of ${job} was acknowledged and is gone`);
    for (const job of this.#canceled)
      if (state.jobs.get(job)?.status.kind !== 'canceled')
        throw new Violation(`INV-4: the cancel of ${job} was acknowledged and is gone`);
    this.#checkResults(state);
  }

  /** INV-9: what the store holds is what the state says, and nothing else. */
  checkStore(state: State, stored: readonly StoredRecord[]): void {
    const expected = [...durableRecords(state)].map(toLine).sort();
    const actual = stored.map(toLine).sort();
    const missing = expected.find((line, i) => line !== actual[i]);
    if (missing !== undefined || actual.length !== expected.length)
      throw new Violation(
        `INV-9: store and state differ: the state has ${expected.length} records, the store ${actual.length}; first: ${missing}`,
      );
  }

  #checkResults(state: State): void {
    for (const [stageId, ranges] of this.#accepted) {
      const stage = state.stages.get(stageId);
      for (const range of ranges)
        if (!stage?.finished.covers(range))
          throw new Violation(
            `INV-4: the result [${range.start}, ${range.end}) of ${stageId} was acknowledged and is gone`,
          );
    }
  }

  #fail(violations: readonly string[]): void {
    if (violations.length > 0) throw new Violation(violations.join('; '));
  }
}

function countFinished(state: State): number {
  let finished = 0;
  for (const stage of state.stages.values()) finished += stage.finished.size;
  return finished;
}

function toLine(record: StoredRecord): string {
  return `${record.kind} ${record.id} ${record.version} ${canonicalText(record.value)}`;
}

/** JSON with sorted keys: records that differ in key order are equal. */
function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
