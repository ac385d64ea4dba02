// Owns the life of one task: its inputs and model, the run, and storing its part. Whatever happens, it ends with one
// outcome that says who is to blame. Does not know the link or the order of tasks.

import { rm } from 'node:fs/promises';
import type { TaskId } from '../core/agent/state.ts';
import type { Range } from '../lib/range-set.ts';
import { hashFile } from '../objects/objects-hash.ts';
import { uploadArtifact } from '../objects/transfer.ts';
import type { Device } from '../protocol/device.ts';
import type { Signer } from '../protocol/keys.ts';
import { signReceipt } from '../protocol/receipt.ts';
import type { Outcome, ReportedPart } from '../protocol/to-coordinator.ts';
import type { RunInit } from '../workloads/workload.ts';
import type { Logger } from '../runtime/logger.ts';
import type { HttpAccess } from './http-access.ts';
import type { CheckedStage } from './jobs.ts';
import type { LogOutbox } from './log-outbox.ts';
import { ModelUnfit, type ModelCache } from './model-cache.ts';
import type { RunnerPool } from './runners/pool.ts';
import { describeOutcome, type RunControl, type RunOutcome } from './runners/run-task.ts';
import type { Semaphore } from './semaphore.ts';
import type { TaskInputs } from './task-inputs.ts';

const MAX_REASON_CHARS = 2_000;
const MAX_PROVIDER_CHARS = 40;

export type TaskTools = {
  readonly pool: RunnerPool;
  readonly inputs: TaskInputs;
  readonly models: ModelCache;
  readonly access: HttpAccess;
  /** A place for each task that may compute at once. */
  readonly computing: Semaphore;
  readonly uploads: Semaphore;
  readonly logs: LogOutbox;
  readonly signer: Signer;
  readonly logger: Logger;
  readonly device: Device;
  /** CPU threads of one runner. */
  readonly threads: number;
};

/** What of a task is still wanted: it may be cut until the run has begun, and asked for its tail while it runs. */
export type Tail = {
  end: number;
  /** Set while it runs. */
  shrink: ((until: number) => void) | undefined;
  /** The run has begun. */
  begun: boolean;
};

export type TaskOrder = {
  readonly task: TaskId;
  readonly stage: CheckedStage;
  readonly range: Range;
  readonly tail: Tail;
  readonly signal: AbortSignal;
  readonly onShrunk: (end: number) => void;
  /** The device is free for the next task. */
  readonly onComputed: () => void;
  readonly onProgress: (cursor: number) => void;
};

type Done = Extract<RunOutcome, { kind: 'done' }>;
/** A run with what it took to get it going. */
type Ran = { readonly outcome: RunOutcome; readonly setupMs: number };
type Stored = { readonly part: ReportedPart; readonly uploadMs: number };

/** Never rejects. */
export async function carryOutTask(order: TaskOrder, tools: TaskTools): Promise<Outcome> {
  const { task, stage } = order;
  const outcome = await tryTask(order, tools);
  if (outcome.kind !== 'failed') return outcome;
  const { scope, reason } = outcome;
  tools.logger.warn({ task, job: stage.job.id, stage: stage.spec.name, scope, reason }, 'a task failed');
  return outcome;
}

async function tryTask(order: TaskOrder, tools: TaskTools): Promise<Outcome> {
  try {
    const { outcome, setupMs } = await runTask(order, tools);
    if (outcome.kind !== 'done') return toFailure(outcome);
    order.onComputed();
    const end = toEnd(order, outcome);
    const stored = outcome.outFile === undefined ? undefined : await storePart(order, tools, outcome.outFile, end);
    return { ...toDone(outcome, stored), ...(end !== order.range.end && { end }), ...(setupMs >= 1 && { setupMs }) };
  } catch (error) {
    if (order.signal.aborted) return { kind: 'stopped' };
    const reason = (error instanceof Error ? error.message : String(error)).slice(0, MAX_REASON_CHARS);
    return { kind: 'failed', scope: error instanceof ModelUnfit ? 'peer' : 'task', reason };
  }
}

