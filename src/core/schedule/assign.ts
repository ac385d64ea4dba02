// Owns the assignment of whole tasks to unlike devices, so that all is through soonest: R||Cmax over classes of equal
// tasks. The fractional mix is rounded, compared with list scheduling, and the better one is improved by moving and
// swapping tasks off the device that ends last. Knows no stages and no queues of people.

import { planMix, type MixClass } from './mix.ts';

export type Assignment = {
  /** By class, by device: whole tasks. */
  readonly counts: readonly Int32Array[];
  /** When the last device is through. */
  readonly makespanMs: number;
};

/** Moves and swaps that are looked at, at most: some tens of ms. A count, because the core has no clock. */
const MAX_LOOKS = 2_000_000;
/** Above so many classes the mix costs more than it gains. */
const MAX_MIXED_CLASSES = 64;
/** Smaller gains are noise of arithmetic. */
const LEAST_GAIN = 1e-9;

type Plan = { readonly counts: Int32Array[]; readonly load: Float64Array };

/**
 * Never ends later than list scheduling by earliest completion, in the order given or the longest first, would.
 * `queuedMs` is what each device has to do already. Classes that no device can run are left out.
 */
export function assignTasks(
  classes: readonly MixClass[],
  queuedMs: readonly number[],
  maxLooks: number = MAX_LOOKS,
): Assignment {
  const orders = [[...classes.keys()], longestFirst(classes)];
  const plans = orders.map((order) => completeEarliest(classes, order, toEmpty(classes, queuedMs)));
  if (classes.length <= MAX_MIXED_CLASSES) plans.push(roundMix(classes, queuedMs));
  const best = plans.reduce((a, b) => (lastOf(b) < lastOf(a) ? b : a));
  improve(classes, best, maxLooks);
  return { counts: best.counts, makespanMs: lastOf(best) };
}

function toEmpty(classes: readonly MixClass[], queuedMs: readonly number[]): Plan {
  return { counts: classes.map(() => new Int32Array(queuedMs.length)), load: Float64Array.from(queuedMs) };
}

function lastOf({ load }: Plan): number {
  return load.reduce((last, ms) => Math.max(last, ms), 0);
}

function longestFirst(classes: readonly MixClass[]): number[] {
  const leastMs = classes.map(({ msPerItem }) => Math.min(...msPerItem));
  return [...classes.keys()].sort((a, b) => (leastMs[b] ?? 0) - (leastMs[a] ?? 0));
}

/** List scheduling: each task, in turn, to the device that would be through with it first. */
function completeEarliest(classes: readonly MixClass[], order: readonly number[], plan: Plan): Plan {
  for (const c of order) {
    const { items, msPerItem } = classes[c] ?? { items: 0, msPerItem: [] };
    const given = plan.counts[c]?.reduce((sum, count) => sum + count, 0) ?? 0;
    for (let left = items - given; left > 0; left--) {
      const device = earliest(msPerItem, plan.load);
      if (device >= 0) give(plan, c, device, msPerItem, 1);
    }
  }
  return plan;
}

/** The mix's whole tasks stay where it has them; what is left of each class goes where it ends first. */
function roundMix(classes: readonly MixClass[], queuedMs: readonly number[]): Plan {
  const { msOf } = planMix(classes, queuedMs);
  const plan = toEmpty(classes, queuedMs);
  for (const [c, { msPerItem }] of classes.entries())
    for (const [device, ms] of (msOf[c] ?? []).entries())
      if (ms > 0) give(plan, c, device, msPerItem, Math.floor(ms / (msPerItem[device] ?? Infinity) + LEAST_GAIN));
  return completeEarliest(classes, longestFirst(classes), plan);
}

function give({ counts, load }: Plan, c: number, device: number, msPerItem: readonly number[], tasks: number): void {
  const ofClass = counts[c];
  if (ofClass) ofClass[device] = (ofClass[device] ?? 0) + tasks;
  load[device] = (load[device] ?? 0) + tasks * (msPerItem[device] ?? 0);
}

/** -1 when no device can run it. */
function earliest(msPerItem: readonly number[], load: Float64Array): number {
  let [best, soonest] = [-1, Infinity];
  for (let device = 0; device < load.length; device++) {
    const end = (load[device] ?? 0) + (msPerItem[device] ?? Infinity);
    if (end < soonest) [best, soonest] = [device, end];
  }
  return best;
}

/** A task of class `c` leaves the last device for `to`; one of class `back` comes instead, or none. */
type Change = { readonly c: number; readonly to: number; readonly back: number | undefined; readonly endMs: number };

/** Takes the best change for the device that ends last, until none helps: each makes the two devices end sooner. */
function improve(classes: readonly MixClass[], plan: Plan, maxLooks: number): void {
  const { load } = plan;
  for (let looks = 0; looks < maxLooks;) {
    const last = load.indexOf(lastOf(plan));
    const { change, looked } = findChange(classes, plan, last);
    looks += looked;
    if (!change) return;
    const { c, to, back } = change;
    move(classes, plan, c, last, to);
    if (back !== undefined) move(classes, plan, back, to, last);
  }
}

function move(classes: readonly MixClass[], plan: Plan, c: number, from: number, to: number): void {
  const { msPerItem } = classes[c] ?? { msPerItem: [] };
  give(plan, c, from, msPerItem, -1);
  give(plan, c, to, msPerItem, 1);
}

function findChange(
  classes: readonly MixClass[],
  { counts, load }: Plan,
  last: number,
): { change: Change | undefined; looked: number } {
  let change: Change | undefined;
  let looked = 0;
  let soonest = (load[last] ?? 0) * (1 - LEAST_GAIN);
  const consider = (c: number, to: number, back: number | undefined, lastEnd: number, otherEnd: number): void => {
    looked++;
    const endMs = Math.max(lastEnd, otherEnd);
    if (endMs >= soonest) return;
    soonest = endMs;
    change = { c, to, back, endMs };
  };
  const msOf = (c: number, device: number): number => classes[c]?.msPerItem[device] ?? Infinity;
  const lastMs = load[last] ?? 0;
  for (let c = 0; c < classes.length; c++) {
    if ((counts[c]?.[last] ?? 0) === 0) continue;
    const lighterMs = lastMs - msOf(c, last);
    for (let to = 0; to < load.length; to++) {
      const heavierMs = (load[to] ?? 0) + msOf(c, to);
      if (to === last || !Number.isFinite(heavierMs)) continue;
      consider(c, to, undefined, lighterMs, heavierMs);
      for (let back = 0; back < classes.length; back++)
        if (back !== c && (counts[back]?.[to] ?? 0) > 0)
          consider(c, to, back, lighterMs + msOf(back, last), heavierMs - msOf(back, to));
    }
  }
  return { change, looked };
}
