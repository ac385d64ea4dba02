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

/** The machine's clock. A timer alone does not keep the process alive; sockets and servers do. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
  soon: (run) => void setImmediate(run),
};
