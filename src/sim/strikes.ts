// Owns which faults strike in a run and when: each kind has a stream of random numbers of its own, so that one strike
// can be left out and the others stay as they were. Names each strike, and counts what the system was doing just then.

import type { State } from '../core/state.ts';
import type { Prng } from '../lib/prng.ts';
import type { FaultKind } from './faults.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** A strike's name, `<kind>:<number within the kind>`, and its time, virtual ms. */
export type Strike = { readonly name: string; readonly atMs: number };

export type StrikesOptions = {
  readonly clock: VirtualClock;
  readonly prng: Prng;
  /** Only these strikes happen; all, when absent. */
  readonly only?: ReadonlySet<string>;
  readonly isOver: () => boolean;
  readonly state: () => State | undefined;
  /** What else is going on, by name. */
  readonly circumstances: () => Readonly<Record<string, boolean>>;
};

export class Strikes {
  readonly #options: StrikesOptions;
  readonly #numbers = new Map<FaultKind, number>();
  /** All that happened, in order. */
  readonly happened: Strike[] = [];
  /** `<kind> while <circumstance>` by how often. */
  readonly coverage: Record<string, number> = {};

  constructor(options: StrikesOptions) {
    this.#options = options;
  }

  /** Lets a fault come again and again, at random, until the run is healed. */
  recur(kind: FaultKind, meanMs: number, strike: (prng: Prng) => void): void {
    const prng = this.#options.prng.fork();
    const next = (): void => {
      if (!Number.isFinite(meanMs)) return;
      this.#options.clock.after(prng.exponential(meanMs), () => {
        if (this.#options.isOver()) return;
        const own = prng.fork();
        this.strike(kind, () => strike(own));
        next();
      });
    };
    next();
  }

  /** Once, within a time. */
  once(kind: FaultKind, withinMs: number, act: () => void): void {
    this.#options.clock.after(this.#options.prng.int(0, withinMs), () => this.strike(kind, act));
  }

  /** Now, unless it is left out. */
  strike(kind: FaultKind, act: () => void): void {
    const number = (this.#numbers.get(kind) ?? 0) + 1;
    this.#numbers.set(kind, number);
    const name = `${kind}:${number}`;
    if (this.#options.only && !this.#options.only.has(name)) return;
    this.note(kind, name);
    act();
  }

  /** Counts what happened by itself, such as a disk that failed. */
  note(kind: FaultKind, name: string = kind): void {
    this.happened.push({ name, atMs: this.#options.clock.elapsedMs });
    for (const circumstance of this.#present()) {
      const key = `${kind} while ${circumstance}`;
      this.coverage[key] = (this.coverage[key] ?? 0) + 1;
    }
  }

  /** How often each kind struck. */
  counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { name } of this.happened) {
      const kind = name.split(':')[0] ?? name;
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
    return counts;
  }

  #present(): string[] {
    const seen = { ...this.#options.circumstances(), ...describeState(this.#options.state()) };
    const present = Object.entries(seen).filter(([, holds]) => holds);
    return present.length === 0 ? ['nothing in particular'] : present.map(([name]) => name);
  }
}

/** What of a state makes a fault interesting. */
function describeState(state: State | undefined): Record<string, boolean> {
  const attempts = [...(state?.attempts.values() ?? [])];
  const sessions = [...(state?.sessions.values() ?? [])];
  const jobs = [...(state?.jobs.values() ?? [])];
  return {
    'coordinator down': state === undefined,
    'work in hand': attempts.length > 0,
    'shrink unanswered': (state?.shrinking.size ?? 0) > 0,
    'twins at work': attempts.some(({ twin }) => twin !== undefined),
    'stopping what is canceled': attempts.some(({ canceled }) => canceled),
    'retry waiting': (state?.retrying.size ?? 0) > 0,
    'lease running out': sessions.some(({ connected }) => !connected),
    'job paused': jobs.some(({ status }) => status.kind === 'paused'),
    'peer quarantined': [...(state?.health.values() ?? [])].some(({ quarantine }) => quarantine !== undefined),
  };
}

/** Every circumstance there is, for a table that shows what never was. */
export const CIRCUMSTANCES: readonly string[] = [
  ...['nothing in particular', 'commit under way', 'report unacknowledged', 'machine asleep'],
  ...Object.keys(describeState(undefined)),
];
