// Owns running one child process in our place: it gets our signals once each and we end as it ended.
// Knows nothing of what it runs.
// @ts-check

import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { SetupProblem } from './problem.mjs';

/**
 * How a child ended; `received` is a signal that we got meanwhile.
 * @typedef {{ code: number | null, signal: NodeJS.Signals | null, received?: NodeJS.Signals | undefined }} Ending
 */

/** @type {NodeJS.Signals[]} */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];
/** What a terminal sends to every process of its foreground group, so to the child as well. */
const FROM_TERMINAL = new Set(['SIGINT', 'SIGHUP', 'SIGQUIT']);
/** npm passes a Ctrl-C on that the terminal has already sent to us: the second one within this time is the same one. */
const SAME_WITHIN_MS = 250;

/**
 * Runs `command` to its end; our signals are passed on meanwhile.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {import('node:child_process').SpawnOptions} options
 * @returns {Promise<Ending>}
 */
export function runChild(command, args, options) {
  // Listening comes first: a signal right after the spawn would otherwise end us and leave the child behind.
  const forwarding = forwardSignals((signal) => child.kill(signal));
  const child = spawn(command, args, options);
  return new Promise((resolve, reject) => {
    child.once('error', (error) =>
      reject(new SetupProblem(`${command} could not be started (${error.message}). Delete .cache and try again.`)),
    );
    child.once('exit', (code, signal) => resolve({ code, signal, received: forwarding.received() }));
  }).finally(forwarding.stop);
}

/**
 * Ends this process the way `ending` says: with its exit code, or by its signal.
 * @param {Ending} ending
 */
export function endLike({ code, signal }) {
  if (signal === null) {
    process.exitCode = code ?? 1;
    return;
  }
  // Some signals do not kill a Node process at once, or at all: the shell's code for them is the fallback.
  process.exitCode = 128 + constants.signals[signal];
  process.kill(process.pid, signal);
}

/** @param {(signal: NodeJS.Signals) => void} send */
function forwardSignals(send) {
  /** @type {Map<NodeJS.Signals, number>} */
  const receivedAt = new Map();
  /** @param {NodeJS.Signals} signal */
  const onSignal = (signal) => {
    const now = performance.now();
    const isRepeat = now - (receivedAt.get(signal) ?? -Infinity) < SAME_WITHIN_MS;
    receivedAt.set(signal, now);
    if (!isRepeat && !(FROM_TERMINAL.has(signal) && isInForeground())) send(signal);
  };
  for (const signal of FORWARDED) process.on(signal, onSignal);
  return {
    received: () => [...receivedAt.keys()].at(-1),
    stop: () => {
      for (const signal of FORWARDED) process.off(signal, onSignal);
    },
  };
}

/** True when our process group is the one that the terminal sends its signals to. */
function isInForeground() {
  const groups = groupsFromProc() ?? groupsFromPs();
  return groups !== undefined && groups.terminal > 0 && groups.own === groups.terminal;
}

function groupsFromProc() {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    const [, , own, , , terminal] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { own: Number(own), terminal: Number(terminal) };
  } catch {
    return undefined;
  }
}

function groupsFromPs() {
  const { stdout } = spawnSync('ps', ['-o', 'pgid=,tpgid=', '-p', String(process.pid)], { encoding: 'utf8' });
  const [own, terminal] = (stdout ?? '').trim().split(/\s+/).map(Number);
  return own === undefined || terminal === undefined ? undefined : { own, terminal };
}
