// Owns `npm run bench:offline`: plans for known work, beside a lower bound and beside the classics, on drawn instances.
// Whole tasks against the linear relaxation of R||Cmax over classes, solved by HiGHS, and against list scheduling; DAGs
// against HEFT. Seeds are fixed: but for the times, the figures of one version are the same on every machine.

import highsLoader from 'highs';
import { assignTasks } from '../src/core/schedule/assign.ts';
import { planDag, type DagTask } from '../src/core/schedule/dag.ts';
import type { MixClass } from '../src/core/schedule/mix.ts';
import { Prng } from '../src/lib/prng.ts';
import { heftMs, listScheduleMs } from './heft.ts';
import { median, printReport } from './report.ts';

const GOALS = { overBound: 1.05, planMs: 50, worseThanList: 0, dagMean: 1, dagWorst: 1.02 };
const [INSTANCES, SMALL_INSTANCES, DAGS_A_FAMILY] = [20, 200, 40];
const REPEATS = 5;
const LEAST = 1e-6;

// The package's declarations are those of its CommonJS build, where the loader is a property.
const highs = await (highsLoader as unknown as typeof highsLoader.default)();

/** Devices tenfold apart, each better at some work than at other. */
function drawClasses(prng: Prng, kinds: number, tasks: number, devices: number): MixClass[] {
  const slowness = Array.from({ length: devices }, () => Math.exp(Math.log(10) * prng.float()));
  const weights = Array.from({ length: kinds }, () => 1 + 9 * prng.float());
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => {
    const ms = 1_000 * Math.exp(3 * prng.float());
    const items = Math.max(1, Math.round((tasks * weight) / sum));
    return { items, msPerItem: slowness.map((factor) => ms * factor * Math.exp(2 * (prng.float() - 0.5))) };
  });
}

/** The makespan of the linear relaxation: no schedule of whole tasks ends sooner. */
function lowerBound(classes: readonly MixClass[], devices: number): number {
  const at = (c: number, device: number) => `x${c}_${device}`;
  const all = (of: (device: number) => string) => Array.from({ length: devices }, (_, device) => of(device));
  const rows = [
    ...classes.map(({ items }, c) => ` all${c}: ${all((device) => at(c, device)).join(' + ')} = ${items}`),
    ...all((device) => {
      const load = classes.map(({ msPerItem }, c) => `${msPerItem[device]} ${at(c, device)}`).join(' + ');
      return ` end${device}: ${load} - t <= 0`;
    }),
  ];
  const { ObjectiveValue } = highs.solve(`Minimize\n obj: t\nSubject To\n${rows.join('\n')}\nEnd`);
  return ObjectiveValue;
}

/** The better of the order given and the longest first. */
function listScheduling(classes: readonly MixClass[], devices: number): number {
  const tasks = classes.flatMap(({ items, msPerItem }) => Array.from({ length: items }, () => msPerItem));
  const longest = tasks.toSorted((a, b) => Math.min(...b) - Math.min(...a));
  return Math.min(listScheduleMs(tasks, devices), listScheduleMs(longest, devices));
}

function measureTasks(): { ratios: number[]; planMs: number } {
  const idle = Array.from({ length: 20 }, () => 0);
  const [ratios, times]: [number[], number[]] = [[], []];
  for (let seed = 1; seed <= INSTANCES; seed++) {
    const classes = drawClasses(new Prng(seed), 10, 1_000, idle.length);
    const bound = lowerBound(classes, idle.length);
    for (let repeat = 0; repeat < REPEATS; repeat++) {
      const startedAt = performance.now();
      const { makespanMs } = assignTasks(classes, idle);
      times.push(performance.now() - startedAt);
      if (repeat === 0) ratios.push(makespanMs / bound);
    }
  }
  return { ratios, planMs: median(times) };
}

function countWorseThanList(): number {
  let worse = 0;
  for (let seed = 1; seed <= SMALL_INSTANCES; seed++) {
    const prng = new Prng(1_000 + seed);
    const [kinds, tasks, devices] = [prng.int(1, 30), prng.int(2, 600), prng.int(2, 24)];
    const classes = drawClasses(prng, kinds, tasks, devices);
    const idle = Array.from({ length: devices }, () => 0);
    if (assignTasks(classes, idle).makespanMs > listScheduling(classes, devices) * (1 + LEAST)) worse++;
  }
  return worse;
}

type Shape = (prng: Prng, size: number) => number[][];

