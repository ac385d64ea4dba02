// Owns what the set-up says to the person in front of it: progress lines and problems with a way out. All of it goes to
// stderr, so that a command's own output stays clean. Knows nothing of what is being set up.
// @ts-check

import * as fs from 'node:fs';

const MIB = 1024 * 1024;
const FULL_BELOW_MIB = 50;
const REMIND_EVERY_MS = 5_000;

/** Something that the person can put right; its message says how. */
export class SetupProblem extends Error {
  /** @override */
  name = 'SetupProblem';
}

/** The person stopped the set-up; carries the signal that did. */
export class SetupStopped extends Error {
  /** @override */
  name = 'SetupStopped';

  /** @param {NodeJS.Signals} signal */
  constructor(signal) {
    super(`stopped by ${signal}`);
    this.signal = signal;
  }
}

/** @param {string} line */
export function say(line) {
  process.stderr.write(`swarm set-up: ${line}\n`);
}

/**
 * Says that `what` begins, reminds every few seconds that it still goes on, and says how long it took.
 * @template T
 * @param {string} what
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withProgress(what, work) {
  const startedAt = performance.now();
  const seconds = () => `${Math.round((performance.now() - startedAt) / 1_000)} s`;
  say(`${what} …`);
  const reminder = setInterval(() => say(`${what}, ${seconds()} so far …`), REMIND_EVERY_MS);
  try {
    const value = await work();
    say(`${what}: done in ${seconds()}`);
    return value;
  } finally {
    clearInterval(reminder);
  }
}

/**
 * Free space in MiB on the disk that holds `folder`, or undefined where the platform does not tell.
 * @param {string} folder
 */
export function freeMib(folder) {
  // Node 18 before 18.15 has no statfs.
  if (fs.statfsSync === undefined) return undefined;
  try {
    const { bavail, bsize } = fs.statfsSync(folder);
    return Math.floor((bavail * bsize) / MIB);
  } catch {
    return undefined;
  }
}

/**
 * Throws when the disk that holds `folder` has less than `neededMib` left.
 * @param {string} folder
 * @param {number} neededMib
 * @param {string} what
 */
export function checkSpace(folder, neededMib, what) {
  const free = freeMib(folder);
  if (free === undefined || free >= neededMib) return;
  throw new SetupProblem(
    `${what} needs about ${neededMib} MiB and the disk of ${folder} has ${free} MiB left. Free some space and run the same command again.`,
  );
}

/**
 * What to try after a step that used the network and the disk has failed.
 * @param {string} folder
 */
export function wayOut(folder) {
  const free = freeMib(folder);
  if (free !== undefined && free < FULL_BELOW_MIB)
    return `The disk of ${folder} is full (${free} MiB left): free some space and run the same command again.`;
  return 'npm says why above. If this machine is offline or behind a proxy, set that right ("npm ping" must succeed) and run the same command again.';
}
