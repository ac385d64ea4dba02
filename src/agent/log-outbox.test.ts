// Lines wait for the link within bounds, and what was dropped is told.

import { expect, test } from 'vitest';
import type { JobId } from '../lib/ids.ts';
import { toCoordinatorSchema, type ToCoordinator } from '../protocol/to-coordinator.ts';
import { LogOutbox } from './log-outbox.ts';

const JOB = '00000000000000aa' as JobId;

function harness() {
  const link = { isUp: true };
  const sent: Extract<ToCoordinator, { type: 'log' }>[] = [];
  const outbox = new LogOutbox(
    (message) => sent.push(message),
    () => link.isUp,
  );
  return { link, sent, outbox };
}

test('lines of a stage leave together, levels above info are named', () => {
  const { outbox, sent } = harness();
  outbox.add(JOB, 'map', 'info', 'one');
  outbox.add(JOB, 'map', 'warn', 'two');
  outbox.add(JOB, 'merge', 'info', 'three');
  outbox.flush();
  expect(sent.map(({ stage, lines }) => [stage, lines])).toEqual([
    ['map', ['one', 'warn: two']],
    ['merge', ['three']],
  ]);
});

test('while the link is down they wait, within a bound, and the rest is counted', () => {
  const { outbox, sent, link } = harness();
  link.isUp = false;
  for (let i = 0; i < 1_500; i++) outbox.add(JOB, 'map', 'info', `line ${i}`);
  outbox.flush();
  expect(sent).toEqual([]);
  link.isUp = true;
  outbox.flush();
  const lines = sent.flatMap((message) => message.lines);
  expect(lines).toHaveLength(1_001);
  expect(lines.at(-1)).toBe('500 lines were dropped while the coordinator was out of reach');
  for (const message of sent) toCoordinatorSchema.parse(message);
  outbox.flush();
  expect(sent.flatMap((message) => message.lines)).toHaveLength(1_001);
});

test('the longest line fits the protocol', () => {
  const { outbox, sent } = harness();
  outbox.add(JOB, 'map', 'error', 'x'.repeat(1_001));
  outbox.flush();
  for (const message of sent) toCoordinatorSchema.parse(message);
});
