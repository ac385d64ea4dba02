// Owns the pace of a run inside the runner process: how often progress is told, and the slow-down on purpose, which turns
// a fast machine into a slow one for demos by sleeping after each batch. Knows neither workload nor contract.

import { setTimeout as sleep } from 'node:timers/promises';

/** Progress is told at most this often; a heartbeat carries it, and heartbeats are slower. */
const PROGRESS_INTERVAL_MS = 100;

export type Pace = {
  /** The workload finished all items below `cursor`. Resolves when it may go on. */
  readonly progress: (cursor: number) => Promise<void>;
  /** Resolves when the sleep that the last batch owes is over; undefined when none is owed. */
  readonly rest: () => Promise<void> | undefined;
  close(): void;
};

/**
 * `slowdown` 1 is full speed; with 3, each batch of t ms is followed by 2t ms of sleep. `signal` ends a sleep at once by
 * rejecting.
 */
export function createPace(options: {
  slowdown: number;
  signal: AbortSignal;
  now: () => number;
  tell: (cursor: number) => void;
}): Pace {
  const { slowdown, signal, now, tell } = options;
  let resumedAt = now();
  let toldAt = -Infinity;
  let latest = -1;
  let timer: NodeJS.Timeout | undefined;
  let owed: Promise<void> | undefined;

  function tellLatest(): void {
    timer = undefined;
    toldAt = now();
    // Told again even if it is the same: a workload in the middle of one long item is alive.
    tell(latest);
  }

  async function pause(): Promise<void> {
    await sleep((slowdown - 1) * (now() - resumedAt), undefined, { signal });
    resumedAt = now();
    owed = undefined;
  }

  return {
    async progress(cursor) {
      latest = Math.max(latest, cursor);
      const waitMs = toldAt + PROGRESS_INTERVAL_MS - now();
      if (waitMs <= 0) tellLatest();
      else timer ??= setTimeout(tellLatest, waitMs);
      if (slowdown > 1) await (owed ??= pause());
    },
    rest: () => owed,
    close() {
      clearTimeout(timer);
    },
  };
}
