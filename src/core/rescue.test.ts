// Stealing and backups, seen from the events: what is asked of whom, and that nothing is done or lost twice.

import { describe, expect, test } from 'vitest';
import { CoreHarness, done, JOB, key, messagesTo, specOf, tasksTo } from '../../test/helpers/core-harness.ts';
import type { Effect } from './effect.ts';
import type { JobId } from '../lib/ids.ts';

const [ANNA, BEN] = [key(11), key(12)];
const OTHER = '00000000000000bb' as JobId;

function shrinksTo(peer: typeof ANNA, effects: readonly Effect[]) {
  return messagesTo(peer, effects).flatMap((message) => (message.type === 'shrink' ? message.tasks : []));
}

/** Two peers that have shown 10 ms an item each; Ben is drained, so that Anna is given what is submitted. */
function annaHasAll(count: number): CoreHarness {
  const swarm = new CoreHarness({ targetTaskMs: 60_000 });
  swarm.join(ANNA, { backlog: 1 });
  swarm.join(BEN, { backlog: 1 });
  swarm.submit(specOf(64, { clientKey: 'warm-up' }), OTHER);
  while (swarm.state.attempts.size > 0)
    for (const attempt of swarm.state.attempts.values()) {
      swarm.at += 10 * (attempt.end - attempt.start);
      swarm.report(attempt.peer, attempt.epoch, done(10 * (attempt.end - attempt.start)));
    }
  swarm.drain(BEN, true);
  if (count > 0) swarm.submit(specOf(count), JOB);
  return swarm;
}

function beat(swarm: CoreHarness, peer: typeof ANNA, cursors: { epoch: never; cursor: number }[] = []): Effect[] {
  return swarm.send({ kind: 'heartbeat', peer, link: swarm.linkOf(peer), cursors });
}

/** One attempt of more than a second, from a stage whose tasks have a fixed size. */
function bigAttempt(): { swarm: CoreHarness; epoch: never; asked: Effect[] } {
  const swarm = annaHasAll(0);
  const spec = specOf([{ items: { kind: 'count', count: 400 }, taskItems: 400 }], { clientKey: 'big' });
  swarm.submit(spec, '00000000000000cc' as JobId);
  const [attempt] = swarm.state.attempts.values();
  if (!attempt) throw new Error('nothing was handed out');
  return { swarm, epoch: attempt.epoch as never, asked: swarm.drain(BEN, false) };
}

const BIG = '00000000000000cc' as JobId;

describe('stealing', () => {
  test('an idle peer gets about half of what another has still to do, and only when that one has let go', () => {
    const { swarm, epoch, asked } = bigAttempt();
    const [shrink] = shrinksTo(ANNA, asked);
    expect(shrink?.epoch).toBe(epoch);
    expect(shrink?.until).toBeGreaterThan(150);
    expect(shrink?.until).toBeLessThan(250);
    expect(swarm.heldBy(BEN)).toEqual([]);
    const given = swarm.send({ kind: 'shrunk', peer: ANNA, link: swarm.linkOf(ANNA), tasks: [{ epoch, end: 230 }] });
    expect(tasksTo(BEN, given)[0]?.start).toBe(230);
    expect(swarm.heldBy(ANNA)).toMatchObject([{ start: 0, end: 230 }]);
    swarm.finishAll();
    expect(swarm.statusOf(BIG)).toBe('completed');
  });

  test('it is asked once, not with every heartbeat; after a lease without an answer again', () => {
    const { swarm } = bigAttempt();
    expect(shrinksTo(ANNA, beat(swarm, BEN))).toEqual([]);
    swarm.at += 10_000;
    beat(swarm, ANNA);
    beat(swarm, BEN);
    swarm.at += 6_000;
    beat(swarm, ANNA);
    beat(swarm, BEN);
    expect(shrinksTo(ANNA, swarm.wait(1))).toHaveLength(1);
  });

  test('a boundary that nobody asked for changes nothing', () => {
    const { swarm, epoch } = bigAttempt();
    swarm.send({ kind: 'shrunk', peer: BEN, link: swarm.linkOf(BEN), tasks: [{ epoch, end: 10 }] });
    expect(swarm.heldBy(ANNA)).toMatchObject([{ start: 0, end: 400 }]);
    swarm.send({ kind: 'shrunk', peer: ANNA, link: swarm.linkOf(ANNA), tasks: [{ epoch, end: 400 }] });
    swarm.send({ kind: 'shrunk', peer: ANNA, link: swarm.linkOf(ANNA), tasks: [{ epoch, end: 900 }] });
    expect(swarm.heldBy(ANNA)).toMatchObject([{ start: 0, end: 400 }]);
  });

  test('a result that ends early counts as far as it goes, though the boundary was lost on the way', () => {
    const { swarm, epoch } = bigAttempt();
    swarm.report(ANNA, epoch, { kind: 'done', durationMs: 10, end: 220 });
    expect(swarm.stage('map', BIG).finished.covers({ start: 0, end: 220 })).toBe(true);
    expect(swarm.stage('map', BIG).finished.overlaps({ start: 220, end: 400 })).toBe(false);
    swarm.finishAll();
    expect(swarm.statusOf(BIG)).toBe('completed');
  });

  test('a result that goes beyond its range is worth nothing, and its range is done again', () => {
    const { swarm, epoch } = bigAttempt();
    swarm.send({ kind: 'shrunk', peer: ANNA, link: swarm.linkOf(ANNA), tasks: [{ epoch, end: 200 }] });
    swarm.report(ANNA, epoch, { kind: 'done', durationMs: 10, end: 400 });
    expect(swarm.stage('map', BIG).finished.size).toBe(0);
    swarm.finishAll();
    expect(swarm.statusOf(BIG)).toBe('completed');
  });

  test('a peer that comes back with a shorter range has let go of the rest', () => {
    const { swarm, epoch } = bigAttempt();
    const stage = swarm.stage('map', BIG).id;
    swarm.disconnect(ANNA);
    swarm.connect(ANNA, [{ epoch, stage, start: 0, end: 250 }], { backlog: 1 });
    expect(swarm.heldBy(ANNA)).toMatchObject([{ start: 0, end: 250 }]);
    expect(swarm.heldBy(BEN)[0]?.start).toBe(250);
  });

  test('with stealing switched off nothing is asked', () => {
    const off = new CoreHarness({ stealing: false, backups: false, targetTaskMs: 60_000 });
    off.join(ANNA, { backlog: 1 });
    off.submit(specOf([{ items: { kind: 'count', count: 400 }, taskItems: 400 }]));
    const [attempt] = off.state.attempts.values();
    expect(attempt?.end).toBe(400);
    expect(shrinksTo(ANNA, off.join(BEN))).toEqual([]);
  });
});

