// Owns one runner process's side of the contract: opened once, then one run at a time. Does not know file descriptors,
// the sandbox or which workloads exist.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { assertNever } from '../../lib/assert.ts';
import { MAX_INLINE_BYTES, type FromRunner, type RunnerInit, type ToRunner } from '../../protocol/runner.ts';
import { ItemFailure, OutOfMemory, type OpenRun, type RunModule, type RunYield } from '../../workloads/workload.ts';
import { openItems, type ItemSource } from './child-items.ts';
import { createPace } from './child-pace.ts';

type RunMessage = Extract<ToRunner, { type: 'run' }>;
type CurrentRun = { readonly id: number; readonly abort: AbortController; readonly items: ItemSource };
const MAX_REASON = 2_000;
const MAX_LOG_CHARS = 8_000;

export type ChildSession = {
  /** Carries out one message. Nothing is thrown: what fails is said. */
  onMessage(message: ToRunner): void;
  /** Frees the workload. */
  close(): Promise<void>;
};

export function createChildSession(options: {
  load: (workload: string) => Promise<RunModule> | undefined;
  send: (message: FromRunner) => void;
  /** The agent asked for the end, or nothing more can be done. */
  exit: (code: number) => void;
}): ChildSession {
  const { load, send, exit } = options;
  let init: RunnerInit | undefined;
  let open: OpenRun | undefined;
  let current: CurrentRun | undefined;

  function onMessage(message: ToRunner): void {
    switch (message.type) {
      case 'init':
        if (init) return fail('a second init');
        init = message;
        return void onInit(message);
      case 'run':
        if (!open || !init || current) return fail(current ? 'a run while another runs' : 'a run before ready');
        return void onRun(open, init, message);
      case 'shrink':
        if (current?.id === message.id)
          send({ type: 'shrunk', id: message.id, until: current.items.shrink(message.until) });
        return;
      case 'cancel':
        if (current?.id === message.id) current.abort.abort();
        return;
      case 'checkpoint':
        // No builtin workload keeps progress within a task: its range is small enough to be redone.
        return;
      case 'stop':
        return void close().then(() => exit(0));
      default:
        return assertNever(message);
    }
  }

  /** The agent broke the contract: a bug there, so this process is of no more use. */
  function fail(what: string): void {
    send({ type: 'failed', kind: 'fatal', reason: `the agent sent ${what}` });
    exit(1);
  }

  async function onInit(message: RunnerInit): Promise<void> {
    try {
      const loading = load(message.workload);
      if (!loading) throw new Error(`this release has no workload ${message.workload}; update the agent`);
      const { params, step, device, threads, model, modelDir } = message;
      const withModel = model && modelDir !== undefined ? { model: { ...model, dir: modelDir } } : {};
      open = await (await loading).openRun({ params, step, device, threads, ...withModel });
      send({ type: 'ready', info: open.info });
    } catch (error) {
      send({ type: 'failed', kind: 'fatal', ...toFailure(error) });
      exit(1);
    }
  }

  async function onRun(opened: OpenRun, { inDir, outDir, step, slowdown = 1 }: RunnerInit, run: RunMessage) {
    const { id, range } = run;
    const abort = new AbortController();
    const startedAt = performance.now();
    const tell = (cursor: number) => send({ type: 'progress', id, cursor });
    const pace = createPace({ slowdown, signal: abort.signal, now: () => performance.now(), tell });
    const taskDir = join(inDir, run.inFolder ?? '.');
    const itemsPath = run.itemsFile === undefined ? undefined : join(taskDir, run.itemsFile);
    const items = openItems(range, itemsPath, step === 'map', pace.rest);
    current = { id, abort, items };
    const log = (level: 'info' | 'warn' | 'error', text: string) =>
      send({ type: 'log', level, text: text.slice(0, MAX_LOG_CHARS) });
    const hooks = { progress: pace.progress, log, signal: abort.signal };
    let answer: FromRunner;
    try {
      const files = { inDir: taskDir, outFile: join(outDir, run.outFile) };
      const yielded = await opened.run(range, items, files, hooks);
      await pace.rest();
      answer = toResult(run, items, step, yielded, performance.now() - startedAt, existsSync(files.outFile));
    } catch (error) {
      const reason = abort.signal.aborted ? { reason: 'canceled' } : toFailure(error, range);
      answer = { type: 'failed', id, kind: 'task', ...reason };
    }
    pace.close();
    current = undefined;
    send(answer);
  }

  async function close(): Promise<void> {
    current?.abort.abort();
    await open?.close();
  }

  return { onMessage, close };
}

function toResult(
  { id, range, outFile }: RunMessage,
  items: ItemSource,
  step: RunnerInit['step'],
  { inline, metrics }: RunYield,
  durationMs: number,
  written: boolean,
): FromRunner {
  if (!items.finished) throw new Error(`the workload returned after ${items.yielded} items, before the last of them`);
  const text = inline === undefined ? undefined : JSON.stringify(inline);
  if (text !== undefined && Buffer.byteLength(text) > MAX_INLINE_BYTES)
    throw new Error(`the workload's inline result has ${Buffer.byteLength(text)} of ${MAX_INLINE_BYTES} bytes`);
  const done = step === 'map' ? items.yielded : range.end - range.start;
  return {
    type: 'result',
    id,
    items: done,
    durationMs,
    ...(written && { outFile }),
    ...(text !== undefined && { inline: text }),
    ...(metrics && { metrics: { ...metrics } }),
  };
}

type Failure = { reason: string; kind?: 'item'; item?: number; outOfMemory?: boolean };

/** What went wrong, in the contract's words. An item is blamed only if it belongs to the range. */
function toFailure(error: unknown, range?: { start: number; end: number }): Failure {
  const reason = (error instanceof Error ? error.message : String(error)).slice(0, MAX_REASON);
  if (error instanceof ItemFailure && range && error.item >= range.start && error.item < range.end)
    return { reason, kind: 'item', item: error.item };
  const outOfMemory = error instanceof OutOfMemory || /out of memory|allocation failed|bad_alloc/i.test(reason);
  return outOfMemory ? { reason, outOfMemory } : { reason };
}
