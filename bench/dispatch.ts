// Owns `npm run bench:dispatch`: items that do nothing, one a task, through a coordinator with a durable store and agents
// over real WebSockets. The bound beside it, in the same run: how many such tasks the pure core alone steps through, with
// neither store nor sockets. And what grows with items, agents and slots, and by how much.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MIB } from '../src/lib/byte-sizes.ts';
import { measureCore } from './dispatch-core.ts';
import { startDispatchSwarm, type DispatchSwarm } from './dispatch-swarm.ts';
import { median, printReport } from './report.ts';

const AGENTS = 2;
const MANY_AGENTS = 64;
const ITEMS = 100_000;
const SMALL_STAGE_ITEMS = 10_000;
const BIG_STAGE_ITEMS = 1_000_000;
const ROUNDS = 5;
/** Tasks of a known length on many slots. */
const [SLOT_AGENTS, SLOTS, LONG_TASK_MS, TASKS_A_SLOT] = [2, 32, 100, 50];
const GOALS = {
  ...{ tasksPerSecond: 50_000, bigStageMiB: 20, bigOverSmall: 1.15, manyOverFew: 1.3, bytesPerQueuedItem: 1 },
  ...{ makespanOverIdeal: 1.03 },
};

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const few = await measureFew();
const manyRate = await measureMany();
const makespan = await measureSlots();
const manyOverFew = few.tasksPerSecond / manyRate;
printReport(
  'dispatch',
  [
    [
      `tasks/s, median of ${ROUNDS} rounds of ${ITEMS} one-item tasks`,
      String(few.tasksPerSecond),
      `>= ${GOALS.tasksPerSecond}`,
    ],
    ['the bound: the core alone, median', String(few.coreTasksPerSecond), ''],
    [
      `cost of an item of ${BIG_STAGE_ITEMS} / of ${SMALL_STAGE_ITEMS}`,
      few.bigOverSmall.toFixed(3),
      `<= ${GOALS.bigOverSmall}`,
    ],
    ['memory of the big stage while it runs, MiB above idle', few.bigStageMiB.toFixed(1), `< ${GOALS.bigStageMiB}`],
    ['bytes of memory for each item that waits', few.bytesPerQueuedItem.toFixed(4), `<= ${GOALS.bytesPerQueuedItem}`],
    [`cost of an item with ${MANY_AGENTS} agents / with ${AGENTS}`, manyOverFew.toFixed(3), `<= ${GOALS.manyOverFew}`],
    [
      `tasks of ${LONG_TASK_MS} ms on ${SLOT_AGENTS * SLOTS} slots: makespan / ideal`,
      makespan.toFixed(3),
      `<= ${GOALS.makespanOverIdeal}`,
    ],
  ],
  { ...few, manyTasksPerSecond: Math.round(manyRate), manyOverFew, makespanOverIdeal: makespan },
  { ...GOALS },
  few.tasksPerSecond >= GOALS.tasksPerSecond &&
    few.bigStageMiB < GOALS.bigStageMiB &&
    few.bigOverSmall <= GOALS.bigOverSmall &&
    few.bytesPerQueuedItem <= GOALS.bytesPerQueuedItem &&
    manyOverFew <= GOALS.manyOverFew &&
    makespan <= GOALS.makespanOverIdeal,
);

async function measureFew() {
  await using swarm = await startDispatchSwarm({ agents: AGENTS });
  const { runItems } = swarm;
  await runItems('warm-up', 20_000);
  const [rates, bounds]: [number[], number[]] = [[], []];
  for (let round = 1; round <= ROUNDS; round++) {
    bounds.push(measureCore(ITEMS));
    rates.push(await runItems(`round-${round}`, ITEMS));
  }
  const small: number[] = [];
  for (let i = 0; i < 10; i++) small.push(await runItems(`small-${i}`, SMALL_STAGE_ITEMS));
  const big = await measureBigStage(runItems);
  return {
    ...{ tasksPerSecond: Math.round(median(rates)), coreTasksPerSecond: Math.round(median(bounds)) },
    ...{ rounds: rates.map(Math.round), bigStageMiB: big.heapMiB, bigOverSmall: median(small) / big.rate },
    bytesPerQueuedItem: await measureQueued(swarm),
  };
}

async function measureMany(): Promise<number> {
  // Room for as many tasks in all.
  await using swarm = await startDispatchSwarm({ agents: MANY_AGENTS, backlog: 64 });
  await swarm.runItems('warm-up', 20_000);
  const rates: number[] = [];
  for (let round = 1; round <= ROUNDS; round++) rates.push(await swarm.runItems(`round-${round}`, ITEMS));
  return median(rates);
}

/** Makespan over what the slots would need with no gap between tasks. */
async function measureSlots(): Promise<number> {
  await using swarm = await startDispatchSwarm({ agents: SLOT_AGENTS, slots: SLOTS, backlog: 3 * SLOTS });
  const stage = {
    name: 'map',
    workload: 'noop',
    taskItems: 1,
    yieldsParts: false,
    params: { msPerItem: LONG_TASK_MS },
  };
  const slots = SLOT_AGENTS * SLOTS;
  const run = (name: string, count: number) => swarm.runJob(name, [{ ...stage, items: { kind: 'count', count } }]);
  // Runners start once.
  await run('warm-up', 4 * slots);
  const ratios: number[] = [];
  for (let round = 1; round <= 3; round++) {
    const { submittedAt, endedAt = NaN } = await run(`round-${round}`, TASKS_A_SLOT * slots);
    ratios.push((endedAt - submittedAt) / (TASKS_A_SLOT * LONG_TASK_MS));
  }
  return median(ratios);
}

/** What a stage costs that waits for a peer that is not there, by the item. */
async function measureQueued({ client }: DispatchSwarm): Promise<number> {
  const before = liveBytes();
  const items = { kind: 'count', count: BIG_STAGE_ITEMS } as const;
  const stage = { name: 'map', workload: 'noop', items, labels: ['nowhere'] };
  const { id } = await client.submit({ clientKey: 'queued', name: 'queued', stages: [stage] });
  const bytes = liveBytes() - before;
  await client.call('cancel', { job: id });
  return Math.max(0, bytes) / BIG_STAGE_ITEMS;
}

/** The most that lives in this process, the coordinator's, while the stage runs, above what lived before it. */
async function measureBigStage(runItems: DispatchSwarm['runItems']): Promise<{ rate: number; heapMiB: number }> {
  const idleBytes = liveBytes();
  let mostBytes = 0;
  const timer = setInterval(() => (mostBytes = Math.max(mostBytes, liveBytes())), 250);
  const rate = await runItems('big-stage', BIG_STAGE_ITEMS);
  clearInterval(timer);
  mostBytes = Math.max(mostBytes, liveBytes());
  return { rate, heapMiB: (mostBytes - idleBytes) / MIB };
}

function liveBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
