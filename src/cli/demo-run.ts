// Owns the demo itself: a swarm on this machine from nothing to a Parquet file that answers questions. The agents'
// different speeds are made on purpose, so that one machine shows what several would do.

import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { formatDuration } from '../lib/durations.ts';
import type { JobDetail } from '../protocol/views.ts';
import { writeDemoCorpus } from '../workloads/embeddings/list-speeches.ts';
import { checkOutput } from '../workloads/embeddings/merge.ts';
import { describeEnd, followOrCancel, toJobExitCode } from './follow.ts';
import type { Globals } from './globals.ts';
import { onInterrupt, type Interrupt } from './interrupt.ts';
import { startLocalSwarm, type LocalAgent } from './local-swarm.ts';
import { note, print, type Output } from './output.ts';
import { answerQueries, formatAnswer, modelCache, type Answer } from './query.ts';
import { downloadResult, submitEmbeddings, type EmbeddingsRun } from './run-embeddings.ts';
import { toCount } from './progress-view.ts';

const QUERIES = ['peace with other nations', 'the public debt must be paid', 'education of our children'];
const HITS = 3;

export type DemoOptions = { readonly input?: string; readonly out: string; readonly keep?: true };

/** Runs the demo to its end; the exit code. */
export async function runDemo({ home, output }: Globals, options: DemoOptions): Promise<number> {
  const startedAt = performance.now();
  using interrupt = onInterrupt();
  const dir = await mkdtemp(join(tmpdir(), 'swarm-demo-'));
  try {
    const out = resolve(options.out);
    await mkdir(dirname(out), { recursive: true });
    await checkOutput(out);
    const run = await prepareRun(dir, out, options, modelCache(home.dir));
    const job = await embed(dir, run, out, output, interrupt);
    if (job?.status !== 'completed')
      return job && !interrupt.signal.aborted ? toJobExitCode(job) : interrupt.exitCode();
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
    if (interrupt.signal.aborted) return interrupt.exitCode();
    throw error;
  } finally {
    if (options.keep === true) note(output, `the swarm’s files are in ${dir}`);
    else await rm(dir, { recursive: true, force: true });
  }
}

async function prepareRun(dir: string, out: string, { input }: DemoOptions, cacheDir: string): Promise<EmbeddingsRun> {
  const options = { out, invalidUtf8: 'fail', model: 'use-lite', precision: 'int8', priority: 0 } as const;
  if (input !== undefined) return { input: resolve(input), options: { ...options, name: 'demo' }, cacheDir };
  const corpus = join(dir, 'speeches');
  await writeDemoCorpus(corpus);
  return { input: corpus, options: { ...options, name: 'presidents’ speeches' }, cacheDir };
}

/** Undefined when Ctrl-C came before there was a job. */
async function embed(
  dir: string,
  run: EmbeddingsRun,
  out: string,
  output: Output,
  { signal }: Interrupt,
): Promise<JobDetail | undefined> {
  const agents = listAgents();
  note(output, `starting a coordinator and ${agents.length} agents on this machine …`);
  await using swarm = await startLocalSwarm(dir, agents);
  for (const { name, threads, slowdown } of agents)
    note(
      output,
      `  ${name.padEnd(16)} ${threads} ${threads === 1 ? 'thread' : 'threads'}${slowdown > 1 ? `, ${slowdown}x slower on purpose` : ''}`,
    );
  if (signal.aborted) return undefined;
  const { connection } = swarm;
  const working = (async () => {
    const { id, tally } = await submitEmbeddings(connection, run, output, signal);
    note(output, `embedding ${toCount(tally.items)} texts from ${toCount(tally.files)} files\n`);
    const ended = await followOrCancel(connection.client, id, output, signal);
    if (ended.status === 'completed' && !signal.aborted) await downloadResult(connection, id, out, signal);
    else if (!signal.aborted) note(output, await describeEnd(connection.client, ended));
    return ended;
  })();
  return await Promise.race([working, swarm.broken.then((error) => Promise.reject(error))]);
}

function listAgents(): LocalAgent[] {
  const threads = Math.max(1, Math.floor(availableParallelism() / 2));
  return [
    { name: 'attic-5090', threads, slowdown: 1 },
    { name: 'den-3070', threads: Math.max(1, Math.floor(threads / 2)), slowdown: 2 },
    { name: 'kitchen-laptop', threads: 1, slowdown: 4 },
  ];
}

function toReport(job: JobDetail, out: string, answers: readonly Answer[], tookMs: number): string {
  const shares = job.workers.map(({ name, doneItems }) => `${name} ${toCount(doneItems)}`).join(', ');
  return [
    '',
    ...answers.flatMap((answer) => [formatAnswer(answer), '']),
    `wrote ${out}`,
    `${toCount(job.items.done)} texts by ${shares}; ${formatDuration(tookMs)} in all`,
    '',
    `Ask more:  npm run swarm -- query ${out} "your question"`,
  ].join('\n');
}
