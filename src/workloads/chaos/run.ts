// Owns the fault workload: a TEST WORKLOAD that crashes, hangs, lies or tries to break out at a chosen item. A runner
// opens it only when SWARM_TEST_WORKLOADS=1; nobody's machine offers it otherwise.

import { randomUUID } from 'node:crypto';
import { writeSync } from 'node:fs';
import { symlink, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ItemFailure, OutOfMemory, type OpenRun, type RunFiles, type RunHooks, type RunInit } from '../workload.ts';
import { attemptEscapes, escapeTargetsSchema } from './escapes.ts';

const paramsSchema = z.strictObject({
  mode: z
    .enum([
      'none',
      'crash',
      'exit',
      'throw',
      'hang',
      'spin',
      'deaf',
      'garbage',
      'say',
      'oversized-line',
      'flood',
      'early-return',
      'fail-item',
      'out-of-memory',
      'allocate',
      'allocate-native',
      'slow',
      'print',
      'link-out',
      'escape',
      'open-fails',
      'open-hangs',
    ])
    .default('none'),
  /** The item index at which it happens. */
  at: z.int().min(0).default(0),
  /** What `say` puts on the contract's channel. */
  line: z.string().max(10_000).default(''),
  targets: escapeTargetsSchema.optional(),
});
type ChaosParams = z.infer<typeof paramsSchema>;

/** Which process it is: inside a sandbox every process has the same pid. */
const instance = randomUUID();

/** Far longer than an item should take, far shorter than a test. */
const SLOW_ITEM_MS = 300;
const CHUNK_BYTES = 16 * 1_024 * 1_024;
const LINE_BYTES = 1_024 * 1_024;

/** Where a builtin runner speaks the contract. */
const PROTOCOL_FD = 3;

export async function openRun(init: RunInit): Promise<OpenRun> {
  const params = paramsSchema.parse(init.params);
  if (params.mode === 'open-fails') throw new Error('chaos: cannot be opened');
  if (params.mode === 'open-hangs') await new Promise(() => {});
  return {
    info: { provider: 'chaos', modelId: init.model?.sha256 ?? 'none' },
    async run({ start }, items, files, hooks) {
      let index = start;
      const texts: string[] = [];
      for await (const item of items) {
        if (index === params.at && params.mode === 'early-return') return {};
        if (index === params.at) await misbehave(params, index, files, hooks);
        if (params.mode === 'slow') await sleep(SLOW_ITEM_MS);
        texts.push(JSON.stringify(item));
        await hooks.progress(++index);
      }
      if (params.mode === 'none' || params.mode === 'slow') await writeFile(files.outFile, texts.join('\n'));
      return { inline: { instance }, metrics: { items: index - start } };
    },
    async close() {},
  };
}

async function misbehave(params: ChaosParams, index: number, files: RunFiles, hooks: RunHooks): Promise<void> {
  switch (params.mode) {
    case 'crash':
      process.stderr.write('chaos: about to crash\n');
      return process.abort();
    case 'exit':
      return process.exit(0);
    case 'throw':
      throw new Error(`chaos: failed at item ${index}`);
    case 'hang':
      return new Promise((_, reject) =>
        hooks.signal.addEventListener('abort', () => reject(new Error('chaos: canceled')), { once: true }),
      );
    case 'deaf':
      return new Promise(() => {});
    case 'spin':
      for (;;);
    case 'garbage':
      writeSync(PROTOCOL_FD, 'Segmentation fault (core dumped)\n');
      return;
    case 'say':
      writeSync(PROTOCOL_FD, `${params.line}\n`);
      return;
    case 'oversized-line':
      return writeForever('x'.repeat(LINE_BYTES));
    case 'flood':
      return flood(hooks);
    case 'fail-item':
      throw new ItemFailure(index, 'chaos: this item always fails');
    case 'out-of-memory':
      throw new OutOfMemory('chaos: out of device memory');
    case 'allocate':
      return allocate();
    case 'allocate-native':
      return allocateNative(hooks, index);
    case 'print':
      console.log('chaos: a stray line on stdout');
      return;
    case 'link-out':
      return linkOut(params, files);
    case 'escape':
      return attemptEscapes(params.targets ?? {}, files);
    default:
      return;
  }
}

function flood(hooks: RunHooks): void {
  for (let i = 0; i < 5_000; i++) hooks.log('info', `chaos: line ${i} ${'x'.repeat(2_000)}`);
}

/** Grows the JavaScript heap until it cannot. */
function allocate(): void {
  const kept: unknown[] = [];
  for (;;) kept.push(Array.from({ length: 10_000 }, (_, i) => ({ i })));
}

/** Grows outside the JavaScript heap, as a library in native code would, and says all the while that it is alive. */
async function allocateNative(hooks: RunHooks, index: number): Promise<void> {
  const kept: Buffer[] = [];
  for (;;) {
    kept.push(Buffer.alloc(CHUNK_BYTES, 1));
    await hooks.progress(index);
    await sleep(5);
  }
}

/** One line without an end. */
function writeForever(text: string): void {
  for (;;) writeSync(PROTOCOL_FD, text);
}

/** Leaves a link where the part should be, so that a careless reader would take a file of the agent for the part. */
async function linkOut({ targets }: ChaosParams, { outFile }: RunFiles): Promise<void> {
  await symlink(targets?.secretFile ?? '/etc/passwd', outFile);
}
