import { describe, expect, test } from 'vitest';
import {
  CoreHarness,
  done,
  failed,
  GIB,
  JOB,
  key,
  messagesTo,
  replyOf,
  specOf,
  tasksTo,
} from '../../test/helpers/core-harness.ts';
import type { Epoch, JobId, StageId } from '../lib/ids.ts';
import { PROTOCOL_VERSION } from '../protocol/version.ts';
import { recover } from './recover.ts';
import { explain } from './schedule/explain.ts';

const [ANNA, BEN] = [key(11), key(12)];

describe('peers', () => {
  test('a hello is welcomed with the lease', () => {
    const swarm = new CoreHarness();
    expect(messagesTo(ANNA, swarm.join(ANNA))).toEqual([
      { type: 'welcome', protocol: PROTOCOL_VERSION, heartbeatMs: 5_000, leaseMs: 15_000, verdicts: [] },
    ]);
  });

  test('work of a silent peer is handed to another after the lease, not before', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(1));
    swarm.join(BEN);
    swarm.at += 10_000;
    swarm.send({ kind: 'heartbeat', peer: BEN, link: swarm.linkOf(BEN), cursors: [] });
    expect(swarm.heldBy(BEN)).toEqual([]);
    swarm.wait(5_001);
    expect(swarm.heldBy(ANNA)).toEqual([]);
    expect(swarm.heldBy(BEN)).toMatchObject([{ start: 0, end: 1 }]);
  });

  test('there are no more peers than the limit says', () => {
    const swarm = new CoreHarness({ maxPeers: 1 });
    swarm.enrol(ANNA);
    swarm.enrol(BEN);
    expect([...swarm.state.peers.keys()]).toEqual([ANNA]);
  });

  test('a drained peer stays drained when it joins in another role and comes back', () => {
    const swarm = new CoreHarness({ maxPeers: 1 });
    swarm.enrol(ANNA);
    swarm.drain(ANNA, true);
    swarm.send({ kind: 'member-enrolled', request: 9, key: ANNA, name: 'anna', role: 'viewer' });
    swarm.enrol(ANNA);
    expect(swarm.state.members.get(ANNA)).toMatchObject({ role: 'peer' });
    expect(swarm.state.peers.get(ANNA)).toMatchObject({ drained: true });
  });

  test('a second connection of the same peer closes the first', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    expect(swarm.connect(ANNA)).toContainEqual({
      kind: 'close-link',
      peer: ANNA,
      link: 1,
      reason: 'another agent connected with the key of this machine',
      retry: false,
    });
  });

  test('a drained peer gets nothing new and keeps what it has', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(500));
    const held = swarm.heldBy(ANNA);
    swarm.drain(ANNA, true);
    for (const { epoch } of held) expect(tasksTo(ANNA, swarm.report(ANNA, epoch))).toEqual([]);
    expect(tasksTo(ANNA, swarm.drain(ANNA, false))).not.toEqual([]);
  });
});

