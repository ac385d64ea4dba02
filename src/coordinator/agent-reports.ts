// Owns the reports of one link on their way to the core: those with a part wait until it was checked, in the order in
// which they came. Reports without parts, when none waits, go on at once.

import type { PeerId } from '../lib/ids.ts';
import { MAX_BACKLOG, type Report } from '../protocol/to-coordinator.ts';
import type { Engine } from './engine.ts';
import type { PartCheck } from './part-check.ts';

/** Reports that wait for their parts to be checked: an agent holds no more than a backlog that is not acknowledged. */
const MAX_WAITING = 2 * MAX_BACKLOG;

export class AgentReports {
  readonly #peer: PeerId;
  readonly #link: number;
  readonly #engine: Engine;
  readonly #partCheck: PartCheck;
  readonly #onOverload: () => void;
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(peer: PeerId, link: number, engine: Engine, partCheck: PartCheck, onOverload: () => void) {
    this.#peer = peer;
    this.#link = link;
    this.#engine = engine;
    this.#partCheck = partCheck;
    this.#onOverload = onOverload;
  }

  take(reports: readonly Report[]): void {
    if (this.#waiting === 0 && reports.every((report) => !hasPart(report))) return this.#post(reports);
    if (this.#waiting + reports.length > MAX_WAITING) return this.#onOverload();
    this.#waiting += reports.length;
    this.#tail = this.#tail.then(() => this.#check(reports));
  }

  /** Never rejects: what cannot be checked is not accepted. */
  async #check(reports: readonly Report[]): Promise<void> {
    const checked = await Promise.all(
      reports.map(async (report) => (hasPart(report) ? this.#partCheck.check(this.#peer, report) : report)),
    );
    this.#waiting -= reports.length;
    this.#post(checked);
  }

  #post(reports: readonly Report[]): void {
    const { state } = this.#engine;
    const sound = reports.map((report) => refuseMissingPart(state, this.#peer, report));
    if (!this.#engine.post({ kind: 'reported', peer: this.#peer, link: this.#link, reports: sound }))
      this.#onOverload();
  }
}

function hasPart({ outcome }: Report): boolean {
  return outcome.kind === 'done' && outcome.part !== undefined;
}

/** A stage that yields parts accepts no result without one. */
function refuseMissingPart(state: Engine['state'], peer: PeerId, report: Report): Report {
  if (report.outcome.kind !== 'done' || report.outcome.part) return report;
  const attempt = state.attempts.get(report.epoch);
  // Not known now, so nothing may become of it, even if its epoch is given out before the event's turn.
  if (attempt?.peer !== peer) return { epoch: report.epoch, outcome: { kind: 'stopped' } };
  if (state.stages.get(attempt.stage)?.spec.yieldsParts === false) return report;
  return {
    epoch: report.epoch,
    outcome: { kind: 'failed', scope: 'task', reason: 'the result came without its part' },
  };
}
