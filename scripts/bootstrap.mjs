// Owns the way in for everything that npm runs here: makes sure that the pinned Node and the dependencies are there, then
// runs what the verb names, in our place. Plain JavaScript without dependencies: it must run on any Node from 18 on.
// @ts-check

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endLike, runChild } from './bootstrap/child.mjs';
import { ensureDashboard } from './bootstrap/dashboard.mjs';
import { ensureDependencies } from './bootstrap/dependencies.mjs';
import { ensureNode } from './bootstrap/node.mjs';
import { withNodeFirst } from './bootstrap/npm.mjs';
import { SetupProblem, SetupStopped, say } from './bootstrap/problem.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const VITEST = ['node_modules/vitest/vitest.mjs', 'run'];

/** What a verb runs, and whether it works in the folder that the person stands in or in the checkout. */
const VERBS = new Map([
  ['start', { argv: ['src/cli/main.ts', 'demo'], inCheckout: false }],
  ['swarm', { argv: ['src/cli/main.ts'], inCheckout: false }],
  ['sim', { argv: ['src/sim/main.ts'], inCheckout: false }],
  ['test', { argv: [...VITEST, '--project', 'unit', '--project', 'integration'], inCheckout: true }],
  ['e2e', { argv: [...VITEST, '--project', 'e2e'], inCheckout: true }],
  ['check', { argv: ['scripts/check.ts'], inCheckout: true }],
  ['build', { argv: ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], inCheckout: true }],
]);

/**
 * @param {string | undefined} verb
 * @param {readonly string[]} rest
 */
function toCommand(verb, rest) {
  if (verb === 'bench') {
    const [name, ...args] = rest;
    if (name === undefined || !/^[a-z-]+$/.test(name)) throw new SetupProblem('say which benchmark: bench NAME');
    return { argv: [`bench/${name}.ts`, ...args], inCheckout: false };
  }
  const found = VERBS.get(verb ?? '');
  if (found === undefined)
    throw new SetupProblem(`"${verb ?? ''}" is not one of ${[...VERBS.keys(), 'bench NAME'].join(', ')}`);
  return { argv: [...found.argv, ...rest], inCheckout: found.inCheckout };
}

/**
 * @param {string | undefined} verb
 * @param {readonly string[]} rest
 */
function showsDashboard(verb, rest) {
  if (verb === 'swarm') return rest.includes('up');
  if (verb === 'bench') return rest[0] === 'timeline';
  return verb === 'start' || verb === 'e2e' || verb === 'build';
}

/** npm runs scripts in the checkout; the folder that the person stood in is in INIT_CWD. */
function personsFolder() {
  const cwd = process.cwd();
  return cwd === ROOT ? (process.env['INIT_CWD'] ?? cwd) : cwd;
}

async function main() {
  if (Number(process.versions.node.split('.')[0]) < 18)
    throw new SetupProblem(`this is Node ${process.versions.node}; any Node from 18 on can do the rest. Install one.`);
  const [verb, ...rest] = process.argv.slice(2);
  const { argv, inCheckout } = toCommand(verb, rest);
  const nodePath = await ensureNode(ROOT);
  await ensureDependencies(ROOT, nodePath);
  if (showsDashboard(verb, rest)) await ensureDashboard(ROOT, nodePath);
  const [entry = '', ...args] = argv;
  const env = { NODE_COMPILE_CACHE: join(ROOT, '.cache', 'compile'), ...withNodeFirst(nodePath, process.env) };
  const cwd = inCheckout ? ROOT : personsFolder();
  endLike(await runChild(nodePath, [join(ROOT, entry), ...args], { cwd, env, stdio: 'inherit' }));
}

main().catch((error) => {
  if (error instanceof SetupStopped) return endLike({ code: null, signal: error.signal });
  say(error instanceof SetupProblem ? error.message : String(error instanceof Error ? error.stack : error));
  process.exitCode = 1;
});