describe('reconnecting', () => {
  test('what is held under a living epoch is kept', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(3));
    const held = swarm.heldBy(ANNA);
    swarm.disconnect(ANNA);
    const [welcome] = messagesTo(ANNA, swarm.connect(ANNA, held));
    expect(welcome).toMatchObject({ verdicts: held.map(({ epoch }) => ({ kind: 'keep', epoch })) });
    expect(swarm.heldBy(ANNA)).toEqual(held);
  });

  test('nothing is adopted of a stage that has not begun', () => {
    const swarm = new CoreHarness();
    const stages = [{}, { name: 'merge', needs: ['map'], items: { kind: 'parts' as const, of: 'map' } }];
    swarm.enrol(ANNA);
    swarm.submit(specOf(stages));
    const held = { epoch: '0.1' as Epoch, stage: `${JOB}/merge` as StageId, start: 0, end: 1 };
    const [welcome] = messagesTo(ANNA, swarm.connect(ANNA, [held]));
    expect(welcome).toMatchObject({ verdicts: [{ kind: 'drop' }] });
  });

  test('what a restarted agent no longer holds is handed out again at once', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(1));
    const [before] = swarm.heldBy(ANNA);
    swarm.connect(ANNA, []);
    expect(swarm.heldBy(ANNA)).toMatchObject([{ start: 0, end: 1 }]);
    expect(swarm.heldBy(ANNA)[0]?.epoch).not.toBe(before?.epoch);
  });

  test('after a restart of the coordinator held work is adopted under a new epoch', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(3));
    const held = swarm.heldBy(ANNA);
    swarm.restart();
    const [welcome] = messagesTo(ANNA, swarm.connect(ANNA, held));
    expect(welcome).toMatchObject({ verdicts: [{ kind: 'adopt', epoch: held[0]?.epoch, newEpoch: '2.1' }] });
    swarm.report(ANNA, '2.1' as Epoch);
    swarm.finishAll();
    expect(swarm.statusOf()).toBe('completed');
  });

  test('a range that somebody else has by now is fenced', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(1));
    const held = swarm.heldBy(ANNA);
    swarm.wait(15_001);
    swarm.join(BEN);
    const [welcome] = messagesTo(ANNA, swarm.connect(ANNA, held));
    expect(welcome).toMatchObject({ verdicts: [{ kind: 'drop', epoch: held[0]?.epoch }] });
  });

  test('work of a canceled job is dropped', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(1));
    const held = swarm.heldBy(ANNA);
    swarm.disconnect(ANNA);
    swarm.act('job-canceled');
    const [welcome] = messagesTo(ANNA, swarm.connect(ANNA, held));
    expect(welcome).toMatchObject({ verdicts: [{ kind: 'drop' }] });
    expect(swarm.state.attempts.size).toBe(0);
  });

  test('no more is adopted than there are slots', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(10));
    swarm.restart();
    const held = [0, 1, 2].map((start) => ({
      epoch: `1.${90 + start}` as Epoch,
      stage: swarm.stage().id,
      start,
      end: start + 1,
    }));
    const [welcome] = messagesTo(ANNA, swarm.connect(ANNA, held));
    expect(welcome).toMatchObject({ verdicts: [{ kind: 'adopt' }, { kind: 'adopt' }, { kind: 'drop' }] });
  });
});

describe('reports', () => {
  test('a stale epoch changes nothing and is acknowledged, so that the agent forgets it', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(1));
    const before = JSON.stringify([...swarm.store]);
    const effects = swarm.report(ANNA, '0.7' as Epoch);
    expect(messagesTo(ANNA, effects)).toEqual([{ type: 'ack', epochs: ['0.7'] }]);
    expect(JSON.stringify([...swarm.store])).toBe(before);
    expect(swarm.state.counters.staleDropped).toBe(1);
  });

  test('a result counts once, however often it is reported', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(1));
    const [task] = swarm.heldBy(ANNA);
    if (!task) throw new Error('nothing was assigned');
    swarm.report(ANNA, task.epoch);
    swarm.report(ANNA, task.epoch);
    expect(swarm.state.counters).toMatchObject({ accepted: 1, staleDropped: 1 });
  });

  test("another peer cannot report under a peer's epoch", () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.join(BEN);
    swarm.submit(specOf(1));
    const [attempt] = swarm.state.attempts.values();
    if (!attempt) throw new Error('nothing was assigned');
    swarm.report(attempt.peer === ANNA ? BEN : ANNA, attempt.epoch);
    expect(swarm.state.counters).toMatchObject({ accepted: 0, staleDropped: 1 });
  });

  test('a report over an old link is ignored', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(1));
    const held = swarm.heldBy(ANNA);
    const oldLink = swarm.linkOf(ANNA);
    swarm.connect(ANNA, held);
    const reports = held.map(({ epoch }) => ({ epoch, outcome: done() }));
    expect(messagesTo(ANNA, swarm.send({ kind: 'reported', peer: ANNA, link: oldLink, reports }))).toEqual([]);
    expect(swarm.state.counters.accepted).toBe(0);
  });
});

