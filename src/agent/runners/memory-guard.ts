// Owns how much memory a runner and all it started really use, read from /proc: the JavaScript heap's own limit does not
// see what native code takes. Knows no runner.

import { readFile } from 'node:fs/promises';

const SAMPLE_MS = 1_000;
const PAGE_BYTES = 4_096;
/** Runners may not start processes, so the tree is bubblewrap's and one Node: a deeper one is not worth following. */
const MAX_PROCESSES = 16;

/**
 * Watches `pid` and its descendants while it runs and calls `onOver` once with the bytes used when they are over
 * `limitBytes`. Does nothing where there is no /proc. Call the returned function to end it.
 */
export function watchMemory(pid: number, limitBytes: number, onOver: (usedBytes: number) => void): () => void {
  if (process.platform !== 'linux') return () => {};
  let ended = false;
  const sample = async () => {
    const usedBytes = await readTreeRssBytes(pid);
    if (ended || usedBytes <= limitBytes) return;
    ended = true;
    onOver(usedBytes);
  };
  const timer = setInterval(() => void sample(), SAMPLE_MS).unref();
  return () => {
    ended = true;
    clearInterval(timer);
  };
}

/** Resident bytes of a process and its descendants; 0 when it is gone. */
export async function readTreeRssBytes(pid: number): Promise<number> {
  const pids = [pid];
  let total = 0;
  for (let i = 0; i < pids.length && i < MAX_PROCESSES; i++) {
    const at = `/proc/${pids[i]}`;
    const statm = await readFile(`${at}/statm`, 'utf8').catch(() => '');
    total += Number(statm.split(' ')[1] ?? 0) * PAGE_BYTES;
    const children = await readFile(`${at}/task/${pids[i]}/children`, 'utf8').catch(() => '');
    pids.push(...children.split(' ').filter(Boolean).map(Number));
  }
  return total;
}
