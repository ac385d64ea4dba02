// Owns the simulator's command line: one seed in detail, or many over all cores. Each seed runs twice; the two runs
// must end with the same fingerprint. A failing seed is reproduced by one line.

import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { sumCoverage, toCoverageTable } from './coverage.ts';
import { PLANTS, type Plant } from './plant.ts';
import { minimise } from './minimise.ts';
import { runSeed, type RunOptions, type RunReport } from './run.ts';

const HELP = `Runs the production cores under a virtual clock with seeded faults and checks the invariants after every step.

  npm run sim -- --seed 17                  one seed, in detail
  npm run sim -- --seeds 500 --from 1       many seeds, on all cores
  npm run sim -- --seeds 200 --plant no-epoch-check   with a bug put in on purpose: it must be found
  npm run sim -- --seeds 1000 --coverage    also which fault met what, and what never met
  npm run sim -- --seed 17 --minimise       of a seed that fails: the few faults that it takes
  npm run sim -- --seed 17 --only sleep:2,link-cut:1 --off flakiness   those alone

Exits with 1 when an invariant is violated or two runs of a seed differ.
Planted bugs: ${PLANTS.join(', ')}.`;

type Share = {
  readonly first: number;
  readonly count: number;
  readonly stride: number;
  readonly plant: Plant | undefined;
};

async function runTwice(options: RunOptions): Promise<RunReport> {
  const first = await runSeed(options);
  const second = await runSeed(options);
  if (first.stateHash === second.stateHash || first.violation !== undefined) return first;
  return {
    ...first,
    violation: `determinism: the second run ended with ${second.stateHash}, the first with ${first.stateHash}`,
  };
}

async function runShare({ first, count, stride, plant }: Share): Promise<void> {
  for (let i = 0; i < count; i++)
    parentPort?.postMessage(await runTwice({ seed: first + i * stride, ...(plant && { plant }) }));
}

function parsePlant(text: string | undefined): Plant | undefined {
  const plant = PLANTS.find((name) => name === text);
  if (text !== undefined && !plant)
    throw new Error(`there is no planted bug "${text}"; there are ${PLANTS.join(', ')}`);
  return plant;
}

function parseCount(text: string, name: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} takes a whole number, not "${text}"`);
  return value;
}

function describe(report: RunReport): string {
  const jobs = Object.entries(report.jobs).map(([kind, count]) => `${count} ${kind}`);
  const faults = Object.entries(report.faults).map(([kind, count]) => `${kind} ${count}`);
  return `seed ${report.seed}: ${report.steps} steps, ${(report.virtualMs / 1_000).toFixed(0)} s virtual, jobs: ${jobs.join(', ') || 'none'}; faults: ${faults.join(', ') || 'none'}; state ${report.stateHash}`;
}

function printViolation(report: RunReport, plant: Plant | undefined): void {
  console.log(`${describe(report)}\n  mix: ${report.mix}\n  VIOLATION ${report.violation}`);
  console.log(`  again with: npm run sim -- --seed ${report.seed}${plant ? ` --plant ${plant}` : ''}`);
}

/** Runs seeds on every core; resolves with the reports, in the order of seeds. */
export async function runMany(from: number, seeds: number, plant: Plant | undefined): Promise<RunReport[]> {
  const reports: RunReport[] = [];
  const workers = Math.max(1, Math.min(availableParallelism(), seeds));
  await Promise.all(
    Array.from({ length: workers }, (_, i) => {
      const share: Share = { first: from + i, count: Math.ceil((seeds - i) / workers), stride: workers, plant };
      return new Promise<void>((resolve, reject) => {
        const worker = new Worker(new URL(import.meta.url), { workerData: share });
        worker.on('message', (report: RunReport) => reports.push(report));
        worker.on('error', reject);
        worker.on('exit', () => resolve());
      });
    }),
  );
  return reports.sort((a, b) => a.seed - b.seed);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string', default: '100' },
      from: { type: 'string', default: '1' },
      plant: { type: 'string' },
      only: { type: 'string' },
      off: { type: 'string' },
      coverage: { type: 'boolean', default: false },
      minimise: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const plant = parsePlant(values.plant);
  const one: RunOptions = {
    ...{ seed: parseCount(values.seed ?? '0', 'seed'), ...(plant && { plant }) },
    ...(values.only !== undefined && { only: new Set(values.only.split(',')) }),
    ...(values.off !== undefined && { off: new Set(values.off.split(',')) }),
  };
  if (values.minimise) return printMinimised(one);
  const startedAt = performance.now();
  const reports =
    values.seed === undefined
      ? await runMany(parseCount(values.from, 'from'), parseCount(values.seeds, 'seeds'), plant)
      : [await runTwice(one)];
  const violated = reports.filter((report) => report.violation !== undefined);
  for (const report of violated.slice(0, 10)) printViolation(report, plant);
  if (values.seed !== undefined) for (const report of reports) console.log(`${describe(report)}\n  mix: ${report.mix}`);
  if (values.coverage) console.log(toCoverageTable(sumCoverage(reports)));
  printSummary(reports, violated.length, performance.now() - startedAt);
  return violated.length > 0 ? 1 : 0;
}

/** Says which faults a failing seed takes, and how to see it again. */
async function printMinimised(options: RunOptions): Promise<number> {
  const found = await minimise(options);
  if (!found) {
    console.log(`seed ${options.seed} does not fail: there is nothing to make smaller`);
    return 0;
  }
  const { report, strikes, off, runs } = found;
  console.log(`VIOLATION ${report.violation}`);
  console.log(`takes ${strikes.length} strikes of ${runs} runs' search, and of luck: ${report.mix}`);
  for (const { name, atMs } of strikes) console.log(`  ${(atMs / 1_000).toFixed(3).padStart(8)} s  ${name}`);
  const names = strikes.map(({ name }) => name).join(',') || 'none';
  const plant = options.plant ? ` --plant ${options.plant}` : '';
  console.log(`  again with: npm run sim -- --seed ${options.seed}${plant} --only ${names} --off ${off.join(',')}`);
  return 1;
}

function printSummary(reports: readonly RunReport[], violated: number, wallMs: number): void {
  const totals: Record<string, number> = {};
  for (const report of reports)
    for (const [kind, count] of Object.entries(report.faults)) totals[kind] = (totals[kind] ?? 0) + count;
  const steps = reports.reduce((sum, report) => sum + report.steps, 0);
  console.log(
    `faults met: ${
      Object.entries(totals)
        .map(([kind, count]) => `${kind} ${count}`)
        .join(', ') || 'none'
    }`,
  );
  console.log(
    `${reports.length} seeds, each twice, ${steps} steps checked in ${(wallMs / 1_000).toFixed(1)} s: ${violated} violated`,
  );
}

if (isMainThread) {
  if (process.argv[1] === import.meta.filename) {
    main().then(
      (code) => {
        process.exitCode = code;
      },
      (error: unknown) => {
        console.error(error instanceof Error ? error.message : error);
        process.exitCode = 2;
      },
    );
  }
} else {
  await runShare(workerData as Share);
}
