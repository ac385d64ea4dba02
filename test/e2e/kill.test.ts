// The kill test: a job of 8,166 items, the coordinator killed once and two agents once each, or the network cut for 20 s;
// the output equals that of an undisturbed run. Everything is a real process started by the `swarm` command.

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { writeDemoCorpus } from '../../src/workloads/embeddings/list-speeches.ts';
import { until } from '../helpers/condition.ts';
import { Mesh } from '../helpers/mesh.ts';
import { killAll, type SwarmProcess } from '../helpers/swarm-process.ts';
import { compareVectorFiles } from '../helpers/vector-files.ts';

const MIN_ITEMS = 5_000;
/** A job's speed on purpose, so that it is still running when things break. */
const SLOWDOWN = '4';

let dir: string;
let corpus: string;
let undisturbed: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'swarm-kill-'));
  corpus = join(dir, 'corpus');
  await writeDemoCorpus(corpus);
  undisturbed = join(dir, 'undisturbed.parquet');
  await using mesh = await Mesh.start(join(dir, 'calm'), { slowdown: '1' });
  const run = mesh.embed(corpus, undisturbed);
  expect([await run.ended(), run.stderr]).toEqual([0, expect.any(String)]);
});

afterEach(killAll);
afterAll(() => rm(dir, { recursive: true, force: true }));

async function expectUndisturbed(run: SwarmProcess, out: string): Promise<void> {
  expect([await run.ended(240_000), run.stderr]).toEqual([0, expect.any(String)]);
  expect(await compareVectorFiles(undisturbed, out)).toBeGreaterThanOrEqual(MIN_ITEMS);
  // Nothing half-written is left beside the output.
  expect((await readdir(dir)).filter((name) => name.includes('partial'))).toEqual([]);
}

describe('nothing is lost', () => {
  test('kill -9 of the coordinator once and of two agents once each', async () => {
    await using mesh = await Mesh.start(join(dir, 'killed'), { slowdown: SLOWDOWN });
    const out = join(dir, 'killed.parquet');
    const run = mesh.embed(corpus, out);
    await mesh.done(800);
    await mesh.killCoordinator();
    await mesh.restartCoordinator();
    await mesh.done(1_600);
    await mesh.killAgent('attic');
    await mesh.done(2_400);
    mesh.startAgent('attic');
    await mesh.killAgent('kitchen');
    await mesh.done(3_200);
    mesh.startAgent('kitchen');
    await expectUndisturbed(run, out);
    const job = await mesh.job();
    expect(job).toMatchObject({ status: 'completed', items: { failed: 0 } });
    expect(job?.workers.filter(({ doneItems }) => doneItems > 0)).toHaveLength(3);
  });

  test('the network of all agents cut for 20 s', async () => {
    await using mesh = await Mesh.start(join(dir, 'cut'), { slowdown: SLOWDOWN, proxied: true });
    const out = join(dir, 'cut.parquet');
    const run = mesh.embed(corpus, out);
    await mesh.done(1_600);
    mesh.cut();
    const cutAt = performance.now();
    await until('20 s to pass', () => performance.now() - cutAt > 20_000);
    mesh.mend();
    await expectUndisturbed(run, out);
    expect(await mesh.job()).toMatchObject({ status: 'completed', items: { failed: 0 } });
  });
});