/** What needs what, by family; `size` is about the number of tasks. */
const FAMILIES: Readonly<Record<string, Shape>> = {
  'fork-join': (prng, size) => {
    const needs: number[][] = [[]];
    while (needs.length < size) {
      const fork = needs.length - 1;
      const width = prng.int(4, 40);
      const branches = Array.from({ length: width }, (_, i) => fork + 1 + i);
      needs.push(...branches.map(() => [fork]), branches);
    }
    return needs;
  },
  'diamond ladder': (_, size) => {
    const needs: number[][] = [[]];
    while (needs.length < size) {
      const top = needs.length - 1;
      needs.push([top], [top], [top + 1, top + 2]);
    }
    return needs;
  },
  'map-reduce': (prng, size) => {
    const maps = Math.max(2, Math.floor(size * 0.8));
    const reducers = Math.max(1, Math.floor(size * 0.2) - 1);
    const all = Array.from({ length: maps }, (_, i) => i);
    const few = () => all.filter(() => prng.chance(Math.min(1, 30 / maps)));
    const needs: number[][] = [...all.map(() => []), ...Array.from({ length: reducers }, few)];
    return [...needs, Array.from({ length: reducers }, (_, i) => maps + i)];
  },
  'random layered': (prng, size) => {
    const needs: number[][] = [];
    let before: number[] = [];
    while (needs.length < size) {
      const layer = Array.from({ length: prng.int(2, 40) }, (_, i) => needs.length + i);
      needs.push(...layer.map(() => before.filter(() => prng.chance(3 / Math.max(3, before.length)))));
      before = layer;
    }
    return needs;
  },
};

function drawDag(prng: Prng, shape: Shape): DagTask[] {
  const size = Math.round(50 * Math.exp(Math.log(40) * prng.float()));
  const slowness = Array.from({ length: prng.int(3, 20) }, () => Math.exp(Math.log(10) * prng.float()));
  const transferMs = prng.pick([10, 200, 2_000]);
  return shape(prng, size).map((needs) => {
    const ms = 100 * Math.exp(3 * prng.float());
    return {
      needs: needs.map((task) => ({ task, transferMs: transferMs * (0.5 + prng.float()) })),
      msOn: slowness.map((factor) => ms * factor * Math.exp(prng.float() - 0.5)),
    };
  });
}

type DagFigures = { readonly mean: number; readonly worst: number; readonly slowestMs: number };

function measureDags(shape: Shape): DagFigures {
  const ratios: number[] = [];
  let slowestMs = 0;
  for (let seed = 1; seed <= DAGS_A_FAMILY; seed++) {
    const tasks = drawDag(new Prng(seed), shape);
    const startedAt = performance.now();
    const { makespanMs } = planDag(tasks);
    slowestMs = Math.max(slowestMs, performance.now() - startedAt);
    ratios.push(makespanMs / heftMs(tasks));
  }
  return { mean: ratios.reduce((a, b) => a + b, 0) / ratios.length, worst: Math.max(...ratios), slowestMs };
}

const { ratios, planMs } = measureTasks();
const worseThanList = countWorseThanList();
const dags = Object.entries(FAMILIES).map(([name, shape]) => ({ name, ...measureDags(shape) }));
const [overBound, worst] = [median(ratios), Math.max(...ratios)];
const [dagMean, dagWorst] = [Math.max(...dags.map(({ mean }) => mean)), Math.max(...dags.map((dag) => dag.worst))];
printReport(
  'offline',
  [
    [`1,000 tasks on 20 devices: makespan / LP bound, median of ${INSTANCES}`, overBound.toFixed(4), ''],
    ['the same, worst', worst.toFixed(4), `<= ${GOALS.overBound}`],
    ['the same, time to plan, median ms', planMs.toFixed(1), `<= ${GOALS.planMs}`],
    [`worse than list scheduling, of ${SMALL_INSTANCES} instances`, String(worseThanList), `<= ${GOALS.worseThanList}`],
    ...dags.flatMap(({ name, mean, worst: most, slowestMs }): [string, string, string][] => [
      [`${name}, makespan / HEFT's, mean of ${DAGS_A_FAMILY}`, mean.toFixed(3), `<= ${GOALS.dagMean}`],
      [`${name}, worst; slowest plan ${slowestMs.toFixed(0)} ms`, most.toFixed(3), `<= ${GOALS.dagWorst}`],
    ]),
  ],
  { overBound, worst, planMs, worseThanList, dags },
  { ...GOALS },
  worst <= GOALS.overBound &&
    planMs <= GOALS.planMs &&
    worseThanList <= GOALS.worseThanList &&
    dagMean <= GOALS.dagMean &&
    dagWorst <= GOALS.dagWorst,
);
