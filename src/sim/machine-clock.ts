// Owns the time of one simulated machine: virtual time as its own wall clock shows it, which is off and may jump, and
// timers that stand still while it sleeps.

import { createSteadyNow, type CancelTimer, type Clock } from '../runtime/clock.ts';
import type { VirtualClock } from './virtual-clock.ts';

export class MachineClock implements Clock {
  readonly #base: VirtualClock;
  readonly #steadyNow: () => number;
  #offsetMs: number;
  #wakesAt = 0;

  /** `offsetMs`: how far its wall clock is off from the start. */
  constructor(base: VirtualClock, offsetMs = 0) {
    this.#base = base;
    this.#offsetMs = offsetMs;
    this.#steadyNow = createSteadyNow(
      () => base.now() + this.#offsetMs,
      () => base.now(),
    );
  }

  /** As the real clock: a wall clock that is set back is not followed, one that is set forward is. */
  now(): number {
    return this.#steadyNow();
  }

  /** Time that only passes: for durations. */
  uptimeMs(): number {
    return this.#base.now();
  }

  after(delayMs: number, run: () => void): CancelTimer {
    let cancel = this.#base.after(delayMs, () => {
      const leftMs = this.#wakesAt - this.#base.now();
      if (leftMs <= 0) run();
      else cancel = this.after(leftMs, run);
    });
    return () => cancel();
  }

  soon(run: () => void): void {
    this.after(0, run);
  }

  get isAsleep(): boolean {
    return this.#base.now() < this.#wakesAt;
  }

  /** Somebody sets the wall clock, or a time server does. */
  jump(byMs: number): void {
    this.#offsetMs += byMs;
  }

  /** The lid is closed: nothing runs, and what was due comes late. Links stay open. */
  sleep(durationMs: number): void {
    this.#wakesAt = this.#base.now() + durationMs;
  }
}
