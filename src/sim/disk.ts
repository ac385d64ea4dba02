// Owns the simulated disk of the coordinator: commits take time, sometimes long, may fail, and a crash keeps a prefix of
// those under way. A transaction is there wholly or not at all, as SQLite's log has it: a torn write is one that is not.
// One whose fsync failed may be there all the same. What was acknowledged is always kept.

import type { Change, StoredRecord } from '../core/change.ts';
import type { Prng } from '../lib/prng.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { VirtualClock } from './virtual-clock.ts';

type Pending = {
  readonly changes: readonly Change[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
};

const COMMIT_MS = 4;
const SLOW_COMMIT_MS = 400;

export class SimulatedDisk {
  readonly #records = new Map<string, StoredRecord>();
  readonly #clock: VirtualClock;
  readonly #prng: Prng;
  #pending: Pending[] = [];
  #incarnation = 0;
  #slowUntilMs = 0;
  /** Chance that a commit fails, as on a full disk or by its fsync; set to 0 in the liveness phase. */
  failureChance = 0;
  commits = 0;

  constructor(clock: VirtualClock, prng: Prng) {
    this.#clock = clock;
    this.#prng = prng;
  }

  /** Written durably at each start, before anything else. */
  nextIncarnation(): number {
    return ++this.#incarnation;
  }

  /** True when no commit is under way. */
  get isQuiet(): boolean {
    return this.#pending.length === 0;
  }

  records(): StoredRecord[] {
    return [...this.#records.values()];
  }

  /** Commits become durable in order. */
  commit(changes: readonly Change[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const pending = { changes, resolve, reject };
      const meanMs = this.#clock.elapsedMs < this.#slowUntilMs ? SLOW_COMMIT_MS : COMMIT_MS;
      this.#pending.push(pending);
      this.#clock.after(this.#prng.exponential(meanMs), () => this.#finishUpTo(pending));
    });
  }

  /** For a while every commit takes long: a card that tidies up. */
  slowDown(durationMs: number): void {
    this.#slowUntilMs = this.#clock.elapsedMs + durationMs;
  }

  /** The machine stops: of the commits under way, the first few may have reached the disk. */
  crash(): void {
    const kept = this.#prng.int(0, this.#pending.length);
    for (const { changes } of this.#pending.slice(0, kept)) this.#apply(changes);
    this.#pending = [];
  }

  #finishUpTo(last: Pending): void {
    const count = this.#pending.indexOf(last) + 1;
    for (const { changes, resolve, reject } of this.#pending.splice(0, count)) {
      if (this.#prng.chance(this.failureChance)) {
        this.#pending = [];
        if (this.#prng.chance(0.5)) this.#apply(changes);
        return reject(new SwarmError('disk-full', 'the simulated disk is full'));
      }
      this.#apply(changes);
      resolve();
    }
  }

  #apply(changes: readonly Change[]): void {
    this.commits++;
    for (const change of changes) {
      if (change.op === 'put') this.#records.set(`${change.record.kind} ${change.record.id}`, copy(change.record));
      else this.#records.delete(`${change.kind} ${change.id}`);
    }
  }
}

/** As a real store would: what is loaded shares nothing with what was written. */
function copy(record: StoredRecord): StoredRecord {
  return JSON.parse(JSON.stringify(record)) as StoredRecord;
}
