// Owns the drawing of faults: what may go wrong in a run, how often, and when it stops. Each seed draws its own mix,
// because a run in which everything goes wrong at once hides what one fault alone would show.

import type { Prng } from '../lib/prng.ts';

export type FaultMix = {
  /** Mean ms between faults of a kind; Infinity when this run has none of it. */
  readonly coordinatorCrashMs: number;
  readonly agentCrashMs: number;
  readonly linkCutMs: number;
  readonly linkSilentMs: number;
  readonly diskFailureChance: number;
  readonly flakiness: number;
  /** Chance that an outcome is reported again later, under an old epoch. */
  readonly ghostChance: number;
  /** Chance that an item is poison. */
  readonly poisonChance: number;
  /** Chance that a peer gets specs through a relay that alters them. */
  readonly tamperChance: number;
  readonly meanDelayMs: number;
};

export type FaultKind =
  | 'coordinator-crash'
  | 'agent-crash'
  | 'link-cut'
  | 'link-silent'
  | 'disk-full'
  | 'drain'
  | 'pause'
  | 'cancel'
  | 'tamper';

export function drawFaultMix(prng: Prng): FaultMix {
  const maybe = (chance: number, value: number, otherwise: number): number => (prng.chance(chance) ? value : otherwise);
  return {
    coordinatorCrashMs: maybe(0.6, prng.int(5_000, 40_000), Infinity),
    agentCrashMs: maybe(0.6, prng.int(4_000, 40_000), Infinity),
    linkCutMs: maybe(0.7, prng.int(2_000, 20_000), Infinity),
    linkSilentMs: maybe(0.5, prng.int(5_000, 30_000), Infinity),
    diskFailureChance: maybe(0.3, 0.003, 0),
    flakiness: maybe(0.5, prng.float() * 0.2, 0),
    ghostChance: maybe(0.5, 0.2, 0),
    poisonChance: maybe(0.4, prng.float() * 0.02, 0),
    tamperChance: maybe(0.2, 0.3, 0),
    meanDelayMs: prng.pick([1, 20, 200]),
  };
}

export function describeFaultMix(mix: FaultMix): string {
  return Object.entries(mix)
    .map(([name, value]) => `${name}=${Number.isFinite(value) ? Number(value.toFixed(3)) : 'off'}`)
    .join(' ');
}