describe('failures', () => {
  test('a poison item is isolated by halving, reported, and the rest completes', () => {
    const swarm = new CoreHarness({ retryBackoffMs: 1 });
    swarm.join(ANNA);
    swarm.submit(specOf(40));
    for (let rounds = 0; swarm.statusOf() === 'running'; rounds++) {
      expect(rounds).toBeLessThan(1_000);
      const [task] = swarm.heldBy(ANNA);
      if (!task) swarm.wait(1);
      else swarm.report(ANNA, task.epoch, task.start <= 17 && 17 < task.end ? failed('poison') : done());
    }
    expect(swarm.state.jobs.get(JOB)?.status).toMatchObject({ kind: 'completed', failedItems: 1 });
    expect([...swarm.stage().failures.values()]).toMatchObject([{ item: 17, tries: 3, reason: 'poison' }]);
    expect([...swarm.stage().finished]).toEqual([
      { start: 0, end: 17 },
      { start: 18, end: 40 },
    ]);
  });

  test('a named item is set apart at once and its neighbours are not blamed', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(10));
    const [task] = swarm.heldBy(ANNA);
    if (!task) throw new Error('nothing was assigned');
    swarm.report(ANNA, task.epoch, failed('bad item', 2));
    expect([...swarm.stage().retries.values()]).toMatchObject([{ start: 2, end: 3, tries: 1 }]);
  });

  test('a retry waits for its backoff and prefers another peer', () => {
    const swarm = new CoreHarness({ retryBackoffMs: 1_000 });
    swarm.join(ANNA);
    swarm.submit(specOf(1));
    const [task] = swarm.heldBy(ANNA);
    if (!task) throw new Error('nothing was assigned');
    swarm.report(ANNA, task.epoch, failed());
    swarm.join(BEN);
    expect(swarm.state.attempts.size).toBe(0);
    expect(explain(swarm.state, swarm.stage().id, swarm.at)).toMatchObject({ kind: 'waits-to-retry' });
    swarm.wait(1_000);
    expect(swarm.heldBy(BEN)).toMatchObject([{ start: 0, end: 1 }]);
  });

  test('more failed items than allowed end the job and stop what runs', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf([{ items: { kind: 'count', count: 10 }, taskItems: 1, maxAttempts: 1, maxFailedItems: 0 }]));
    // The first task shows how fast the peer is: only then it is given more than one.
    swarm.report(ANNA, swarm.heldBy(ANNA)[0]!.epoch);
    const [first, second] = swarm.heldBy(ANNA);
    if (!first || !second) throw new Error('two tasks were expected');
    const effects = swarm.report(ANNA, first.epoch, failed('bad'));
    expect(swarm.state.jobs.get(JOB)?.status).toMatchObject({
      kind: 'failed',
      reason: expect.stringContaining('1 of 10 items failed'),
    });
    expect(messagesTo(ANNA, effects)).toContainEqual({ type: 'cancel', epochs: [second.epoch] });
  });

  test('a peer that cannot run a stage is not asked again, and explain says why', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(1));
    const [task] = swarm.heldBy(ANNA);
    if (!task) throw new Error('nothing was assigned');
    swarm.report(ANNA, task.epoch, { kind: 'failed', scope: 'peer', reason: 'the signer is not trusted here' });
    expect(swarm.heldBy(ANNA)).toEqual([]);
    expect(explain(swarm.state, swarm.stage().id, swarm.at)).toEqual({
      kind: 'peers',
      cheapest: { peer: ANNA, obstacle: { kind: 'refused', reason: 'the signer is not trusted here' } },
      obstacles: [{ peer: ANNA, obstacle: { kind: 'refused', reason: 'the signer is not trusted here' } }],
    });
  });
});

