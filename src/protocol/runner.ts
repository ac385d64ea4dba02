// Owns the runner contract: JSON Lines between an agent and a runner process, in any language. The agent writes to the
// runner's stdin; the runner answers on its output. Lines are bounded; what does not fit the contract is a violation,
// after which the runner is not believed any more. Knows no processes and no sandbox.

import { z } from 'zod';
import { err, ok, type Result } from '../lib/result.ts';
import { countSchema, durationMsSchema, reasonSchema } from './names.ts';

/** What a runner may say in one line. */
export const MAX_FROM_RUNNER_LINE_BYTES = 64 * 1_024;
/** What an agent says in one line: `init` carries the parameters of a signed spec, which may have 256 KiB. */
export const MAX_TO_RUNNER_LINE_BYTES = 512 * 1_024;
/** An inline result, encoded. */
export const MAX_INLINE_BYTES = 256;
const MAX_METRICS = 32;

const pathSchema = z.string().min(1).max(4_096);
const runIdSchema = z.int().min(1).max(Number.MAX_SAFE_INTEGER);
/** A file below `inDir` or `outDir`: relative, without `..`, so that it means the same wherever the folders are mounted. */
const fileSchema = z
  .string()
  .min(1)
  .max(400)
  .regex(/^(?!\/)(?!.*(^|\/)\.\.?(\/|$))[\w.\-/]+$/);
const rangeSchema = z.strictObject({ start: countSchema, end: countSchema });
const metricNameSchema = z.string().regex(/^[a-z][a-zA-Z0-9_]{0,63}$/);

const initSchema = z.strictObject({
  type: z.literal('init'),
  workload: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/),
  step: z.enum(['map', 'merge']),
  params: z.record(z.string().max(64), z.json()),
  model: z.strictObject({ name: z.string().max(200), sha256: z.string().regex(/^[0-9a-f]{64}$/) }).optional(),
  modelDir: pathSchema.optional(),
  device: z.strictObject({ id: z.string().max(80), kind: z.enum(['cpu', 'cuda', 'rocm', 'metal']) }),
  threads: z.int().min(1).max(1_024),
  inDir: pathSchema,
  outDir: pathSchema,
  /** Slower on purpose, for demos: a batch of t seconds is followed by (slowdown - 1) t of sleep. */
  slowdown: z.number().min(1).max(1_000).optional(),
});

export const toRunnerSchema = z.discriminatedUnion('type', [
  /** First and once. Answered by `ready`, or `failed` of kind fatal. */
  initSchema,
  /**
   * Do these items. `itemsFile` is JSON Lines, one line an item of `range` (in a merge: one line a part); without it
   * items are their own indexes. Answered by one `result` or `failed`; one run at a time.
   */
  z.strictObject({
    type: z.literal('run'),
    id: runIdSchema,
    range: rangeSchema,
    /** Where the task's input files lie, below inDir; inDir itself when absent. */
    inFolder: fileSchema.optional(),
    itemsFile: fileSchema.optional(),
    outFile: fileSchema,
  }),
  /** Start no item from `until` on. Answered by `shrunk`, whose `until` may be later, unless the run has ended. */
  z.strictObject({ type: z.literal('shrink'), id: runIdSchema, until: countSchema }),
  /** Save progress if the workload can; one that cannot ignores it. */
  z.strictObject({ type: z.literal('checkpoint'), id: runIdSchema }),
  /** Give the run up and answer `failed`; the runner stays warm. */
  z.strictObject({ type: z.literal('cancel'), id: runIdSchema }),
  /** Exit. So does the end of stdin: a runner never outlives its agent. */
  z.strictObject({ type: z.literal('stop') }),
]);

