// Owns `npm run bench:schedule`: the scheduler beside the lower bound and beside blind pull, on drawn fleets, in virtual
// time. Seeds are fixed, so the figures of one version are the same on every machine.
//
// The bound is the linear relaxation of R||Cmax, by its dual: for any prices w of devices that sum to 1, the makespan is at
// least the sum over classes of items x min over devices of ms x w. The best prices found by subgradient steps are used,
// so the true optimum is no smaller. Blind pull: fixed tasks, first come first served, no estimates, no second thoughts. What
// knows no speeds cannot size tasks by time: it cuts each job into four tasks a peer. Beside it, one that is told a middling
// peer's speed and makes tasks of 3 s for that.

import { planMix } from '../src/core/schedule/mix.ts';
import { Prng } from '../src/lib/prng.ts';
import { median, printReport, type Row } from './report.ts';
import { playFleet, type FleetPeer, type FleetStage } from '../src/sim/fleet.ts';

const GOALS = { online: 1.15, blindOverBound: 2, stragglerP99: 0.5, duplicated: 0.05, churn: 1.25 };
const FLEETS = 20;

type Instance = { readonly msPerItem: number[][]; readonly work: FleetStage[]; readonly boundMs: number };

/**
 * Unlike peers, tenfold apart and each better at some work than at other. Either many short items, handed out in ranges,
 * or `long` ones of half a minute and more, one a task, such as images or trials.
 */
function drawInstance(seed: number, isLong: boolean): Instance {
  const prng = new Prng(seed);
  const [ms, fewest] = isLong ? [6_000, 30] : [20, 4_000];
  const kinds = 4;
  const msPerItem = Array.from({ length: prng.int(5, 12) }, () => {
    const slowness = Math.exp(Math.log(10) * prng.float());
    return Array.from({ length: kinds }, () => ms * slowness * Math.exp(2 * (prng.float() - 0.5)));
  });
  const work = Array.from({ length: kinds }, (_, kind) => ({
    kind,
    items: prng.int(fewest, 4 * fewest),
    ...(isLong && { taskItems: 1 }),
  }));
  return { msPerItem, work, boundMs: lowerBound(work, msPerItem) };
}

function toPeers(msPerItem: readonly (readonly number[])[]): FleetPeer[] {
  return msPerItem.map((ms) => ({ msPerItem: ms }));
}

function lowerBound(work: readonly FleetStage[], msPerItem: readonly (readonly number[])[]): number {
  let prices = msPerItem.map(() => 1 / msPerItem.length);
  let best = 0;
  for (let round = 1; round <= 20_000; round++) {
    const load = msPerItem.map(() => 0);
    let value = 0;
    for (const { kind, items } of work) {
      const costs = msPerItem.map((ms, device) => (ms[kind] ?? Infinity) * (prices[device] ?? 0));
      const cheapest = costs.indexOf(Math.min(...costs));
      value += items * (costs[cheapest] ?? 0);
      load[cheapest] = (load[cheapest] ?? 0) + items * (msPerItem[cheapest]?.[kind] ?? 0);
    }
    best = Math.max(best, value);
    const [most, stepSize] = [Math.max(...load), 0.5 / Math.sqrt(round)];
    const raised = prices.map((price, device) => price * Math.exp((stepSize * (load[device] ?? 0)) / most));
    const sum = raised.reduce((a, b) => a + b, 0);
    prices = raised.map((price) => price / sum);
  }
  return best;
}

/** Each peer takes the next task when it is free. */
function pull({ msPerItem, work }: Instance, toTaskItems: (stage: FleetStage) => number): number {
  const free = msPerItem.map(() => 0);
  for (const stage of work) {
    const { kind, items } = stage;
    const taskItems = stage.taskItems ?? Math.max(1, Math.round(toTaskItems(stage)));
    for (let left = items; left > 0; left -= taskItems) {
      const next = free.indexOf(Math.min(...free));
      free[next] = (free[next] ?? 0) + Math.min(left, taskItems) * (msPerItem[next]?.[kind] ?? 0);
    }
  }
  return Math.max(...free);
}

type Online = { online: number; worst: number; blind: number; sized: number; mix: number; mixMs: number };

function measureOnline(isLong: boolean): Online {
  const [online, blind, sized, mixes, mixMs]: number[][] = [[], [], [], [], []];
  for (let seed = 1; seed <= FLEETS; seed++) {
    const instance = drawInstance(seed, isLong);
    const { msPerItem, work, boundMs } = instance;
    const jobs = work.map((stage) => ({ stages: [stage] }));
    online?.push(playFleet({ seed, peers: toPeers(msPerItem), jobs }).makespanMs / boundMs);
    blind?.push(pull(instance, ({ items }) => items / (4 * msPerItem.length)) / boundMs);
    const ofMiddling = ({ kind }: FleetStage) => 3_000 / median(msPerItem.map((ms) => ms[kind] ?? 1));
    sized?.push(pull(instance, ofMiddling) / boundMs);
    const classes = work.map(({ items, kind }) => ({ items, msPerItem: msPerItem.map((ms) => ms[kind] ?? Infinity) }));
    const startedAt = performance.now();
    mixes?.push(
      planMix(
        classes,
        msPerItem.map(() => 0),
      ).makespanMs / boundMs,
    );
    mixMs?.push(performance.now() - startedAt);
  }
  return {
    ...{
      online: median(online ?? []),
      worst: Math.max(...(online ?? [])),
      blind: median(blind ?? []),
      sized: median(sized ?? []),
    },
    ...{ mix: Math.max(...(mixes ?? [])), mixMs: median(mixMs ?? []) },
  };
}