describe('backups', () => {
  /** One item that Anna, who has shown 10 ms an item, has had for two seconds. */
  function lateItem(): { swarm: CoreHarness; first: never; effects: Effect[] } {
    const swarm = annaHasAll(1);
    const [attempt] = swarm.state.attempts.values();
    if (!attempt) throw new Error('nothing was handed out');
    swarm.drain(BEN, false);
    swarm.at += 2_000;
    return { swarm, first: attempt.epoch as never, effects: beat(swarm, BEN) };
  }

  test('a late single item is done a second time; the first result wins and the other is stopped', () => {
    const { swarm, first, effects } = lateItem();
    const [second] = tasksTo(BEN, effects);
    expect(second).toMatchObject({ start: 0, end: 1 });
    const ended = swarm.report(BEN, second!.epoch);
    expect(swarm.statusOf()).toBe('completed');
    expect(messagesTo(ANNA, ended)).toContainEqual({ type: 'cancel', epochs: [first] });
    swarm.report(ANNA, first, { kind: 'stopped' });
    expect(swarm.state.attempts.size).toBe(0);
  });

  test('the second result of a range is dropped, counted, and compared', () => {
    const { swarm, first, effects } = lateItem();
    const part = (id: string) => ({ id: `sha256:${id.repeat(64)}` as never, sizeBytes: 1, signature: '' });
    swarm.report(BEN, tasksTo(BEN, effects)[0]!.epoch, { kind: 'done', durationMs: 10, part: part('a') });
    swarm.report(ANNA, first, { kind: 'done', durationMs: 10, part: part('b') });
    expect(swarm.state.counters).toMatchObject({ duplicatesDropped: 1, samplesEqual: 0, samplesUnlike: 1 });
    expect(swarm.stage().parts.get(0)?.peer).toBe(BEN);
  });

  test('when one of the two fails or is lost the other goes on alone, and no third is started', () => {
    const { swarm, first, effects } = lateItem();
    swarm.report(ANNA, first, { kind: 'failed', scope: 'task', reason: 'it broke' });
    expect(swarm.stage().retries.size).toBe(0);
    expect([...swarm.state.attempts.keys()]).toEqual([tasksTo(BEN, effects)[0]!.epoch]);
    swarm.finishAll();
    expect(swarm.statusOf()).toBe('completed');
  });

  test('what a peer holds that is out of reach is done by an idle one before the lease is over', () => {
    const swarm = annaHasAll(1);
    swarm.disconnect(ANNA);
    const effects = swarm.drain(BEN, false);
    expect(tasksTo(BEN, effects)).toHaveLength(1);
  });

  test('they cost no more than their share, beyond a first one', () => {
    const swarm = new CoreHarness({ backupShare: 0, targetTaskMs: 1 });
    expect(swarm.state.limits.backupShare).toBe(0);
    swarm.state.counters.backupMs = 1_000_000;
    swarm.join(ANNA, { backlog: 1 });
    swarm.submit(specOf(1));
    swarm.disconnect(ANNA);
    swarm.join(BEN);
    swarm.at += 5_000;
    expect(tasksTo(BEN, beat(swarm, BEN))).toEqual([]);
  });
});
