// Owns the drawing of faults: what may go wrong in a run, how often, and when it stops. Each seed draws its own mix,
// because a run in which everything goes wrong at once hides what one fault alone would show.

import { Prng } from '../lib/prng.ts';
import { simulatedHash } from './fingerprint.ts';

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
  readonly linkOneWayMs: number;
  /** Bytes per ms that a link carries. */
  readonly linkBytesPerMs: number;
  readonly slowDiskMs: number;
  readonly sleepMs: number;
  readonly throttleMs: number;
  readonly clockJumpMs: number;
  /** How far the wall clocks of machines may be off, ms. */
  readonly clockSkewMs: number;
  /** Chance that a peer lies about its progress and about how long things took. */
  readonly liarChance: number;
};

/**
 * A WebSocket neither reorders nor doubles, and loses nothing before it dies: what is late or doubled comes as a ghost,
 * reported past the machine.
 */
export const FAULT_KINDS = [
  'coordinator-crash',
  'agent-crash',
  'link-cut',
  'link-silent',
  'link-one-way',
  'disk-failed',
  'slow-disk',
  'sleep',
  'throttle',
  'clock-jump',
  'drain',
  'pause',
  'cancel',
  'tamper',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** A quiet run. */
export const NO_FAULTS: FaultMix = {
  ...{ coordinatorCrashMs: Infinity, agentCrashMs: Infinity, linkCutMs: Infinity, linkSilentMs: Infinity },
  ...{ linkOneWayMs: Infinity, slowDiskMs: Infinity, sleepMs: Infinity, throttleMs: Infinity, clockJumpMs: Infinity },
  ...{ diskFailureChance: 0, flakiness: 0, ghostChance: 0, poisonChance: 0, tamperChance: 0, liarChance: 0 },
  ...{ meanDelayMs: 1, linkBytesPerMs: Infinity, clockSkewMs: 0 },
};

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
    linkOneWayMs: maybe(0.4, prng.int(5_000, 30_000), Infinity),
    linkBytesPerMs: prng.pick([5, 100, Infinity]),
    slowDiskMs: maybe(0.3, prng.int(5_000, 20_000), Infinity),
    sleepMs: maybe(0.4, prng.int(5_000, 30_000), Infinity),
    throttleMs: maybe(0.4, prng.int(3_000, 15_000), Infinity),
    clockJumpMs: maybe(0.3, prng.int(5_000, 20_000), Infinity),
    clockSkewMs: maybe(0.5, 3_600_000, 0),
    liarChance: maybe(0.3, 0.4, 0),
  };
}

/** The mix without what is named. */
export function switchOff(mix: FaultMix, off: ReadonlySet<string> = new Set()): FaultMix {
  const entries = Object.entries(mix).map(([name, value]) => [
    name,
    off.has(name) ? NO_FAULTS[name as keyof FaultMix] : value,
  ]);
  return Object.fromEntries(entries) as FaultMix;
}

export function describeFaultMix(mix: FaultMix): string {
  return Object.entries(mix)
    .map(([name, value]) => `${name}=${Number.isFinite(value) ? Number(value.toFixed(3)) : 'off'}`)
    .join(' ');
}

/** Whether an item is poison is a property of the item, the same wherever and whenever it runs. */
export function isPoison(stage: string, item: number, chance: number): boolean {
  return chance > 0 && new Prng(Number.parseInt(simulatedHash(`${stage}@${item}`).slice(0, 8), 16)).chance(chance);
}