describe('jobs', () => {
  test('a resubmission is the same job; another spec under its key is a conflict', () => {
    const swarm = new CoreHarness();
    expect(replyOf(swarm.submit(specOf(5)))).toEqual({ id: JOB, changed: true });
    expect(replyOf(swarm.submit(specOf(5)))).toEqual({ id: JOB, changed: false });
    expect(replyOf(swarm.submit(specOf(6), '00000000000000bb' as JobId))).toMatchObject({ code: 'conflict' });
  });

  test('a stage starts when all it needs has finished; the job completes with the last', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    const merge = { name: 'merge', needs: ['map'], items: { kind: 'parts' as const, of: 'map' } };
    swarm.submit(specOf([{ items: { kind: 'count', count: 3 } }, merge]));
    expect(swarm.stage('merge').record.status.kind).toBe('waiting');
    const [task] = swarm.heldBy(ANNA);
    if (!task) throw new Error('nothing was assigned');
    for (const { epoch } of swarm.heldBy(ANNA)) swarm.report(ANNA, epoch);
    while (swarm.stage('merge').record.status.kind === 'waiting')
      for (const { epoch } of swarm.heldBy(ANNA)) swarm.report(ANNA, epoch);
    expect(swarm.heldBy(ANNA)).toMatchObject([{ stage: swarm.stage('merge').id, start: 0, end: 1 }]);
    swarm.finishAll();
    expect(swarm.statusOf()).toBe('completed');
  });

  test('a canceled job stays in sight until its peers say that they stopped', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(100));
    const held = swarm.heldBy(ANNA);
    const effects = swarm.act('job-canceled');
    expect(messagesTo(ANNA, effects)).toContainEqual({ type: 'cancel', epochs: held.map(({ epoch }) => epoch) });
    expect(swarm.state.attempts.size).toBe(held.length);
    for (const { epoch } of held) swarm.report(ANNA, epoch, { kind: 'stopped' });
    expect(swarm.state.attempts.size).toBe(0);
    expect(replyOf(swarm.act('job-canceled'))).toEqual({ id: JOB, changed: false });
    expect(replyOf(swarm.act('job-paused'))).toMatchObject({ code: 'conflict' });
  });

  test('a result that comes after the cancel does not count', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(1));
    const [task] = swarm.heldBy(ANNA);
    if (!task) throw new Error('nothing was assigned');
    swarm.act('job-canceled');
    swarm.report(ANNA, task.epoch);
    expect(swarm.state.counters.accepted).toBe(0);
  });

  test('a paused job finishes what runs and starts nothing until it is resumed', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf(500));
    swarm.act('job-paused');
    for (const { epoch } of swarm.heldBy(ANNA)) expect(tasksTo(ANNA, swarm.report(ANNA, epoch))).toEqual([]);
    expect(explain(swarm.state, swarm.stage().id, swarm.at)).toEqual({ kind: 'paused' });
    expect(tasksTo(ANNA, swarm.act('job-resumed'))).not.toEqual([]);
  });

  test('of two jobs the one with the higher priority is served first', () => {
    const swarm = new CoreHarness();
    const urgent = '00000000000000bb' as JobId;
    swarm.submit(specOf(500));
    swarm.submit(specOf(500, { clientKey: 'key-2', priority: 5 }), urgent);
    const [first] = tasksTo(ANNA, swarm.join(ANNA));
    expect(first?.stage).toBe(`${urgent}/map`);
  });

  test('what no peer has memory for waits, and explain names the bytes', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA, { memoryBytes: 4 * GIB });
    swarm.submit(specOf([{ memoryBytes: 6 * GIB }]));
    expect(swarm.heldBy(ANNA)).toEqual([]);
    expect(explain(swarm.state, swarm.stage().id, swarm.at)).toMatchObject({
      obstacles: [{ obstacle: { kind: 'memory', neededBytes: 6 * GIB, presentBytes: 4 * GIB } }],
    });
  });
});

