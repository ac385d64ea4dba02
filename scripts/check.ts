// Owns `npm run check`: format, lint, types, unused code and unit tests, side by side on the cores there are. A step's
// output is shown when it fails; `--fix` lets the formatter and the linter change files first.

import { spawn, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';

const ROOT = dirname(import.meta.dirname);

/** A step of the check: a program of node_modules, run by this very Node. Slow ones first. */
type Step = { readonly name: string; readonly argv: readonly string[] };

const STEPS: readonly Step[] = [
  { name: 'unit tests', argv: ['vitest/vitest.mjs', 'run', '--project', 'unit', '--reporter', 'dot'] },
  { name: 'lint', argv: ['oxlint/bin/oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'unused code', argv: ['knip/bin/knip.js', '--no-progress', '--no-config-hints'] },
  { name: 'types', argv: ['typescript/bin/tsc'] },
  { name: 'format', argv: ['oxfmt/bin/oxfmt', '--check'] },
];
const FIXES: readonly Step[] = [
  { name: 'lint --fix', argv: ['oxlint/bin/oxlint', '--type-aware', '--fix'] },
  { name: 'format --write', argv: ['oxfmt/bin/oxfmt'] },
];

function toArgv(step: Step): string[] {
  const [program = '', ...args] = step.argv;
  return [join(ROOT, 'node_modules', program), ...args];
}

/** Runs one step to its end, prints its outcome and resolves with whether it passed. */
function runStep(step: Step): Promise<boolean> {
  const startedAt = performance.now();
  const chunks: Buffer[] = [];
  return new Promise((resolve) => {
    const child = spawn(process.execPath, toArgv(step), { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.once('error', (error) => chunks.push(Buffer.from(`${error.message}\n`)));
    child.once('close', (code) => {
      const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
      console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${step.name} (${seconds} s)`);
      if (code !== 0) process.stdout.write(Buffer.concat(chunks));
      resolve(code === 0);
    });
  });
}

/** Runs `steps` on as many cores as there are; resolves with the names of those that failed. */
async function runAll(steps: readonly Step[]): Promise<string[]> {
  const queue = [...steps];
  const failed: string[] = [];
  const worker = async (): Promise<void> => {
    for (let step = queue.shift(); step !== undefined; step = queue.shift())
      if (!(await runStep(step))) failed.push(step.name);
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), steps.length) }, worker));
  return failed;
}

if (process.argv.includes('--fix'))
  for (const step of FIXES) spawnSync(process.execPath, toArgv(step), { cwd: ROOT, stdio: 'inherit' });
const failed = await runAll(STEPS);
console.log(failed.length === 0 ? 'check passed' : `check FAILED: ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
