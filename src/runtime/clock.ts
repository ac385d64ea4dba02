// Owns time as a port: milliseconds that never go back, and timers. The simulator puts a virtual one in its place.

/** Cancels a timer; calling it again does nothing. */
export type CancelTimer = () => void;

export interface Clock {
  /** Milliseconds since the epoch, as this process believes. */
  now(): number;
  /** Calls `run` once, `delayMs` from now. */
  after(delayMs: number, run: () => void): CancelTimer;
  /** Calls `run` as soon as what runs now is done: used to gather a batch. */
  soon(run: () => void): void;
}

/**
 * Wall time that goes on at its own pace when the wall clock is set back: leases and retries would stand still until it
 * had caught up. `wall` and `monotonic` in ms; whole ms come out.
 */
export function createSteadyNow(wall: () => number, monotonic: () => number): () => number {
  let [at, readAt] = [-Infinity, monotonic()];
  return () => {
    const passedMs = monotonic() - readAt;
    readAt += passedMs;
    at = Math.max(wall(), at + passedMs);
    return Math.floor(at);
  };
}

/** The machine's clock. A timer alone does not keep the process alive; sockets and servers do. */
export const systemClock: Clock = {
  now: createSteadyNow(
    () => Date.now(),
    () => performance.now(),
  ),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
  soon: (run) => void setImmediate(run),
};
