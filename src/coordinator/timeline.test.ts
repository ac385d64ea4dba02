import { expect, test } from 'vitest';
import type { TraceEntry } from '../core/trace.ts';
import { toEpoch, type JobId, type PeerId } from '../lib/ids.ts';
import { toStageId } from '../lib/ids.ts';
import { Timeline } from './timeline.ts';

const PEER = `ed25519:${'1'.repeat(64)}` as PeerId;
const JOB = '0123456789abcdef' as JobId;
const OTHER = 'fedcba9876543210' as JobId;

function started(counter: number, job = JOB): TraceEntry {
  const range = { start: 10 * counter, end: 10 * counter + 10 };
  return {
    ...{ kind: 'started', at: 1_000 + counter, epoch: toEpoch(1, counter), stage: toStageId(job, 'map'), peer: PEER },
    ...{ ...range, why: 'fresh', expectedMs: 50 },
  };
}

function ended(counter: number): TraceEntry {
  return { kind: 'ended', at: 2_000 + counter, epoch: toEpoch(1, counter), how: 'accepted', durationMs: 40 };
}

test('an attempt is told with its start, its cut and its end', () => {
  const timeline = new Timeline();
  timeline.note(started(1));
  timeline.note({ kind: 'shrunk', at: 1_500, epoch: toEpoch(1, 1), end: 14 });
  timeline.note(ended(1));
  const [attempt] = timeline.page(0, 10).attempts;
  expect(attempt).toEqual({
    ...{ epoch: '1.1', job: JOB, stage: 'map', peer: PEER, start: 10, end: 14, cutFrom: 20, why: 'fresh' },
    ...{ startedAt: 1_001, expectedMs: 50, endedAt: 2_001, how: 'accepted', durationMs: 40 },
  });
});

test('a page goes on where the last one ended, and tells what changed since', () => {
  const timeline = new Timeline();
  for (let i = 1; i <= 5; i++) timeline.note(started(i));
  const first = timeline.page(0, 3);
  expect(first.attempts.map(({ epoch }) => epoch)).toEqual(['1.1', '1.2', '1.3']);
  const second = timeline.page(first.next, 3);
  expect(second.attempts.map(({ epoch }) => epoch)).toEqual(['1.4', '1.5']);
  expect(timeline.page(second.next, 3).attempts).toEqual([]);
  timeline.note(ended(2));
  expect(timeline.page(second.next, 3).attempts.map(({ epoch, how }) => [epoch, how])).toEqual([['1.2', 'accepted']]);
});

test('the oldest attempts make room, whether they have ended or not', () => {
  const timeline = new Timeline({ capacity: 3 });
  for (let i = 1; i <= 5; i++) timeline.note(started(i));
  timeline.note(ended(1));
  expect(timeline.page(0, 10).attempts.map(({ epoch }) => epoch)).toEqual(['1.3', '1.4', '1.5']);
});

test('the attempts of one job alone', () => {
  const timeline = new Timeline();
  timeline.note(started(1));
  timeline.note(started(2, OTHER));
  expect(timeline.page(0, 10, OTHER).attempts.map(({ job }) => job)).toEqual([OTHER]);
});

test('whoever asks is told each attempt once, when it is over', () => {
  const seen: string[] = [];
  const timeline = new Timeline({ onEnded: ({ started: { epoch } }) => seen.push(epoch) });
  timeline.note(started(1));
  timeline.note(ended(1));
  timeline.note(ended(1));
  expect(seen).toEqual(['1.1']);
});