describe('invites', () => {
  const enrol = (swarm: CoreHarness, number: number, invite = { id: key(90), maxUses: 1, expiresAt: 5_000 }): unknown =>
    replyOf(swarm.send({ kind: 'member-enrolled', request: 1, key: key(number), name: 'n', role: 'peer', invite }));

  test('an invite counts its uses and tells when it is used up', () => {
    const swarm = new CoreHarness();
    expect(enrol(swarm, 1)).toMatchObject({ changed: true });
    expect(enrol(swarm, 1)).toMatchObject({ changed: false });
    expect(enrol(swarm, 2)).toMatchObject({
      code: 'bad-invite',
      message: expect.stringContaining('used 1 of 1 times'),
    });
  });

  test('an invite gives its role to a key once: a later role is not undone with it', () => {
    const swarm = new CoreHarness();
    const first = { id: key(90), maxUses: 5, expiresAt: 5_000 };
    const later = { id: key(91), maxUses: 1, expiresAt: 5_000 };
    enrol(swarm, 1, first);
    const enrolment = { kind: 'member-enrolled', request: 2, key: key(1), name: 'n', role: 'viewer' } as const;
    expect(replyOf(swarm.send({ ...enrolment, invite: later }))).toMatchObject({ changed: true });
    expect(enrol(swarm, 1, first)).toMatchObject({ code: 'bad-invite', message: expect.stringContaining('before') });
    expect(swarm.state.members.get(key(1))).toMatchObject({ role: 'viewer' });
    expect(swarm.state.invites.get(key(90))?.usedBy).toHaveLength(1);
  });

  test('an expired invite is refused by the coordinator’s clock', () => {
    const swarm = new CoreHarness();
    swarm.at = 5_001;
    expect(enrol(swarm, 1)).toMatchObject({ code: 'bad-invite', message: expect.stringContaining('expired') });
  });
});

describe('recovery', () => {
  test('a record of a newer version is refused', () => {
    const record = { kind: 'job', id: JOB, version: 99, value: {} };
    const error = { code: 'store-newer', message: expect.stringContaining('has version 99') };
    expect(recover([record], 2)).toEqual({ ok: false, error });
  });

  test('a record without what it belongs to is no newer version’s: the store is broken', () => {
    const swarm = new CoreHarness();
    swarm.submit(specOf(1));
    const records = [...swarm.store.values()];
    const alone = records.filter(({ kind }) => kind === 'stage');
    expect(recover(alone, 2)).toMatchObject({ ok: false, error: { code: 'store-corrupt' } });
    const other = { kind: 'stage', id: `${JOB}/x`, version: 1, value: { id: `${JOB}/x`, jobId: JOB } };
    expect(recover([...records, other], 2)).toMatchObject({ ok: false, error: { code: 'store-corrupt' } });
  });

  test('finished items, retries and failures are not handed out again', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(specOf([{ items: { kind: 'count', count: 4 }, taskItems: 1, maxAttempts: 1 }]));
    swarm.report(ANNA, swarm.heldBy(ANNA)[0]!.epoch);
    swarm.report(ANNA, swarm.heldBy(ANNA)[0]!.epoch, failed());
    swarm.restart();
    expect([...swarm.stage().pending]).toEqual([{ start: 2, end: 4 }]);
  });

  test('a million finished items in order are one record', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA, { backlog: 64 });
    swarm.submit(specOf([{ items: { kind: 'count', count: 1_000_000 }, taskItems: 10_000 }]));
    swarm.finishAll();
    expect([...swarm.store.keys()].filter((name) => name.startsWith('finished'))).toHaveLength(1);
    expect(swarm.statusOf()).toBe('completed');
  });
});
