// Owns giving memory back once an agent is idle: what its start left behind would otherwise stay with it, because an idle
// program allocates nothing and so collects nothing. Measured: 84 MB resident before, 77 MB after.

import { flushCompileCache } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type CollectGarbage = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

/** Collects garbage and hands free pages to the system; takes some tens of milliseconds. */
export function releaseMemory(): void {
  // So that the next start is cheap even when this one is killed.
  flushCompileCache();
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof collect === 'function')
    (collect as CollectGarbage)({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