/** Jobs of single items on twenty equal peers, 5 % of them slowed eightfold, with the remedies and without. */
function measureStragglers(): { p99: number; duplicated: number } {
  const play = (remedies: boolean) => {
    const [ends, costs]: [number[], { backupMs: number; spentMs: number }[]] = [[], []];
    for (let seed = 1; seed <= 40; seed++) {
      const warmUp = { stages: [{ kind: 0, items: 20, taskItems: 1 }] };
      const jobs = Array.from({ length: 30 }, (_, i) => ({
        stages: [{ kind: 0, items: 60, taskItems: 1 }],
        atMs: 36_000 * (i + 1),
      }));
      const { jobMs, counters } = playFleet({
        ...{ seed, peers: toPeers(Array.from({ length: 20 }, () => [1_000])), jobs: [warmUp, ...jobs], noise: 0.1 },
        ...{ slowed: { share: 0.05, factor: 8 }, limits: { stealing: remedies, backups: remedies } },
      });
      ends.push(...jobMs.slice(1));
      costs.push(counters);
    }
    const sum = (key: 'backupMs' | 'spentMs') => costs.reduce((total, cost) => total + cost[key], 0);
    const sorted = ends.toSorted((a, b) => a - b);
    return { p99: sorted[Math.floor(sorted.length * 0.99)] ?? 0, duplicated: sum('backupMs') / sum('spentMs') };
  };
  const [without, with_] = [play(false), play(true)];
  return { p99: with_.p99 / without.p99, duplicated: with_.duplicated };
}

/** Peers that are there three quarters of the time; the bound is what those who are there could do, never idle. */
function measureChurn(): number {
  const ratios: number[] = [];
  for (let seed = 1; seed <= FLEETS; seed++) {
    const prng = new Prng(seed);
    const msPerItem = Array.from({ length: 10 }, () => [10 * Math.exp(Math.log(10) * prng.float())]);
    const items = 60_000;
    const allMs = items / msPerItem.reduce((sum, [ms = 1]) => sum + 1 / ms, 0);
    const churn = { upMs: 60_000, downMs: 20_000 };
    ratios.push(
      playFleet({ seed, peers: toPeers(msPerItem), jobs: [{ stages: [{ kind: 0, items }] }], churn }).makespanMs /
        (allMs / 0.75),
    );
  }
  return median(ratios);
}

function main(): void {
  const { online, worst, blind, sized, mix, mixMs } = measureOnline(false);
  const long = measureOnline(true);
  const { p99, duplicated } = measureStragglers();
  const churn = measureChurn();
  const rows: Row[] = [
    [`online, speeds unknown: makespan / bound, median of ${FLEETS} fleets`, online.toFixed(3), `<= ${GOALS.online}`],
    ['the same, worst', worst.toFixed(3), ''],
    ['blind pull: makespan / bound, median', blind.toFixed(3), `>= ${GOALS.blindOverBound}`],
    ['the same with tasks of 3 s for a middling peer', sized.toFixed(3), ''],
    ['long single items: makespan / bound, median', long.online.toFixed(3), `<= ${GOALS.online}`],
    ['the same by blind pull', long.blind.toFixed(3), ''],
    ['mix of known work: makespan / bound, worst', mix.toFixed(3), ''],
    ['the same, time to plan, ms', mixMs.toFixed(2), ''],
    ['stragglers: p99 of jobs / p99 without remedies', p99.toFixed(3), `<= ${GOALS.stragglerP99}`],
    ['stragglers: device time of second attempts', duplicated.toFixed(4), `<= ${GOALS.duplicated}`],
    ['churn: makespan / bound of those who are there', churn.toFixed(3), `<= ${GOALS.churn}`],
  ];
  const isOk =
    Math.max(online, long.online) <= GOALS.online &&
    blind >= GOALS.blindOverBound &&
    p99 <= GOALS.stragglerP99 &&
    duplicated <= GOALS.duplicated &&
    churn <= GOALS.churn;
  const figures = {
    online,
    worst,
    blind,
    blindSized: sized,
    onlineLong: long.online,
    blindLong: long.blind,
    mix,
    mixMs,
  };
  printReport('schedule', rows, { ...figures, stragglerP99: p99, duplicated, churn }, GOALS, isOk);
}

main();