export const fromRunnerSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('ready'),
    info: z.strictObject({ modelId: z.string().max(200).optional(), provider: z.string().max(40).optional() }),
  }),
  /** All items below `cursor` are done. */
  z.strictObject({ type: z.literal('progress'), id: runIdSchema, cursor: countSchema }),
  /** Answers `shrink`: nothing from `until` on is done or will be. */
  z.strictObject({ type: z.literal('shrunk'), id: runIdSchema, until: countSchema }),
  z.strictObject({
    type: z.literal('result'),
    id: runIdSchema,
    outFile: fileSchema.optional(),
    /** JSON text, at most 256 bytes. */
    inline: z
      .string()
      .max(MAX_INLINE_BYTES)
      .refine((text) => utf8Bytes(text) <= MAX_INLINE_BYTES, 'an inline result is over 256 bytes')
      .refine(isJson, 'an inline result is not JSON')
      .optional(),
    /** Items done, from the range's start. */
    items: countSchema,
    /** Running time without set-up. */
    durationMs: durationMsSchema,
    metrics: z
      .record(metricNameSchema, z.number())
      .refine((metrics) => Object.keys(metrics).length <= MAX_METRICS, 'too many metrics')
      .optional(),
  }),
  z.strictObject({ type: z.literal('metric'), id: runIdSchema, name: metricNameSchema, value: z.number() }),
  z.strictObject({ type: z.literal('log'), level: z.enum(['info', 'warn', 'error']), text: z.string().max(8_000) }),
  z.strictObject({
    type: z.literal('failed'),
    /** Absent when no run is to blame. */
    id: runIdSchema.optional(),
    reason: reasonSchema,
    /** item: one item is to blame; task: the run failed; fatal: this runner can do nothing more. */
    kind: z.enum(['item', 'task', 'fatal']),
    item: countSchema.optional(),
    outOfMemory: z.boolean().optional(),
  }),
]);

export type ToRunner = z.infer<typeof toRunnerSchema>;
export type FromRunner = z.infer<typeof fromRunnerSchema>;
export type RunnerInit = Extract<ToRunner, { type: 'init' }>;
export type RunnerInfo = Extract<FromRunner, { type: 'ready' }>['info'];

/** One line, its newline included. */
export function encodeRunnerLine(message: ToRunner | FromRunner): string {
  return `${JSON.stringify(message)}\n`;
}

export function decodeToRunner(line: string): Result<ToRunner> {
  return decodeLine(line, toRunnerSchema);
}

export function decodeFromRunner(line: string): Result<FromRunner> {
  return decodeLine(line, fromRunnerSchema);
}

function decodeLine<T>(line: string, schema: z.ZodType<T>): Result<T> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return err(`a line is not JSON: ${JSON.stringify(line.slice(0, 80))}`);
  }
  const parsed = schema.safeParse(value);
  return parsed.success
    ? ok(parsed.data)
    : err(`a line does not fit the contract: ${z.prettifyError(parsed.error).slice(0, 500)}`);
}

/** Takes bytes as they come and gives whole lines; a violation ends it, and it holds at most one line's bytes. */
export type LineSplitter = { push(chunk: Uint8Array): Result<string[]> };

/** A line of more than `maxBytes` or that is not UTF-8 is a violation; every later push repeats it. Empty lines are skipped. */
export function createLineSplitter(maxBytes: number): LineSplitter {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let violation: string | undefined;

  function cut(chunk: Uint8Array): string[] {
    const lines: string[] = [];
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      hold(chunk.subarray(from, end));
      from = end + 1;
      const line = decodeUtf8(concat(pending, pendingBytes));
      [pending, pendingBytes] = [[], 0];
      if (line.trim() !== '') lines.push(line);
    }
    if (from < chunk.length) hold(chunk.slice(from));
    return lines;
  }

  function hold(bytes: Uint8Array): void {
    pendingBytes += bytes.length;
    if (pendingBytes > maxBytes) throw new RangeError(`a line is over the limit of ${maxBytes} bytes`);
    pending.push(bytes);
  }

  return {
    push(chunk) {
      if (violation !== undefined) return err(violation);
      try {
        return ok(cut(chunk));
      } catch (error) {
        violation = error instanceof RangeError ? error.message : 'a line is not UTF-8';
        [pending, pendingBytes] = [[], 0];
        return err(violation);
      }
    },
  };
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function decodeUtf8(bytes: Uint8Array): string {
  return utf8.decode(bytes);
}

function concat(chunks: readonly Uint8Array[], length: number): Uint8Array {
  if (chunks.length === 1 && chunks[0]) return chunks[0];
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function utf8Bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
