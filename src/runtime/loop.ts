// Owns the one loop: events are gathered into bounded batches, stepped, committed as one transaction, and only then are
// their effects released. Nothing leaves the process before it is durable. Shared by coordinator, agent and simulator;
// knows nothing of what events, changes and effects mean.

import type { Change } from '../core/change.ts';
import type { Clock } from './clock.ts';

/** One batch is one transaction: big enough to share an fsync, small enough that nobody waits long. */
const MAX_BATCH = 512;
/** Beyond this the process takes more than it can do: callers are told to come back later. */
const MAX_QUEUE = 100_000;
/** Commits under way at once: the next batch is stepped while one is being written. */
const MAX_COMMITS_IN_FLIGHT = 2;

/** The deterministic machine a loop drives. `at` is stamped by the loop and never goes back. */
export type Machine<Body, Effect> = {
  step(event: Body & { readonly at: number }): {
    readonly changes: readonly Change[];
    readonly effects: readonly Effect[];
  };
  /** An event to add after the last one of each batch, if any. */
  readonly afterBatch?: Body;
};

export type LoopOptions<Body, Effect> = {
  readonly machine: Machine<Body, Effect>;
  readonly clock: Clock;
  /** Resolves when the changes are durable. */
  readonly commit: (changes: readonly Change[]) => Promise<void>;
  /** Carries out effects, in commit order. Must not throw. */
  readonly release: (effects: readonly Effect[]) => void;
  /** A step or a commit failed: memory may be ahead of the store, so the process must end. */
  readonly onFatal: (error: unknown) => void;
};

export class Loop<Body, Effect> {
  readonly #options: LoopOptions<Body, Effect>;
  #queue: Body[] = [];
  #scheduled = false;
  #commitsInFlight = 0;
  #lastAt = 0;
  #stopped = false;
  #dead = false;
  #tail: Promise<void> = Promise.resolve();
  #idleWaiters: (() => void)[] = [];

  constructor(options: LoopOptions<Body, Effect>) {
    this.#options = options;
  }

  /** Time as the machine sees it: the clock's, held back from ever going back. */
  get lastAt(): number {
    return this.#lastAt;
  }

  /** Events waiting to be stepped. */
  get queueLength(): number {
    return this.#queue.length;
  }

  /** Adds an event; false when the queue is full or the loop has stopped, and the event is not taken. */
  post(event: Body): boolean {
    if (this.#stopped || this.#queue.length >= MAX_QUEUE) return false;
    this.#queue.push(event);
    this.#schedule();
    return true;
  }

  /**
   * Resolves when all that was stepped so far is durable. Whoever shows the state to the outside waits for it after
   * looking, or a crash could take back what somebody saw. Rejects when it will never be.
   */
  async durable(): Promise<void> {
    await this.#tail;
    if (this.#dead) throw new Error('the loop has ended');
  }

  /** Takes no more events, finishes those it has, and resolves when the last effects are released. */
  async stop(): Promise<void> {
    this.#stopped = true;
    while (this.#queue.length > 0 || this.#commitsInFlight > 0)
      await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Forgets everything at once, as a crash would. */
  abandon(): void {
    this.#stopped = true;
    this.#dead = true;
    this.#queue = [];
  }

  #schedule(): void {
    if (this.#scheduled || this.#queue.length === 0 || this.#commitsInFlight >= MAX_COMMITS_IN_FLIGHT) return;
    this.#scheduled = true;
    this.#options.clock.soon(() => this.#runBatch());
  }

  #runBatch(): void {
    this.#scheduled = false;
    if (this.#dead || this.#queue.length === 0) return;
    const batch = this.#queue.splice(0, MAX_BATCH);
    try {
      this.#commit(this.#stepAll(batch));
    } catch (error) {
      this.#fail(error);
    }
  }

  #stepAll(batch: readonly Body[]): { changes: readonly Change[]; effects: Effect[] } {
    const { machine, clock } = this.#options;
    const at = (this.#lastAt = Math.max(this.#lastAt, clock.now()));
    const changes = new Map<string, Change>();
    const effects: Effect[] = [];
    const take = (body: Body): void => {
      const step = machine.step({ ...body, at });
      for (const change of step.changes) changes.set(changeKey(change), change);
      for (const effect of step.effects) effects.push(effect);
    };
    for (const body of batch) take(body);
    if (machine.afterBatch) take(machine.afterBatch);
    return { changes: [...changes.values()], effects };
  }

  /** Batches without changes keep their place in line: effects leave in the order of their steps. */
  #commit({ changes, effects }: { changes: readonly Change[]; effects: readonly Effect[] }): void {
    this.#commitsInFlight++;
    const written = changes.length > 0 ? this.#options.commit(changes) : undefined;
    this.#tail = Promise.all([this.#tail, written]).then(
      () => this.#release(effects),
      (error: unknown) => this.#fail(error),
    );
    this.#schedule();
  }

  /** After a crash or a failed commit nothing more leaves, not even what later commits made durable. */
  #release(effects: readonly Effect[]): void {
    if (this.#dead) return;
    this.#commitsInFlight--;
    if (effects.length > 0) this.#options.release(effects);
    this.#schedule();
    if (this.#queue.length === 0 && this.#commitsInFlight === 0)
      for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #fail(error: unknown): void {
    if (this.#dead) return;
    this.abandon();
    this.#commitsInFlight = 0;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
    this.#options.onFatal(error);
  }
}

/** Within a batch only the last change to a record is written. */
function changeKey(change: Change): string {
  return change.op === 'put' ? `${change.record.kind} ${change.record.id}` : `${change.kind} ${change.id}`;
}
