// Owns the workload that does nothing per item: for benchmarks of the swarm itself, and, with `msPerItem`, for demos and
// tests that need work of a known length.

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { OpenRun, RunHooks, RunInit } from '../workload.ts';

const paramsSchema = z.strictObject({
  /** Time that one item takes, in ms. */
  msPerItem: z.number().min(0).max(60_000).default(0),
});

/** Throws when the parameters do not fit. */
export async function openRun(init: RunInit): Promise<OpenRun> {
  const { msPerItem } = paramsSchema.parse(init.params);
  return {
    info: { provider: 'cpu' },
    async run({ start }, items, _files, hooks) {
      let cursor = start;
      for await (const _ of items) {
        cursor++;
        if (msPerItem > 0) await spendItem(msPerItem, cursor, hooks);
      }
      return {};
    },
    async close() {},
  };
}

async function spendItem(msPerItem: number, cursor: number, hooks: RunHooks): Promise<void> {
  await sleep(msPerItem, undefined, { signal: hooks.signal });
  await hooks.progress(cursor);
}
