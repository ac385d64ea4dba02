// Owns virtual time: a queue of things to do, run in the order of their times and, at one time, of their asking.

import type { CancelTimer, Clock } from '../runtime/clock.ts';

type Entry = { readonly at: number; readonly order: number; run: (() => void) | undefined };

/** The simulator begins at a date, so that code which takes 0 for "never" would be found out. */
const START_AT = 1_700_000_000_000;

export class VirtualClock implements Clock {
  #heap: Entry[] = [];
  #order = 0;
  #now = START_AT;

  now(): number {
    return this.#now;
  }

  /** Virtual ms since the run began. */
  get elapsedMs(): number {
    return this.#now - START_AT;
  }

  after(delayMs: number, run: () => void): CancelTimer {
    const entry: Entry = { at: this.#now + Math.max(0, delayMs), order: this.#order++, run };
    this.#push(entry);
    return () => {
      entry.run = undefined;
    };
  }

  soon(run: () => void): void {
    this.after(0, run);
  }

  /** Runs the next thing; false when there is none. */
  runNext(): boolean {
    for (;;) {
      const entry = this.#pop();
      if (!entry) return false;
      if (!entry.run) continue;
      this.#now = entry.at;
      entry.run();
      return true;
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(entry, heap[parent] as Entry)) break;
      heap[i] = heap[parent] as Entry;
      i = parent;
    }
    heap[i] = entry;
  }

  #pop(): Entry | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (!top || !last || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Entry, heap[child] as Entry)) child++;
      if (!before(heap[child] as Entry, last)) break;
      heap[i] = heap[child] as Entry;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
