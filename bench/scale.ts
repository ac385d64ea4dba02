// Owns `npm run bench:scale`: what a turn of the core costs, a report and the plan after it, as peers, jobs and items
// grow. No operation there may be linear in any of them where it need not be.

import type { EventBody } from '../src/core/event.ts';
import { createState, type State } from '../src/core/state.ts';
import { step } from '../src/core/step.ts';
import type { JobId, KeyId } from '../src/lib/ids.ts';
import { jobSpecSchema } from '../src/protocol/job-spec.ts';
import type { AssignedTask } from '../src/protocol/to-agent.ts';
import { median, printReport } from './report.ts';

const [PEERS, JOBS, ITEMS_A_JOB, FEW_JOBS] = [200, 2_000, 5_000, 20];
const [SUBMITTERS, REPORTS_A_PEER, ROUNDS] = [6, 12, 3];
const GOALS = { turnMs: 1, manyOverFewJobs: 3, queuedItems: 10_000_000 };

type Swarm = { readonly state: State; readonly queues: Map<KeyId, AssignedTask[]>; at: number };

function post(swarm: Swarm, body: EventBody): void {
  for (const event of [body, { kind: 'schedule' } as const])
    for (const effect of step(swarm.state, { ...event, at: swarm.at }).effects)
      if (effect.kind === 'send' && effect.message.type === 'assign')
        swarm.queues.get(effect.peer)?.push(...effect.message.tasks);
}

function start(jobs: number): Swarm {
  const swarm: Swarm = { state: createState(1), queues: new Map(), at: 1e6 };
  const devices = [{ id: 'cpu', kind: 'cpu' as const, name: 'bench', memoryBytes: 1e10, threads: 1 }];
  const hello = {
    type: 'hello' as const,
    protocol: 2,
    version: 'bench',
    name: 'bench',
    devices,
    backlog: 4,
    attempts: [],
  };
  for (let i = 0; i < PEERS; i++) {
    const peer = toKey(1_000 + i);
    swarm.queues.set(peer, []);
    post(swarm, { kind: 'member-enrolled', request: 0, key: peer, name: 'peer', role: 'peer' });
    post(swarm, { kind: 'link-opened', peer, link: i, hello });
  }
  for (let i = 0; i < jobs; i++) {
    const items = { kind: 'count', count: ITEMS_A_JOB };
    const stages = [{ name: 'map', workload: 'noop', items, yieldsParts: false }];
    const spec = jobSpecSchema.parse({ v: 1, swarm: toKey(0), clientKey: `job-${i}`, name: 'bench', stages });
    const jobId = i.toString(16).padStart(16, '0') as JobId;
    post(swarm, {
      kind: 'job-submitted',
      request: 0,
      jobId,
      submitter: toKey(1 + (i % SUBMITTERS)),
      spec,
      envelope: '{}',
    });
  }
  return swarm;
}

/** Mean ms of a turn: one peer reports two tasks, and gets others. */
function measureTurns(swarm: Swarm): number {
  let turns = 0;
  const startedAt = performance.now();
  for (let round = 0; round < REPORTS_A_PEER; round++)
    for (const [i, [peer, queue]] of [...swarm.queues].entries()) {
      const done = queue.splice(0, 2);
      if (done.length === 0) continue;
      swarm.at += 15;
      turns++;
      const reports = done.map(({ epoch, start: from, end }) => ({
        ...{ epoch, outcome: { kind: 'done' as const, durationMs: (end - from) * (1 + (i % 10)), end } },
      }));
      post(swarm, { kind: 'reported', peer, link: i, reports });
    }
  return (performance.now() - startedAt) / turns;
}

function toKey(number: number): KeyId {
  return `ed25519:${String(number).padStart(64, '0')}` as KeyId;
}

const [few, many]: [number[], number[]] = [[], []];
let queuedItems = 0;
for (let round = 0; round < ROUNDS; round++) {
  few.push(measureTurns(start(FEW_JOBS)));
  const swarm = start(JOBS);
  queuedItems = [...swarm.state.stages.values()].reduce((sum, stage) => sum + stage.itemCount, 0);
  many.push(measureTurns(swarm));
}
const [turnMs, manyOverFewJobs] = [median(many), median(many) / median(few)];
printReport(
  'scale',
  [
    [`peers, jobs, items that wait`, `${PEERS}, ${JOBS}, ${queuedItems}`, `>= ${GOALS.queuedItems} items`],
    ['a turn: two reports and the plan after them, ms', turnMs.toFixed(3), `<= ${GOALS.turnMs}`],
    [`the same with ${FEW_JOBS} jobs`, median(few).toFixed(3), ''],
    ['a hundred times the jobs cost so many times as much', manyOverFewJobs.toFixed(2), `<= ${GOALS.manyOverFewJobs}`],
  ],
  { turnMs, fewTurnMs: median(few), manyOverFewJobs, queuedItems },
  { ...GOALS },
  turnMs <= GOALS.turnMs && manyOverFewJobs <= GOALS.manyOverFewJobs && queuedItems >= GOALS.queuedItems,
);
