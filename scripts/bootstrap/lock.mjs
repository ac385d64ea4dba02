// Owns the lock that lets one set-up at a time change a checkout. It is a file that names its owner; a lock whose owner
// died is taken over. No clock is compared between machines: an owner touches its lock, a waiter watches it change.
// @ts-check

import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { say } from './problem.mjs';

const POLL_MS = 200;
const TOUCH_EVERY_MS = 5_000;
/** How long a waiter sees a lock untouched before it believes that the owner is gone (a container, a reused pid). */
const UNTOUCHED_MS = 60_000;
const SAY_AFTER_MS = 1_500;

/**
 * Runs `work` while holding the lock file `path`; waits while another live process holds it.
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(path, work) {
  mkdirSync(dirname(path), { recursive: true });
  await acquire(path);
  const release = () => rmSync(path, { force: true });
  const touch = setInterval(() => touchIfThere(path), TOUCH_EVERY_MS);
  process.once('exit', release);
  try {
    return await work();
  } finally {
    clearInterval(touch);
    process.off('exit', release);
    release();
  }
}

/** @param {string} path */
async function acquire(path) {
  const startedAt = performance.now();
  let said = false;
  let seen = { touchedAt: -1, at: startedAt };
  while (!tryCreate(path)) {
    const lock = read(path);
    if (lock === undefined) continue;
    const now = performance.now();
    if (lock.touchedAt !== seen.touchedAt) seen = { touchedAt: lock.touchedAt, at: now };
    if (isOwnerDead(lock.text) || now - seen.at > UNTOUCHED_MS) {
      takeAway(path, lock.text);
      continue;
    }
    if (!said && now - startedAt > SAY_AFTER_MS) {
      say(`another set-up of this checkout is running (${lock.text || 'just started'}); waiting for it …`);
      said = true;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/**
 * True when the lock is ours now. The file appears with its content, by a link.
 * @param {string} path
 */
function tryCreate(path) {
  const draft = `${path}.${process.pid}`;
  try {
    writeFileSync(draft, `pid ${process.pid} on ${hostname()}`);
    linkSync(draft, path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** @param {string} path */
function read(path) {
  try {
    return { text: readFileSync(path, 'utf8'), touchedAt: statSync(path).mtimeMs };
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** @param {string} text */
function isOwnerDead(text) {
  const match = /^pid (\d+) on (.*)$/.exec(text);
  if (!match || match[2] !== hostname()) return false;
  try {
    process.kill(Number(match[1]), 0);
    return false;
  } catch (error) {
    return codeOf(error) === 'ESRCH';
  }
}

/**
 * Removes an abandoned lock. When another waiter was quicker and the lock is somebody's again, it is put back.
 * @param {string} path
 * @param {string} expected
 */
function takeAway(path, expected) {
  const aside = `${path}.abandoned-${process.pid}`;
  try {
    renameSync(path, aside);
    if (readFileSync(aside, 'utf8') !== expected) linkSync(aside, path);
  } catch (error) {
    if (!['ENOENT', 'EEXIST'].includes(codeOf(error))) throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

/** @param {string} path */
function touchIfThere(path) {
  try {
    const now = new Date();
    utimesSync(path, now, now);
  } catch {
    // Somebody removed .cache by hand; the work goes on, and the next set-up starts over.
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
