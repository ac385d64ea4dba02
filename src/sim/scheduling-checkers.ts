// Owns checks of what the scheduler promises beyond the invariants: nobody who shares is left without, and what is
// believed of a peer's speed follows what the peer shows. Kept apart from the scheduler's own books on purpose.

import type { Effect } from '../core/effect.ts';
import type { Event } from '../core/event.ts';
import { checkFeasible } from '../core/schedule/feasible.ts';
import { toView } from '../core/schedule/view.ts';
import type { Attempt, Stage, State } from '../core/state.ts';
import type { TraceEntry } from '../core/trace.ts';
import type { Epoch, KeyId, PeerId } from '../lib/ids.ts';

/** Times in a row that somebody was passed over by a peer that could have served them… */
const PASSED_OVER = 25;
/** …while the others had so many times as much, and so much more: weights and long tasks explain a good deal. */
const SHARE_FACTOR = 6;
const SHARE_SLACK_MS = 15_000;

/** What a peer showed of late, all alike, and what is still believed after it. */
const SHOWN = 12;
const ALIKE = 3;
const FAR_OFF = 4;

type Started = Extract<TraceEntry, { kind: 'started' }>;

export class SchedulingCheckers {
  readonly #servedMs = new Map<KeyId, number>();
  readonly #passedOver = new Map<KeyId, number>();
  /** ln(ms per item) by class of work and peer. */
  readonly #shown = new Map<string, number[]>();

  /** Before a step: what its reports are about is gone afterwards. */
  attemptsOf(state: State, event: Event): ReadonlyMap<Epoch, Attempt> {
    const reports = event.kind === 'reported' ? event.reports : [];
    return new Map(
      reports.flatMap(({ epoch }) => {
        const attempt = state.attempts.get(epoch);
        return attempt ? [[epoch, attempt]] : [];
      }),
    );
  }

  /** After it. Returns what is violated. */
  check(state: State, event: Event, effects: readonly Effect[], before: ReadonlyMap<Epoch, Attempt>): string[] {
    if (event.kind === 'reported') return this.#checkReports(state, event, before);
    return event.kind === 'schedule' ? this.#checkStarts(state, event.at, effects) : [];
  }

  #checkStarts(state: State, at: number, effects: readonly Effect[]): string[] {
    const starts = effects.flatMap((effect) =>
      effect.kind === 'trace' && effect.entry.kind === 'started' && effect.entry.why === 'fresh' ? effect.entry : [],
    );
    if (starts.length === 0) return [];
    for (const { stage } of starts) this.#passedOver.delete(submitterOf(state, stage));
    return starts.flatMap((started) => this.#checkPassedOver(state, at, started));
  }

  #checkPassedOver(state: State, at: number, { peer, stage }: Started): string[] {
    const served = submitterOf(state, stage);
    if (![...state.lines.keys()].some((other) => other !== served)) return [];
    const view = toView(state, at);
    const server = view.peers.find(({ id }) => id === peer);
    if (!server) return [];
    for (const { submitter, stages } of view.lines) {
      if (submitter === served) continue;
      const waits = [...stages].some((waiting) => waiting.pendingItems > 0 && !checkFeasible(waiting, server));
      if (!waits) {
        this.#passedOver.delete(submitter);
        continue;
      }
      const times = (this.#passedOver.get(submitter) ?? 0) + 1;
      this.#passedOver.set(submitter, times);
      const [own, others] = [this.#servedMs.get(submitter) ?? 0, this.#servedMs.get(served) ?? 0];
      if (times >= PASSED_OVER && others > SHARE_FACTOR * own + SHARE_SLACK_MS)
        return [
          `fair share: ${submitter} was passed over ${times} times with ${Math.round(own)} ms of device time, while ${served} has had ${Math.round(others)} ms`,
        ];
    }
    return [];
  }

  #checkReports(
    state: State,
    { reports, peer, at }: Extract<Event, { kind: 'reported' }>,
    before: ReadonlyMap<Epoch, Attempt>,
  ): string[] {
    const violations: string[] = [];
    for (const { epoch, outcome } of reports) {
      const attempt = before.get(epoch);
      const stage = attempt && state.stages.get(attempt.stage);
      const job = stage && state.jobs.get(stage.jobId);
      if (!attempt || !stage || !job || outcome.kind !== 'done' || attempt.canceled) continue;
      const ms = Math.min(outcome.durationMs, at - attempt.assignedAt);
      this.#servedMs.set(job.submitter, (this.#servedMs.get(job.submitter) ?? 0) + ms);
      const end = outcome.end ?? attempt.end;
      if (end > attempt.start) violations.push(...this.#checkSpeed(state, stage, peer, ms / (end - attempt.start)));
    }
    return violations;
  }

  #checkSpeed(state: State, { workClass }: Stage, peer: PeerId, msPerItem: number): string[] {
    const key = `${workClass} ${peer}`;
    const shown = [...(this.#shown.get(key) ?? []), Math.log(Math.max(msPerItem, 0.001))].slice(-SHOWN);
    this.#shown.set(key, shown);
    const believed = state.estimates.pairs.get(workClass)?.get(peer)?.mean;
    const [least, most] = [Math.min(...shown), Math.max(...shown)];
    if (shown.length < SHOWN || believed === undefined || most - least > Math.log(ALIKE)) return [];
    const middle = (least + most) / 2;
    if (Math.abs(believed - middle) <= Math.log(FAR_OFF)) return [];
    return [
      `estimate: ${peer} has needed about ${Math.exp(middle).toFixed(1)} ms an item ${SHOWN} times, and ${Math.exp(believed).toFixed(1)} ms are believed`,
    ];
  }
}

function submitterOf(state: State, stage: Started['stage']): KeyId {
  const job = state.stages.get(stage)?.jobId;
  return (job && state.jobs.get(job)?.submitter) ?? ('' as KeyId);
}
