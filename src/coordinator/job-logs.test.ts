import { expect, test } from 'vitest';
import { CoreHarness, JOB, key, specOf } from '../../test/helpers/core-harness.ts';
import type { JobId } from '../lib/ids.ts';
import type { Engine } from './engine.ts';
import { JobLogs } from './job-logs.ts';

function withLines(count: number): JobLogs {
  const swarm = new CoreHarness();
  swarm.submit(specOf(1));
  const engine = { state: swarm.state, now: () => 5 } as Engine;
  const logs = new JobLogs();
  for (let i = 0; i < count; i++)
    logs.append(engine, key(1), { type: 'log', job: JOB, stage: 'map', lines: [`line ${i}`] });
  return logs;
}

test('lines are read page by page, the oldest are forgotten', () => {
  const logs = withLines(1_002);
  const first = logs.read(JOB, 0, 3);
  expect(first.lines.map(({ text }) => text)).toEqual(['line 2', 'line 3', 'line 4']);
  expect(logs.read(JOB, first.next, 1).lines).toMatchObject([{ text: 'line 5' }]);
  expect(logs.read(JOB, 1_002, 10)).toEqual({ lines: [], next: 1_002 });
});

test('who followed the log of an earlier start reads this one from its beginning', () => {
  const page = withLines(2).read(JOB, 700, 10);
  expect(page.lines.map(({ text }) => text)).toEqual(['line 0', 'line 1']);
  expect(page.next).toBe(2);
});

test('all logs together are bounded: the job that has been silent longest is forgotten first', () => {
  const swarm = new CoreHarness();
  const jobs = Array.from({ length: 30 }, (_, i) => i.toString(16).padStart(16, '0') as JobId);
  for (const job of jobs) swarm.submit(specOf(1, { clientKey: job }), job);
  const engine = { state: swarm.state, now: () => 5 } as Engine;
  const logs = new JobLogs();
  const lines = Array.from({ length: 200 }, () => 'x'.repeat(1_000));
  // Each job as much as it may have, and as much again.
  for (const job of jobs)
    for (let i = 0; i < 10; i++) logs.append(engine, key(1), { type: 'log', job, stage: 'map', lines });
  const kept = jobs.filter((job) => logs.read(job, 0, 1).lines.length > 0);
  expect(kept).toEqual(jobs.slice(-15));
});
