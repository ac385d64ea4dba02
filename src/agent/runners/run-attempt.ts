// Owns one task on one runner: opening the runner if it is cold, its deadlines, its cancel, and the one outcome it ends
// with. Believes nothing that a runner says beyond what the contract and the task allow. Does not touch files.

import { assertNever } from '../../lib/assert.ts';
import { rangeLength } from '../../lib/range-set.ts';
import type { FromRunner, RunnerInfo, RunnerInit, ToRunner } from '../../protocol/runner.ts';
import { createLogBudget } from './log-budget.ts';
import { watchMemory } from './memory-guard.ts';
import type { RunOutcome, RunTask } from './run-task.ts';
import type { RunnerExit, RunnerProcess } from './runner-process.ts';

/** Loading a model from a cold disk may take longer than an item may. */
const MIN_OPEN_TIMEOUT_MS = 120_000;
/** How long a runner may take to give a canceled run up before it is killed. */
const CANCEL_GRACE_MS = 2_000;

type RunMessage = Extract<ToRunner, { type: 'run' }>;
type MessageOf<T extends FromRunner['type']> = Extract<FromRunner, { type: T }>;

export type Attempted = {
  readonly outcome: RunOutcome;
  /** The runner answered as it should and may serve the next task. */
  readonly reusable: boolean;
  /** What the runner said when it opened, if it did. */
  readonly info?: RunnerInfo;
};

export type AttemptOptions = {
  readonly runner: RunnerProcess;
  readonly task: RunTask;
  readonly run: RunMessage;
  /** Absent for a warm runner, whose `info` is known. */
  readonly init?: RunnerInit;
  readonly info?: RunnerInfo;
  /** All time limits grow with the slow-down on purpose. */
  readonly slowdown: number;
  readonly memoryBytes: number;
};

/** Starts at once; `ended` resolves once and never rejects. */
export class RunAttempt {
  readonly ended: Promise<Attempted>;
  readonly #options: AttemptOptions;
  readonly #settle: (attempted: Attempted) => void;
  readonly #logs = createLogBudget();
  readonly #openTimeoutMs: number;
  readonly #cleanups: (() => void)[] = [];
  #info: RunnerInfo | undefined;
  #cursor: number;
  #until: number;
  /** Requests to shrink that were not answered, and what was promised last. */
  #asked = 0;
  #boundary: number | undefined;
  #runningSince = 0;
  #idleTimer: NodeJS.Timeout | undefined;
  #canceling = false;
  #settled = false;

  constructor(options: AttemptOptions) {
    const { promise, resolve } = Promise.withResolvers<Attempted>();
    this.ended = promise;
    this.#settle = resolve;
    this.#options = options;
    this.#info = options.info;
    this.#cursor = options.task.range.start;
    this.#until = options.task.range.end;
    this.#openTimeoutMs = Math.max(MIN_OPEN_TIMEOUT_MS, options.task.idleTimeoutMs);
    this.#start();
  }

