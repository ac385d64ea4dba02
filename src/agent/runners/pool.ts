// Owns the warm runners of an agent: which one serves a task, when another is started and when one is ended. A runner is
// kept for tasks with the very same init and signer. Does not know jobs, epochs or where parts go.

import { mkdir, readdir, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../../lib/assert.ts';
import { toCanonicalBytes } from '../../protocol/canonical.ts';
import type { RunnerInfo } from '../../protocol/runner.ts';
import type { Logger } from '../../runtime/logger.ts';
import { startBuiltin, type BuiltinRunner } from './builtin.ts';
import { RunAttempt, type Attempted } from './run-attempt.ts';
import { describeOutcome, type RunOutcome, type RunTask } from './run-task.ts';
import { probeSandbox, type Sandbox, type SandboxLevel, type SandboxWish } from './sandbox.ts';
import { dropPart, placeInputs, removeInputs, takePart, type PlacedInputs } from './task-files.ts';

export type RunnerPoolOptions = {
  /** The folder of this release, which holds package.json. */
  readonly appDir: string;
  /** Belongs to this pool alone; what an earlier one left there is removed. */
  readonly scratchDir: string;
  readonly sandbox: SandboxWish;
  readonly logger: Pick<Logger, 'debug' | 'warn'>;
  /** The most memory one runner may use. */
  readonly memoryBytes: number;
  /** The most processes at once before an idle one is ended to make room; busy ones are the caller's to bound. */
  readonly maxWarm: number;
  /** On purpose slower by this factor, for demos; 1 when absent. */
  readonly slowdown?: number;
  /** Where programs are looked up and test workloads allowed; never handed to runners. */
  readonly environment?: NodeJS.ProcessEnv;
};

type Pooled = BuiltinRunner & { readonly key: string; readonly info: RunnerInfo | undefined };

/** Finds the sandbox that works here and starts an empty pool. Throws `unavailable` when the wished one does not work. */
export async function createRunnerPool(options: RunnerPoolOptions): Promise<RunnerPool> {
  const sandbox = await probeSandbox(options.sandbox, options.environment ?? process.env);
  if (sandbox.level === 'permission')
    options.logger.warn(
      { because: sandbox.because },
      'runners have no bubblewrap: only Node’s permission model holds them',
    );
  await mkdir(options.scratchDir, { recursive: true, mode: 0o700 });
  const scratchDir = await realpath(options.scratchDir);
  for (const name of await readdir(scratchDir))
    if (/^(runner-\d+|parts)$/.test(name)) await rm(join(scratchDir, name), { recursive: true, force: true });
  await mkdir(join(scratchDir, 'parts'));
  return new RunnerPool({ ...options, scratchDir }, sandbox);
}

export class RunnerPool {
  readonly sandbox: SandboxLevel;
  readonly #options: RunnerPoolOptions;
  readonly #sandbox: Sandbox;
  /** By key, the one used last at the end. */
  readonly #idle = new Set<Pooled>();
  readonly #busy = new Set<Pooled>();
  readonly #attempts = new Set<Promise<RunOutcome>>();
  readonly #closing = new AbortController();
  #starting = 0;
  #counter = 0;

  constructor(options: RunnerPoolOptions, sandbox: Sandbox) {
    this.#options = options;
    this.#sandbox = sandbox;
    this.sandbox = sandbox.level;
  }

  /** Runs one task to its end; what fails is an outcome, never thrown. No process of a failed attempt is left behind. */
  async run(task: RunTask): Promise<RunOutcome> {
    const signal = task.signal ? AbortSignal.any([task.signal, this.#closing.signal]) : this.#closing.signal;
    if (signal.aborted) return { kind: 'canceled' };
    const attempt = this.#run({ ...task, signal }).catch(toFailed);
    this.#attempts.add(attempt);
    const outcome = await attempt;
    this.#attempts.delete(attempt);
    if (outcome.kind !== 'done' && outcome.kind !== 'canceled')
      this.#options.logger.debug({ kind: outcome.kind, workload: task.workload }, describeOutcome(outcome));
    return outcome;
  }

  /** How many runners are alive, and how many of them idle. */
  get size(): { readonly alive: number; readonly idle: number } {
    return { alive: this.#idle.size + this.#busy.size + this.#starting, idle: this.#idle.size };
  }

  /** Ends the runners that do nothing, to free their memory. */
  async stopIdle(): Promise<void> {
    await Promise.all([...this.#idle].map((runner) => this.#stopIdle(runner)));
  }

  /** Cancels what runs and ends every process. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#attempts);
    await this.stopIdle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(task: RunTask): Promise<RunOutcome> {
    const key = toRunnerKey(task);
    const runner = this.#takeIdle(key) ?? (await this.#start(task, key));
    const id = ++this.#counter;
    let inputs: PlacedInputs = {};
    let attempted: Attempted | undefined;
    try {
      inputs = await placeInputs(task.inputs, runner.inDir, `task-${id}`);
      attempted = await this.#attempt(runner, task, id, inputs);
      return await this.#toOutcome(runner, attempted, id);
    } finally {
      await this.#release(runner, attempted, inputs);
    }
  }

  async #attempt(runner: Pooled, task: RunTask, id: number, inputs: PlacedInputs): Promise<Attempted> {
    const { slowdown = 1, memoryBytes } = this.#options;
    const run = { type: 'run', id, range: task.range, outFile: toPartName(id), ...inputs } as const;
    const opened = runner.info === undefined ? { init: runner.init } : { info: runner.info };
    const attempt = new RunAttempt({ runner: runner.process, task, run, slowdown, memoryBytes, ...opened });
    task.onStart?.({ shrink: (until) => attempt.shrink(until) });
    return attempt.ended;
  }

  async #toOutcome(runner: Pooled, { outcome }: Attempted, id: number): Promise<RunOutcome> {
    if (outcome.kind !== 'done') {
      await dropPart(runner.outDir, toPartName(id));
      return outcome;
    }
    if (outcome.outFile === undefined) return outcome;
    const outFile = join(this.#options.scratchDir, 'parts', toPartName(id));
    if (await takePart(runner.outDir, outcome.outFile, outFile)) return { ...outcome, outFile };
    return { kind: 'protocol-violation', reason: 'its part is not a regular file' };
  }

  #takeIdle(key: string): Pooled | undefined {
    for (const runner of this.#idle) {
      if (runner.key !== key || !runner.process.isAlive) continue;
      this.#idle.delete(runner);
      this.#busy.add(runner);
      return runner;
    }
    return undefined;
  }

  async #start(task: RunTask, key: string): Promise<Pooled> {
    this.#starting++;
    try {
      await this.#makeRoom();
      const { appDir, scratchDir, memoryBytes, slowdown = 1, environment = process.env } = this.#options;
      const { workload, init } = task;
      const dir = join(scratchDir, `runner-${++this.#counter}`);
      const common = { sandbox: this.#sandbox, appDir, dir, memoryBytes, slowdown, environment };
      const runner: Pooled = { ...(await startBuiltin({ ...common, workload, init })), key, info: undefined };
      this.#busy.add(runner);
      return runner;
    } finally {
      this.#starting--;
    }
  }

  /** Ends the runners that were idle longest until another fits, and waits until their memory is free. */
  async #makeRoom(): Promise<void> {
    const over = this.size.alive - this.#options.maxWarm;
    const oldest = [...this.#idle].slice(0, Math.max(0, over));
    await Promise.all(oldest.map((runner) => this.#stopIdle(runner)));
  }

  async #release(runner: Pooled, attempted: Attempted | undefined, inputs: PlacedInputs): Promise<void> {
    this.#busy.delete(runner);
    if (!attempted?.reusable || !runner.process.isAlive) return runner.stop(false);
    await removeInputs(runner.inDir, inputs);
    const idle: Pooled = { ...runner, info: attempted.info };
    // An idle runner has nothing to say: one that speaks is ended, one that dies is forgotten.
    const end = () => void this.#stopIdle(idle);
    runner.process.listener = { onMessage: end, onViolation: end };
    void runner.process.exited.then(end);
    this.#idle.add(idle);
    if (this.#closing.signal.aborted) await this.#stopIdle(idle);
  }

  async #stopIdle(runner: Pooled): Promise<void> {
    if (this.#idle.delete(runner)) await runner.stop(true);
  }
}

/** Everything that must be equal for a runner to be shared. */
function toRunnerKey({ signer, workload, init }: RunTask): string {
  const bytes = toCanonicalBytes({ signer, workload, init });
  assert(bytes.ok, 'an init taken from a signed spec is canonical JSON');
  return bytes.value.toBase64();
}

function toPartName(id: number): string {
  return `part-${id}`;
}

/** The file system of the agent failed: the task did not run, no item is to blame. */
function toFailed(error: unknown): RunOutcome {
  const reason = `the agent could not run the task: ${error instanceof Error ? error.message : String(error)}`;
  return { kind: 'failed', scope: 'task', reason: reason.slice(0, 2_000), outOfMemory: false };
}
