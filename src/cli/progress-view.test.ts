import { describe, expect, test } from 'vitest';
import type { JobDetail } from '../protocol/views.ts';
import type { JobId, KeyId } from '../lib/ids.ts';
import { toProgressLines } from './progress-view.ts';

const KEY = `ed25519:${'a'.repeat(64)}` as KeyId;

const JOB: JobDetail = {
  id: '0123456789abcdef' as JobId,
  name: 'speeches',
  submitter: KEY,
  submitterName: 'Anna',
  submittedAt: 0,
  priority: 0,
  status: 'running',
  items: { total: 8_166, done: 2_042, failed: 0 },
  stages: [
    {
      name: 'embed',
      workload: 'embeddings',
      status: 'running',
      items: { total: 8_166, done: 2_042, failed: 0 },
      needs: [],
      runningTasks: 2,
      retries: 0,
      parts: 3,
      refusals: [],
    },
  ],
  workers: [
    { peer: KEY, name: 'den', doneItems: 442, runningTasks: 1, itemsPerSecond: 88.4 },
    { peer: KEY, name: 'attic', doneItems: 1_600, runningTasks: 2, itemsPerSecond: 320 },
  ],
  itemsPerSecond: 408.4,
  eta: { p50Ms: 15_000, p90Ms: 21_000 },
};

describe('progress in lines', () => {
  test('what is done, how fast, for how long still, and by whom', () => {
    expect(toProgressLines(JOB)).toEqual([
      '██████░░░░░░░░░░░░░░░░░░ 25 %  2,042 of 8,166 items  408 items/s  15.0s–21.0s left',
      '  attic  ████████████    1,600 items    320 items/s  2 tasks',
      '  den    ███░░░░░░░░░      442 items     88 items/s  1 task',
    ]);
  });

  test('before a speed is known, and while only the merge is left', () => {
    const { itemsPerSecond: _, eta: __, ...unknown } = JOB;
    expect(toProgressLines(unknown)[0]).toContain('measuring');
    const stages = [{ ...JOB.stages[0]!, name: 'merge' }];
    const merging = { ...JOB, stages, items: { total: 10, done: 8, failed: 2 } };
    expect(toProgressLines(merging)[0]).toMatch(/80 %.*2 failed  stage merge$/);
  });

  test('names cannot move the cursor, and many workers are cut short', () => {
    const workers = Array.from({ length: 30 }, (_, i) => ({ ...JOB.workers[0]!, name: `\u001B[2Jpeer-${i}` }));
    const lines = toProgressLines({ ...JOB, workers });
    expect(lines.join('')).not.toContain('\u001B');
    expect(lines.at(-1)).toBe('  and 18 more');
  });
});
