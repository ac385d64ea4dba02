// Owns node_modules: it is installed when it is missing or when the lock file is not the one it was installed from.
// A tree that somebody installed with npm itself is recognised and left alone.
// @ts-check

import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from './lock.mjs';
import { runNpm } from './npm.mjs';
import { SetupProblem, checkSpace, wayOut, withProgress } from './problem.mjs';

const NEEDED_MIB = 1_200;

/** @typedef {{ version?: string, integrity?: string, optional?: boolean, devOptional?: boolean, link?: boolean }} LockEntry */

/**
 * Makes `root/node_modules` what `root/package-lock.json` says.
 * @param {string} root
 * @param {string} nodePath
 */
export async function ensureDependencies(root, nodePath) {
  if (isInstalled(root)) return;
  await withLock(join(root, '.cache', 'set-up.lock'), async () => {
    if (isInstalled(root)) return;
    checkSpace(root, NEEDED_MIB, 'installing the dependencies');
    await withProgress('installing the dependencies from npm (700 MB on disk)', async () => {
      const code = await runNpm({ root, nodePath, args: ['ci', '--include=dev', '--include=optional'] });
      if (code !== 0) throw new SetupProblem(`"npm ci" failed in ${root}. ${wayOut(root)}`);
    });
    writeFileSync(stampPath(root), stamp(root));
  });
}

/**
 * True when node_modules was installed from the present lock file, for this platform.
 * @param {string} root
 */
export function isInstalled(root) {
  const wanted = stamp(root);
  const found = readText(stampPath(root));
  if (found === wanted) return true;
  const isOtherPlatform = found !== undefined && found.split(' ')[0] !== wanted.split(' ')[0];
  if (isOtherPlatform || !holdsWhatIsLocked(root)) return false;
  writeFileSync(stampPath(root), wanted);
  return true;
}

/**
 * Compares the lock file with the record that npm keeps of what it installed.
 * @param {string} root
 */
function holdsWhatIsLocked(root) {
  const installed = readText(join(root, 'node_modules', '.package-lock.json'));
  if (installed === undefined) return false;
  /** @type {Record<string, LockEntry>} */
  const have = JSON.parse(installed).packages;
  /** @type {Record<string, LockEntry>} */
  const want = JSON.parse(lockText(root)).packages;
  return Object.entries(want).every(([path, entry]) => path === '' || isSame(entry, have[path]));
}

/**
 * @param {LockEntry} wanted
 * @param {LockEntry | undefined} found
 */
function isSame(wanted, found) {
  if (found === undefined) return wanted.optional === true || wanted.devOptional === true;
  return found.version === wanted.version && found.integrity === wanted.integrity;
}

/** @param {string} root */
function stamp(root) {
  const hash = createHash('sha256').update(lockText(root)).digest('hex');
  return `${process.platform}-${process.arch} ${hash}`;
}

/** @param {string} root */
function stampPath(root) {
  return join(root, 'node_modules', '.installed-from');
}

/** @param {string} root */
function lockText(root) {
  const text = readText(join(root, 'package-lock.json'));
  if (text === undefined) throw new SetupProblem(`${root} has no package-lock.json: is the clone complete?`);
  return text;
}

/** @param {string} path */
function readText(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
