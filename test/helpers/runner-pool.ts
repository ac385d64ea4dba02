// Owns a runner pool in a folder of its own, for tests with real sandboxed child processes.

import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { createRunnerPool, type RunnerPool, type RunnerPoolOptions } from '../../src/agent/runners/pool.ts';
import type { RunOutcome, RunTask } from '../../src/agent/runners/run-task.ts';
import { probeSandbox } from '../../src/agent/runners/sandbox.ts';
import { MIB } from '../../src/lib/byte-sizes.ts';
import { APP_DIR } from './test-agent.ts';

/** The wishes that this machine can fulfil; a test of another is skipped. */
export const BUBBLEWRAP_WORKS = (await probeSandbox('auto', process.env)).level === 'bubblewrap+permission';

export const sandboxWishSchema = z.enum(['auto', 'bubblewrap', 'permission']);

export type TestPool = AsyncDisposable & { readonly pool: RunnerPool; readonly dir: string };

/** A pool that runs the test workloads, too. */
export async function openPool(overrides: Partial<RunnerPoolOptions> = {}): Promise<TestPool> {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'swarm-pool-')));
  const pool = await createRunnerPool({
    appDir: APP_DIR,
    scratchDir: join(dir, 'runners'),
    sandbox: 'permission',
    logger: { debug() {}, warn() {} },
    memoryBytes: 1_024 * MIB,
    maxWarm: 2,
    environment: { ...process.env, SWARM_TEST_WORKLOADS: '1' },
    ...overrides,
  });
  return {
    pool,
    dir,
    async [Symbol.asyncDispose]() {
      await pool.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** A task of the fault workload over the items 0 to 9, which are their own indexes. */
export function chaosTask(params: RunTask['init']['params'] = {}, overrides: Partial<RunTask> = {}): RunTask {
  return {
    signer: 'alice',
    workload: 'chaos',
    init: { step: 'map', params, device: { id: 'cpu', kind: 'cpu' }, threads: 1 },
    range: { start: 0, end: 10 },
    inputs: { kind: 'count' },
    idleTimeoutMs: 60_000,
    ...overrides,
  };
}

/** The outcome as `done`, or an error that shows what it was. */
export function expectDone(outcome: RunOutcome): Extract<RunOutcome, { kind: 'done' }> {
  if (outcome.kind !== 'done') throw new Error(`the task ended as ${JSON.stringify(outcome)}`);
  return outcome;
}
