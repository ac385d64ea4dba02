// Owns the built dashboard: it is built when it is missing or when its sources are not those it was built from, which
// takes half a second. Knows nothing of who serves it.
// @ts-check

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runChild } from './child.mjs';
import { withLock } from './lock.mjs';
import { SetupProblem } from './problem.mjs';

/** What the bundle is made of, beside the packages. */
const SOURCES = ['dashboard', 'src/client', 'src/protocol', 'src/lib', 'package-lock.json'];

/**
 * Makes `root/dashboard/dist` what the sources say. A published package has it, and no sources.
 * @param {string} root
 * @param {string} nodePath
 */
export async function ensureDashboard(root, nodePath) {
  if (!existsSync(join(root, 'dashboard', 'vite.config.ts')) || isBuilt(root)) return;
  await withLock(join(root, '.cache', 'set-up.lock'), async () => {
    if (isBuilt(root)) return;
    const wanted = stamp(root);
    const vite = join(root, 'node_modules', 'vite', 'bin', 'vite.js');
    const argv = [vite, 'build', '-c', join(root, 'dashboard', 'vite.config.ts'), '--logLevel', 'warn'];
    const { code } = await runChild(nodePath, argv, { cwd: root, stdio: ['ignore', 2, 'inherit'] });
    if (code !== 0) throw new SetupProblem('the dashboard could not be built; what stands above says why');
    writeFileSync(stampPath(root), wanted);
  });
}

/** @param {string} root */
function isBuilt(root) {
  return existsSync(stampPath(root)) && readFileSync(stampPath(root), 'utf8') === stamp(root);
}

/** @param {string} root */
function stamp(root) {
  const hash = createHash('sha256');
  for (const path of SOURCES.flatMap((source) => listFiles(root, source)))
    hash.update(`${path}\0`).update(readFileSync(join(root, path)));
  return hash.digest('hex');
}

/**
 * @param {string} root
 * @param {string} path
 * @returns {string[]}
 */
function listFiles(root, path) {
  if (path === 'dashboard/dist') return [];
  if (path.endsWith('package-lock.json')) return [path];
  return readdirSync(join(root, path), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) =>
      entry.isDirectory() ? listFiles(root, `${path}/${entry.name}`) : entry.isFile() ? [`${path}/${entry.name}`] : [],
    );
}

/** @param {string} root */
function stampPath(root) {
  return join(root, 'dashboard', 'dist', '.built-from');
}