/** Where the result ends: a merge does not count its items. */
function toEnd({ stage, range }: TaskOrder, { items }: Done): number {
  return stage.spec.items.kind === 'parts' ? range.end : range.start + items;
}

async function runTask(order: TaskOrder, tools: TaskTools): Promise<Ran> {
  const { stage, range, tail, signal, onProgress, onShrunk } = order;
  const { job, spec } = stage;
  const model = spec.model && { name: spec.model.name, sha256: spec.model.sha256 };
  using held = spec.model && (await tools.models.prepare(spec.model, spec.params, signal));
  await using placed = await tools.inputs.prepare(order.task, stage, range, signal);
  const init: RunInit = {
    step: spec.items.kind === 'parts' ? 'merge' : 'map',
    params: spec.params,
    device: { id: tools.device.id, kind: tools.device.kind },
    threads: tools.threads,
    ...(model && held && { model: { ...model, dir: held.dir } }),
  };
  const run = {
    ...{ signer: job.signer, workload: spec.workload, init, inputs: placed.inputs, signal, onProgress },
    idleTimeoutMs: spec.idleTimeoutMs,
    onLog: (level: 'info' | 'warn' | 'error', text: string) => tools.logs.add(job.id, spec.name, level, text),
  };
  return await tools.computing.run(signal, async () => {
    const startedAt = performance.now();
    tail.begun = true;
    const control = { onStart: ({ shrink }: RunControl) => void (tail.shrink = shrink), onShrunk };
    const outcome = await tools.pool.run({ ...run, ...control, range: { start: range.start, end: tail.end } });
    tail.shrink = undefined;
    const durationMs = outcome.kind === 'done' ? outcome.durationMs : 0;
    return { outcome, setupMs: performance.now() - startedAt - durationMs };
  });
}

/** Signs and uploads a part for as long as the task is wanted; the file is gone afterwards. */
async function storePart(order: TaskOrder, tools: TaskTools, file: string, end: number): Promise<Stored> {
  const { stage, range, signal } = order;
  const { access, signer, uploads } = tools;
  try {
    const { id, sizeBytes } = await hashFile(file);
    const { start } = range;
    const receipt = { specHash: stage.job.specHash, stage: stage.spec.name, start, end, part: id };
    const signature = await signReceipt(receipt, signer);
    let uploadMs = 0;
    const upload = async () => {
      const startedAt = performance.now();
      await uploadArtifact({ ...access.transfer, id, source: { path: file }, signal });
      uploadMs = performance.now() - startedAt;
    };
    await uploads.run(signal, () => access.persist(`the upload of ${id}`, signal, upload));
    return { part: { id, sizeBytes, signature }, uploadMs };
  } finally {
    await rm(file, { force: true });
  }
}

function toDone({ durationMs, inline, info }: Done, stored: Stored | undefined): Extract<Outcome, { kind: 'done' }> {
  const provider = info.provider?.slice(0, MAX_PROVIDER_CHARS);
  return {
    kind: 'done',
    durationMs,
    ...stored,
    ...(inline !== undefined && { inline }),
    ...(provider !== undefined && { provider }),
  };
}

/** Out of memory is no item's fault: the range is tried again, perhaps elsewhere. */
function toFailure(outcome: Exclude<RunOutcome, Done>): Outcome {
  if (outcome.kind === 'canceled') return { kind: 'stopped' };
  const reason = describeOutcome(outcome).slice(0, MAX_REASON_CHARS);
  if (outcome.kind !== 'failed' || outcome.outOfMemory) return { kind: 'failed', scope: 'task', reason };
  if (outcome.scope === 'fatal') return { kind: 'failed', scope: 'peer', reason };
  const { scope, item } = outcome;
  return { kind: 'failed', scope, reason, ...(item !== undefined && { item }) };
}