  /** Takes the tail from `until` on back. `onShrunk` tells the boundary that the runner keeps to, unless it ends before. */
  shrink(until: number): void {
    if (this.#settled || until >= this.#until) return;
    this.#until = Math.max(until, this.#options.task.range.start);
    this.#asked++;
    this.#options.runner.send({ type: 'shrink', id: this.#options.run.id, until: this.#until });
  }

  #start(): void {
    const { runner, task, init, memoryBytes } = this.#options;
    runner.listener = {
      onMessage: (message) => this.#onMessage(message),
      onViolation: (reason) => this.#onViolation(reason),
    };
    void runner.exited.then((exit) => this.#onExit(exit));
    const onAbort = () => this.#onCancel();
    task.signal?.addEventListener('abort', onAbort, { once: true });
    this.#cleanups.push(() => task.signal?.removeEventListener('abort', onAbort));
    // Fired while the process was being started: nobody will tell again.
    if (task.signal?.aborted) return this.#end({ kind: 'canceled' }, init === undefined);
    if (runner.pid !== undefined)
      this.#cleanups.push(watchMemory(runner.pid, memoryBytes, (usedBytes) => this.#onMemory(usedBytes)));
    if (init === undefined) return this.#sendRun();
    runner.send(init);
    this.#armIdle(this.#openTimeoutMs, 'opening the workload');
  }

  #sendRun(): void {
    const { runner, run, task, slowdown } = this.#options;
    runner.send(run);
    this.#runningSince = performance.now();
    this.#armIdle(task.idleTimeoutMs, 'progress');
    if (task.timeoutMs === undefined) return;
    const reason = `the task was not done within ${task.timeoutMs} ms`;
    const timer = setTimeout(() => this.#end({ kind: 'hung', reason }, false), task.timeoutMs * slowdown);
    this.#cleanups.push(() => clearTimeout(timer));
  }

  #onMessage(message: FromRunner): void {
    switch (message.type) {
      case 'ready':
        return this.#onReady(message);
      case 'progress':
        return this.#onProgress(message);
      case 'result':
        return this.#onResult(message);
      case 'shrunk':
        return this.#onShrunk(message);
      case 'metric':
        if (this.#ofThisRun(message.id)) this.#options.task.onMetric?.(message.name, message.value);
        return;
      case 'log':
        return this.#onLog(message);
      case 'failed':
        return this.#onFailed(message);
      default:
        return assertNever(message);
    }
  }

  #onReady({ info }: MessageOf<'ready'>): void {
    if (this.#info !== undefined) return this.#onViolation('it said ready twice');
    this.#info = info;
    this.#sendRun();
  }

  #onProgress({ id, cursor }: MessageOf<'progress'>): void {
    const { task } = this.#options;
    if (!this.#ofThisRun(id)) return;
    if (cursor > task.range.end || cursor < this.#cursor) return this.#onViolation(`its cursor went to ${cursor}`);
    // The same cursor again is a sign of life within one long item.
    this.#idleTimer?.refresh();
    if (cursor === this.#cursor) return;
    this.#cursor = cursor;
    task.onProgress?.(cursor);
  }

  /** An answer to each request, and never behind what was asked or beyond what there is. */
  #onShrunk({ id, until }: MessageOf<'shrunk'>): void {
    if (!this.#ofThisRun(id)) return;
    const { start, end } = this.#options.task.range;
    if (this.#asked === 0 || until < start || until < this.#until || until > (this.#boundary ?? end))
      return this.#onViolation(`it keeps to ${until}, which nobody asked for`);
    this.#asked--;
    this.#boundary = until;
    this.#options.task.onShrunk?.(until);
  }

  #onLog({ level, text }: MessageOf<'log'>): void {
    const line = this.#logs.take(text, performance.now());
    if (line !== undefined) this.#options.task.onLog?.(level, line);
  }

  #onResult(message: MessageOf<'result'>): void {
    const { id, items, outFile, inline, metrics } = message;
    const { task, run } = this.#options;
    if (!this.#ofThisRun(id)) return;
    const wanted = (this.#boundary ?? this.#until) - task.range.start;
    if (items < wanted || items > (this.#boundary === undefined ? rangeLength(task.range) : wanted))
      return this.#onViolation(`it says that ${items} of ${wanted} items are done`);
    if (outFile !== undefined && outFile !== run.outFile) return this.#onViolation('its part has another name');
    if (this.#canceling) return this.#end({ kind: 'canceled' }, true);
    const durationMs = Math.min(message.durationMs, performance.now() - this.#runningSince);
    const info = this.#info ?? {};
    const optional = { ...(outFile !== undefined && { outFile }), ...(inline !== undefined && { inline }) };
    this.#end({ kind: 'done', items, durationMs, info, ...optional, ...(metrics && { metrics }) }, true);
  }

  #onFailed({ id, kind, reason, item, outOfMemory = false }: MessageOf<'failed'>): void {
    if (id !== undefined && !this.#ofThisRun(id)) return;
    const { start, end } = this.#options.task.range;
    if (item !== undefined && (item < start || item >= end)) return this.#onViolation(`it blames item ${item}`);
    const scope = kind === 'item' && item === undefined ? 'task' : kind;
    const ownFault = scope !== 'fatal' && !outOfMemory;
    if (this.#canceling) return this.#end({ kind: 'canceled' }, ownFault);
    this.#end({ kind: 'failed', scope, reason, outOfMemory, ...(item !== undefined && { item }) }, ownFault);
  }

  /** A message of another run, or before the run was sent, is a lie. */
  #ofThisRun(id: number): boolean {
    const fits = id === this.#options.run.id && this.#info !== undefined;
    if (!fits) this.#onViolation(`it speaks of run ${id}`);
    return fits;
  }

  #onViolation(reason: string): void {
    this.#end(this.#canceling ? { kind: 'canceled' } : { kind: 'protocol-violation', reason }, false);
  }

  #onExit(exit: RunnerExit): void {
    if (this.#canceling) return this.#end({ kind: 'canceled' }, false);
    const { stderrTail } = this.#options.runner;
    const outOfMemory = /heap out of memory|bad_alloc|Cannot allocate memory/i.test(stderrTail);
    this.#end({ kind: 'crashed', ...exit, stderrTail, outOfMemory }, false);
  }

  #onMemory(usedBytes: number): void {
    const reason = `the runner used ${usedBytes} bytes of memory, over its limit of ${this.#options.memoryBytes}`;
    this.#end({ kind: 'failed', scope: 'task', reason, outOfMemory: true }, false);
  }

  #onCancel(): void {
    this.#canceling = true;
    if (this.#info === undefined) return this.#end({ kind: 'canceled' }, false);
    this.#options.runner.send({ type: 'cancel', id: this.#options.run.id });
    const timer = setTimeout(() => this.#end({ kind: 'canceled' }, false), CANCEL_GRACE_MS);
    this.#cleanups.push(() => clearTimeout(timer));
  }

  #armIdle(timeoutMs: number, what: string): void {
    clearTimeout(this.#idleTimer);
    const reason = `no ${what} within ${timeoutMs} ms`;
    this.#idleTimer = setTimeout(() => this.#end({ kind: 'hung', reason }, false), timeoutMs * this.#options.slowdown);
  }

  #end(outcome: RunOutcome, reusable: boolean): void {
    if (this.#settled) return;
    this.#settled = true;
    clearTimeout(this.#idleTimer);
    for (const cleanup of this.#cleanups) cleanup();
    const dropped = this.#logs.close();
    if (dropped !== undefined) this.#options.task.onLog?.('warn', dropped);
    this.#settle({ outcome, reusable, ...(this.#info && { info: this.#info }) });
  }
}
