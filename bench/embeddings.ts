// Owns `npm run bench:embeddings`: the demo's sentences through a whole swarm (a coordinator with a durable store, one
// agent process a core, none slowed), beside one process that calls ONNX Runtime directly with as many threads in all and
// the same batches. Both in turn, several times, after a warm-up of each.
//
// Counted for the swarm: from just before the job is submitted to the moment a client sees every sentence's vectors
// accepted, stored and signed for; polled, so up to POLL_MS.near too long. Not counted: listing and uploading the sentences,
// and loading the model (runners are warm). Counted for the direct process: tokenising, sorting and running; not loading
// the model, and it writes nothing.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startLocalSwarm, type LocalSwarm } from '../src/cli/local-swarm.ts';
import { uploadArtifact } from '../src/objects/transfer.ts';
import type { JobDetail } from '../src/protocol/views.ts';
import { BUILT_IN_MODEL } from '../src/workloads/embeddings/encoder.ts';
import { MICRO_BATCH } from '../src/workloads/embeddings/encoder-session.ts';
import { prepareEmbeddingsJob, type EmbeddingsJob } from '../src/workloads/embeddings/job.ts';
import { listItems } from '../src/workloads/embeddings/list.ts';
import { writeDemoCorpus } from '../src/workloads/embeddings/list-speeches.ts';
import { median, printReport, type Row } from './report.ts';

const GOALS = { ratio: 0.9 };
/** Asking costs the coordinator time, which is the swarm's: it is asked often only near the end. */
const POLL_MS = { far: 500, near: 40 };
const PRECISION = 'int8';
const PROCESS = fileURLToPath(new URL('./embeddings-process.ts', import.meta.url));

const rounds = Number(process.argv[2] ?? 5);
const threads = availableParallelism();
const dir = await mkdtemp(join(tmpdir(), 'swarm-bench-'));
try {
  await main();
} finally {
  await rm(dir, { recursive: true, force: true });
}

type Round = { readonly directMs: number; readonly embedMs: number; readonly jobMs: number };

async function main(): Promise<void> {
  const corpus = join(dir, 'corpus');
  await writeDemoCorpus(corpus);
  const sentences = (await Array.fromAsync(listItems(corpus, {}))).map(({ text }) => text);
  const sentencesFile = join(dir, 'sentences.json');
  await writeFile(sentencesFile, JSON.stringify(sentences));

  const agents = Array.from({ length: threads }, (_, i) => ({ name: `agent-${i + 1}`, threads: 1, slowdown: 1 }));
  await using swarm = await startLocalSwarm(join(dir, 'swarm'), agents);
  const job = await prepareJob(swarm, corpus);
  const order = { sentencesFile, modelDir: job.model.modelDir, precision: PRECISION, threads, batchSize: MICRO_BATCH };

  await runSwarm(swarm, job, 'warm-up');
  const measured: Round[] = [];
  for (let round = 1; round <= rounds; round++) {
    const directMs = await runDirect(order);
    measured.push({ directMs, ...(await runSwarm(swarm, job, `round ${round}`)) });
    console.log(`round ${round}: ${describe(measured.at(-1))}`);
  }
  report(sentences.length, measured);
}

function report(count: number, measured: readonly Round[]): void {
  const rate = (pick: (round: Round) => number): number => Math.round(count / (median(measured.map(pick)) / 1_000));
  const direct = rate(({ directMs }) => directMs);
  const swarm = rate(({ embedMs }) => embedMs);
  const withMerge = rate(({ jobMs }) => jobMs);
  const ratios = measured.map(({ directMs, embedMs }) => directMs / embedMs);
  const ratio = round3(median(ratios));
  // Programs beside it slow the direct process down more, whose two threads wait for each other at every step: the
  // fastest rounds of both say what a quiet machine would.
  const fastest = (pick: (round: Round) => number): number => Math.min(...measured.map(pick));
  const fastestRatio = round3(fastest(({ directMs }) => directMs) / fastest(({ embedMs }) => embedMs));
  const rows: Row[] = [
    [`sentences/s of one process with ${threads} threads`, String(direct), ''],
    [`sentences/s of the swarm of ${threads} agents, one thread each`, String(swarm), ''],
    ['the same with the merge to one file', String(withMerge), ''],
    [`ratio, median of ${measured.length} rounds`, ratio.toFixed(3), `>= ${GOALS.ratio}`],
    ['ratio of the fastest round of each', fastestRatio.toFixed(3), `>= ${GOALS.ratio}`],
    ['lowest and highest ratio', `${Math.min(...ratios).toFixed(3)} … ${Math.max(...ratios).toFixed(3)}`, ''],
  ];
  const figures = {
    ...{ ratio, fastestRatio },
    ...{ sentences: count, precision: PRECISION, threads, batch: MICRO_BATCH },
    ...{ directPerSecond: direct, swarmPerSecond: swarm, swarmWithMergePerSecond: withMerge },
    ratioWithMerge: round3(median(measured.map(({ directMs, jobMs }) => directMs / jobMs))),
    ratios: ratios.map(round3),
  };
  printReport('embeddings', rows, figures, GOALS, Math.min(ratio, fastestRatio) >= GOALS.ratio);
}

function describe(round: Round | undefined): string {
  if (!round) return 'nothing';
  const { directMs, embedMs, jobMs } = round;
  return `direct ${Math.round(directMs)} ms, swarm ${Math.round(embedMs)} ms, with the merge ${Math.round(jobMs)} ms`;
}

function prepareJob({ connection }: LocalSwarm, input: string): Promise<EmbeddingsJob> {
  const { transfer } = connection;
  return prepareEmbeddingsJob({
    ...{ input, list: {}, model: BUILT_IN_MODEL, precision: PRECISION, cacheDir: join(dir, 'models') },
    putBytes: async (source, id) => void (await uploadArtifact({ ...transfer, id, source })),
    putFile: async (id, path) => void (await uploadArtifact({ ...transfer, id, source: { path } })),
  });
}

/** The model was loaded when the clock starts. */
async function runDirect(order: object): Promise<number> {
  const { stdout } = await promisify(execFile)(process.execPath, [PROCESS, JSON.stringify(order)]);
  return (JSON.parse(stdout) as { elapsedMs: number }).elapsedMs;
}

async function runSwarm({ connection, broken }: LocalSwarm, { stages }: EmbeddingsJob, name: string) {
  const { client } = connection;
  const startedAt = performance.now();
  const { id } = await client.submit({ clientKey: name, name, stages });
  const job = (done: (detail: JobDetail) => boolean) =>
    Promise.race([
      awaitJob(() => client.call('job', { job: id }), done),
      broken.then((error) => Promise.reject(error)),
    ]);
  await job(({ stages: [embed] }) => embed?.status === 'finished');
  const embedMs = performance.now() - startedAt;
  const { status, items } = await job(({ endedAt }) => endedAt !== undefined);
  if (status !== 'completed' || items.failed > 0) throw new Error(`${name} ended as ${status}: ${items.failed} failed`);
  return { embedMs, jobMs: performance.now() - startedAt };
}

async function awaitJob(ask: () => Promise<JobDetail>, done: (detail: JobDetail) => boolean): Promise<JobDetail> {
  for (;;) {
    const detail = await ask();
    if (done(detail)) return detail;
    const [embed] = detail.stages;
    const isFar = embed !== undefined && embed.items.done < 0.9 * embed.items.total;
    await sleep(isFar ? POLL_MS.far : POLL_MS.near);
  }
}

function round3(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
