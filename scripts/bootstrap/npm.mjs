// Owns finding the person's npm and running it, with their registry settings, under a Node of our choice.
// @ts-check

import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { runChild } from './child.mjs';
import { SetupProblem, SetupStopped } from './problem.mjs';

/**
 * Runs npm in `root` and returns its exit code; throws SetupStopped when a signal ended it. Its messages go to stderr.
 * Install scripts never run: nothing here needs one, and onnxruntime-node's would fetch CUDA libraries from outside the
 * registry.
 * @param {{ root: string, nodePath: string, args: readonly string[] }} options
 * @returns {Promise<number>}
 */
export async function runNpm({ root, nodePath, args }) {
  const env = process.env;
  const { command, args: first } = npmCommand(nodePath, env);
  const ending = await runChild(command, [...first, ...args, '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: root,
    env: withNodeFirst(nodePath, env),
    stdio: ['ignore', 2, 2],
  });
  const stoppedBy = ending.signal ?? ending.received;
  if (stoppedBy) throw new SetupStopped(stoppedBy);
  return ending.code ?? 1;
}

/**
 * The environment in which `node` and `npm` mean the Node at `nodePath`.
 * @param {string} nodePath
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
export function withNodeFirst(nodePath, env) {
  return { ...env, PATH: [join(nodePath, '..'), env['PATH'] ?? ''].join(delimiter) };
}

/**
 * @param {string} nodePath
 * @param {NodeJS.ProcessEnv} env
 */
function npmCommand(nodePath, env) {
  const running = env['npm_execpath'];
  if (running !== undefined && running.endsWith('npm-cli.js') && existsSync(running))
    return { command: nodePath, args: [running] };
  const found = (env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'npm'))
    .find((path) => existsSync(path));
  if (found !== undefined) return { command: found, args: [] };
  throw new SetupProblem(
    'npm was not found in PATH. Install Node.js 18 or newer together with npm (nodejs.org, or the packages "nodejs" and "npm" of your system), then run the same command again.',
  );
}
