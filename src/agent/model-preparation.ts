// Owns the child process in which the built-in model is prepared: converting it takes memory that the agent, which is
// idle most of its life, should not keep.

import { spawn } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { err, ok, type Result } from '../lib/result.ts';
import { parseJson } from '../lib/json.ts';

const PREPARE_MS = 600_000;
const MAX_OUTPUT_CHARS = 64 * 1_024;

/** The same file beside this one, as source or as built. */
const ENTRY = fileURLToPath(new URL(`./model-child${extname(import.meta.url)}`, import.meta.url));

export const modelOrderSchema = z.strictObject({
  name: z.string(),
  precision: z.enum(['float32', 'int8']),
  cacheDir: z.string(),
});
const preparedSchema = z.strictObject({ modelDir: z.string(), modelId: z.string() });

export type BuiltInOrder = { readonly name: string; readonly precision: string; readonly cacheDir: string };

/** Prepares a model that comes with the release. The error is for people. Throws the signal's reason when it fires. */
export async function prepareBuiltInModel(
  order: BuiltInOrder,
  signal: AbortSignal,
): Promise<Result<z.infer<typeof preparedSchema>>> {
  signal.throwIfAborted();
  const answer = await runChild(JSON.stringify(order), signal);
  signal.throwIfAborted();
  const prepared = preparedSchema.safeParse(parseJson(answer.stdout));
  if (answer.code === 0 && prepared.success) return ok(prepared.data);
  return err(answer.stderr.trim().slice(-1_000) || `the preparation ended with code ${answer.code}`);
}

type ChildAnswer = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

function runChild(line: string, signal: AbortSignal): Promise<ChildAnswer> {
  const child = spawn(process.execPath, [ENTRY], { env: {}, timeout: PREPARE_MS, killSignal: 'SIGKILL', signal });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout = (stdout + text).slice(-MAX_OUTPUT_CHARS)));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-MAX_OUTPUT_CHARS)));
  child.stdin.on('error', () => {});
  // Left open: its end tells the child that the agent is gone.
  child.stdin.write(`${line}\n`);
  return new Promise((resolve) => {
    child.on('error', (error) => (stderr += error.message));
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}
