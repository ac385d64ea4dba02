// Owns the demo itself: a swarm on this machine from nothing to a Parquet file that answers questions. The agents'
// different speeds are made on purpose, so that one machine shows what several would do.

import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { defined } from '../lib/assert.ts';
import { formatDuration } from '../lib/durations.ts';
import type { JobDetail } from '../protocol/views.ts';
import { writeDemoCorpus } from '../workloads/embeddings/list-speeches.ts';
import { checkOutput } from '../workloads/embeddings/merge.ts';
import type { Connection } from './connect.ts';
import { describeEnd, followOrCancel, toJobExitCode } from './follow.ts';
import type { Globals } from './globals.ts';
import { onInterrupt, type Interrupt } from './interrupt.ts';
import { onExit } from './last-resort.ts';
import { startLocalSwarm, type LocalAgent } from './local-swarm.ts';
import { note, print, toPercent, type Output } from './output.ts';
import { answerQueries, formatAnswer, modelCache, type Answer } from './query.ts';
import { downloadResult, submitEmbeddings, type EmbeddingsRun } from './run-embeddings.ts';
import { toCount } from './progress-view.ts';

const QUERIES = ['peace with other nations', 'the public debt must be paid', 'education of our children'];
const HITS = 3;
/** Agents that are just ending may still write. */
const REMOVAL = { recursive: true, force: true, maxRetries: 5, retryDelay: 50 };

export type DemoOptions = {
  readonly input?: string;
  readonly out: string;
  readonly agents: number;
  readonly keep?: true;
};

/** Runs the demo to its end; the exit code. */
export async function runDemo({ home, output }: Globals, options: DemoOptions): Promise<number> {
  const startedAt = performance.now();
  using interrupt = onInterrupt();
  const dir = await mkdtemp(join(tmpdir(), 'swarm-demo-'));
  const isKept = options.keep === true;
  using _ = onExit(() => isKept || rmSync(dir, REMOVAL));
  try {
    const out = resolve(options.out);
    await mkdir(dirname(out), { recursive: true });
    await checkOutput(out);
    const run = await prepareRun(dir, out, options, modelCache(home.dir));
    const job = await embed(dir, run, { out, agents: listAgents(options.agents), output, interrupt });
    if (interrupt.signal.aborted || !job) return sayInterrupted(output, interrupt);
    if (job.status !== 'completed') return toJobExitCode(job);
    const answers = await answerQueries({
      file: out,
      texts: QUERIES,
      hits: HITS,
      model: run.options.model,
      cacheDir: run.cacheDir,
    });
    print(output, { out, job, answers }, () => toReport(job, out, answers, performance.now() - startedAt));
    return toJobExitCode(job);
  } catch (error) {
    if (interrupt.signal.aborted) return sayInterrupted(output, interrupt);
    throw error;
  } finally {
    if (isKept) note(output, `the swarm’s files are in ${dir}`);
    else await rm(dir, REMOVAL);
  }
}

function sayInterrupted(output: Output, interrupt: Interrupt): number {
  note(output, 'interrupted: nothing was written');
  return interrupt.exitCode();
}

async function prepareRun(dir: string, out: string, { input }: DemoOptions, cacheDir: string): Promise<EmbeddingsRun> {
  const options = { out, invalidUtf8: 'fail', model: 'use-lite', precision: 'int8', priority: 0 } as const;
  if (input !== undefined) return { input: resolve(input), options: { ...options, name: 'demo' }, cacheDir };
  const corpus = join(dir, 'speeches');
  await writeDemoCorpus(corpus);
  return { input: corpus, options: { ...options, name: 'presidents’ speeches' }, cacheDir };
}

type Stage = {
  readonly out: string;
  readonly agents: readonly LocalAgent[];
  readonly output: Output;
  readonly interrupt: Interrupt;
};

/** Undefined when Ctrl-C came before there was a job. */
async function embed(
  dir: string,
  run: EmbeddingsRun,
  { out, agents, output, interrupt }: Stage,
): Promise<JobDetail | undefined> {
  const { signal } = interrupt;
  note(output, `starting a coordinator and ${agents.length} agents on this machine …`);
  await using swarm = await startLocalSwarm(dir, agents, { signal });
  for (const { name, threads, slowdown } of agents)
    note(
      output,
      `  ${name.padEnd(16)} ${threads} ${threads === 1 ? 'thread' : 'threads'}${slowdown > 1 ? `, ${slowdown}x slower on purpose` : ''}`,
    );
  note(output, `watch it: ${swarm.dashboardUrl}`);
  if (signal.aborted) return undefined;
  const broken = new AbortController();
  void swarm.broken.then((error) => broken.abort(error));
  const either = AbortSignal.any([signal, broken.signal]);
  const [ended] = await Promise.allSettled([runJob(swarm.connection, run, out, output, either)]);
  // What broke the swarm says more than what it broke.
  broken.signal.throwIfAborted();
  if (ended.status === 'rejected') throw ended.reason;
  return ended.value;
}

async function runJob(
  connection: Connection,
  run: EmbeddingsRun,
  out: string,
  output: Output,
  signal: AbortSignal,
): Promise<JobDetail> {
  const { id, tally } = await submitEmbeddings(connection, run, output, signal);
  note(output, `embedding ${toCount(tally.items)} texts from ${toCount(tally.files)} files\n`);
  const ended = await followOrCancel(connection.client, id, output, signal);
  if (signal.aborted) return ended;
  if (ended.status === 'completed') await downloadResult(connection, id, out, signal);
  else note(output, await describeEnd(connection.client, ended));
  return ended;
}

/** Names of machines that friends have; the speeds are this machine's, divided. */
const MACHINES = [
  { name: 'attic-5090', share: 2, slowdown: 1 },
  { name: 'den-3070', share: 4, slowdown: 2 },
  { name: 'kitchen-laptop', share: 8, slowdown: 4 },
] as const;

function listAgents(count: number): LocalAgent[] {
  return Array.from({ length: count }, (_, i) => {
    const { name, share, slowdown } = defined(MACHINES[i % MACHINES.length], 'a machine');
    const round = Math.floor(i / MACHINES.length);
    const threads = Math.max(1, Math.floor(availableParallelism() / share));
    return { name: round === 0 ? name : `${name}-${round + 1}`, threads, slowdown };
  });
}

function toReport(job: JobDetail, out: string, answers: readonly Answer[], tookMs: number): string {
  const embedMs = defined(job.endedAt, 'end of the job') - job.submittedAt;
  return [
    '',
    ...answers.flatMap((answer) => [formatAnswer(answer), '']),
    `wrote ${out}`,
    ...toShares(job, embedMs),
    `${toCount(job.items.done)} texts in ${formatDuration(embedMs)}, ${formatDuration(tookMs)} in all`,
    '',
    `Ask more:  npm run swarm -- query ${out} "your question"`,
  ].join('\n');
}

/** Who did how much, the busiest first. */
function toShares({ workers, items }: JobDetail, tookMs: number): string[] {
  const width = Math.max(0, ...workers.map(({ name }) => name.length));
  return workers
    .toSorted((a, b) => b.doneItems - a.doneItems)
    .map(
      ({ name, doneItems }) =>
        `  ${name.padEnd(width)}  ${toCount(doneItems).padStart(7)} texts  ${toPercent(doneItems / Math.max(1, items.done)).padStart(5)}  ${toCount((1_000 * doneItems) / Math.max(1, tookMs)).padStart(5)} texts/s`,
    );
}
