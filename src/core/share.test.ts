// Sharing between people: whose work runs when there is not enough for all, who gave and who took, and which peers and
// jobs are held back.

import { describe, expect, test } from 'vitest';
import { CoreHarness, done, failed, JOB, key, messagesTo, replyOf, specOf } from '../../test/helpers/core-harness.ts';
import type { JobId, KeyId } from '../lib/ids.ts';
import { weekOf } from './ledger.ts';
import { explain } from './schedule/explain.ts';

const [ANNA, BEN, CARA] = [key(11), key(12), key(13)];
const [MIA, NOA] = [key(2), key(3)];
const GIB = 1_024 ** 3;

function jobId(number: number): JobId {
  return number.toString(16).padStart(16, '0') as JobId;
}

function itemJob(count: number, name: string, extra: Parameters<typeof specOf>[1] = {}) {
  return specOf([{ items: { kind: 'count', count }, taskItems: 1 }], { clientKey: name, ...extra });
}

/** Lets peers work for a while, each task 100 ms; how many items of each job were done. */
function work(swarm: CoreHarness, tasks: number, jobs: readonly JobId[]): number[] {
  const before = jobs.map((job) => swarm.stage('map', job).finished.size);
  for (let i = 0; i < tasks; i++) {
    const [attempt] = swarm.state.attempts.values();
    if (!attempt) break;
    swarm.at += 100;
    swarm.report(attempt.peer, attempt.epoch, done(100));
  }
  return jobs.map((job, i) => swarm.stage('map', job).finished.size - (before[i] ?? 0));
}

describe('fair share', () => {
  test('two submitters get about half each, however many jobs one of them has', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    for (let i = 1; i <= 5; i++) swarm.submit(itemJob(400, `mia-${i}`), jobId(i), MIA);
    swarm.submit(itemJob(400, 'noa'), jobId(9), NOA);
    work(swarm, 40, []);
    const mia = [1, 2, 3, 4, 5].reduce((sum, i) => sum + swarm.stage('map', jobId(i)).finished.size, 0);
    const noa = swarm.stage('map', jobId(9)).finished.size;
    expect(noa / (mia + noa)).toBeGreaterThan(0.3);
    expect(noa / (mia + noa)).toBeLessThan(0.7);
  });

  test('a share weighs what an admin set, after a restart too', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.send({ kind: 'weight-set', request: 1, submitter: MIA, weight: 3 });
    swarm.restart();
    swarm.connect(ANNA);
    swarm.submit(itemJob(4_000, 'mia'), jobId(1), MIA);
    swarm.submit(itemJob(4_000, 'noa'), jobId(2), NOA);
    const [mia = 0, noa = 0] = work(swarm, 200, [jobId(1), jobId(2)]);
    expect(mia / noa).toBeGreaterThan(2.3);
    expect(mia / noa).toBeLessThan(3.7);
  });

  test('somebody who comes late is not starved, nor starves the others for what they had', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(itemJob(4_000, 'mia'), jobId(1), MIA);
    work(swarm, 300, [jobId(1)]);
    swarm.submit(itemJob(4_000, 'noa'), jobId(2), NOA);
    const [, noa = 0] = work(swarm, 100, [jobId(1), jobId(2)]);
    expect(noa).toBeGreaterThan(45);
    swarm.at += 3_600_000;
    swarm.send({ kind: 'link-closed', peer: ANNA, link: swarm.linkOf(ANNA) });
    swarm.wait(60_000);
    swarm.connect(ANNA);
    const [mia = 0] = work(swarm, 100, [jobId(1), jobId(2)]);
    expect(mia).toBeGreaterThan(25);
  });

  test('priority orders the jobs of one person, and takes from another at most the greater part', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(itemJob(500, 'low'), jobId(1), MIA);
    swarm.submit(itemJob(500, 'high', { priority: 100 }), jobId(2), MIA);
    swarm.submit(itemJob(500, 'noa'), jobId(3), NOA);
    const [low = 0, high = 0, noa = 0] = work(swarm, 200, [jobId(1), jobId(2), jobId(3)]);
    expect(low).toBeLessThan(20);
    expect(high).toBeGreaterThan(noa);
    expect(noa).toBeGreaterThan(25);
  });

  test('the owner’s own jobs come first on their own machine', () => {
    const swarm = new CoreHarness();
    swarm.submit(itemJob(50, 'mia'), jobId(1), MIA);
    swarm.submit(itemJob(50, 'noa'), jobId(2), NOA);
    swarm.join(ANNA, { owner: NOA });
    const [mia, noa] = work(swarm, 40, [jobId(1), jobId(2)]);
    expect([mia, noa]).toEqual([0, 40]);
  });

  test('of one person’s jobs the one that is due sooner goes first; a deadline in the past is refused', () => {
    const swarm = new CoreHarness();
    swarm.submit(itemJob(50, 'later', { deadlineAt: 1_900_000_000_000 }), jobId(1));
    swarm.submit(itemJob(50, 'sooner', { deadlineAt: 1_800_000_000_000 }), jobId(2));
    swarm.join(ANNA);
    expect(work(swarm, 30, [jobId(1), jobId(2)])).toEqual([0, 30]);
    expect(replyOf(swarm.submit(itemJob(1, 'late', { deadlineAt: 10 }), jobId(3)))).toMatchObject({
      code: 'bad-input',
      message: expect.stringContaining('deadline'),
    });
  });
});

describe('limits of a job', () => {
  test('it runs on no more peers than it says, and explain tells', () => {
    const swarm = new CoreHarness();
    for (const peer of [ANNA, BEN, CARA]) swarm.join(peer);
    swarm.submit(specOf(10_000, { limits: { peers: 2 } }));
    expect(new Set([...swarm.state.attempts.values()].map(({ peer }) => peer)).size).toBe(2);
    const explained = explain(swarm.state, swarm.stage().id, swarm.at);
    expect(explained).toMatchObject({ kind: 'peers' });
    expect(JSON.stringify(explained)).toContain('"job-peers"');
    swarm.finishAll();
    expect(swarm.statusOf()).toBe('completed');
  });

  test('a peer that claims more time than it had costs nobody their share, nor a job its device-hours', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(itemJob(1_000, 'big', { limits: { deviceHours: 1 } }));
    for (let i = 0; i < 3; i++) {
      const [attempt] = swarm.state.attempts.values();
      swarm.at += 100;
      swarm.report(ANNA, attempt!.epoch, done(1e12));
    }
    expect(swarm.statusOf()).toBe('running');
    expect([...swarm.state.ledger.values()][0]?.deviceMs).toBeLessThanOrEqual(600);
  });

  test('it ends when its device-hours are used up, and what runs is stopped', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(itemJob(1_000, 'big', { limits: { deviceHours: 0.001 } }));
    work(swarm, 200, [JOB]);
    const status = swarm.state.jobs.get(JOB)?.status;
    expect(status).toMatchObject({ kind: 'failed', reason: expect.stringContaining('0.001 device-hours') });
    expect(swarm.stage().finished.size).toBe(37);
  });
});

describe('who may run what', () => {
  test('labels, free memory and disk hold a stage back, with the cheapest way out', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA, { memoryBytes: 8 * GIB });
    swarm.join(BEN, { memoryBytes: 12 * GIB });
    const telemetry = (freeMemoryBytes: number) => ({ freeMemoryBytes, freeDiskBytes: 100 * GIB, devices: [] });
    const beat = (peer: KeyId, freeMemoryBytes: number) =>
      swarm.send({
        ...{ kind: 'heartbeat', peer, link: swarm.linkOf(peer), cursors: [] },
        telemetry: telemetry(freeMemoryBytes),
      });
    beat(ANNA, 6 * GIB);
    beat(BEN, 2 * GIB);
    swarm.submit(specOf([{ memoryBytes: 7 * GIB }]));
    expect(swarm.state.attempts.size).toBe(0);
    expect(explain(swarm.state, swarm.stage().id, swarm.at)).toMatchObject({
      cheapest: { peer: ANNA, obstacle: { kind: 'memory', neededBytes: 7 * GIB, freeBytes: 6 * GIB } },
    });
    beat(ANNA, 8 * GIB);
    expect(swarm.heldBy(ANNA)).toHaveLength(1);
    swarm.finishAll();
    swarm.submit(specOf([{ diskBytes: 200 * GIB, labels: ['gpu'] }], { clientKey: 'two' }), jobId(2));
    expect(JSON.stringify(explain(swarm.state, swarm.stage('map', jobId(2)).id, swarm.at))).toContain(
      '"missing":["gpu"]',
    );
    swarm.connect(BEN, [], { labels: ['gpu'], memoryBytes: 12 * GIB });
    beat(BEN, 2 * GIB);
    expect(JSON.stringify(explain(swarm.state, swarm.stage('map', jobId(2)).id, swarm.at))).toContain('"disk"');
  });

  test('all peers drained: explain says how to change that', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.drain(ANNA, true);
    swarm.submit(specOf(5));
    expect(explain(swarm.state, swarm.stage().id, swarm.at)).toMatchObject({
      cheapest: { peer: ANNA, obstacle: { kind: 'drained' } },
    });
  });
});

describe('quarantine', () => {
  function ailing(): CoreHarness {
    const swarm = new CoreHarness({ retryBackoffMs: 1 });
    for (const peer of [ANNA, BEN]) swarm.join(peer);
    swarm.submit(itemJob(500, 'x'), JOB);
    for (let i = 0; i < 60; i++) {
      swarm.at += 100;
      const attempt = [...swarm.state.attempts.values()].find(({ peer }) => peer === (i % 2 === 0 ? ANNA : BEN));
      if (attempt) swarm.report(attempt.peer, attempt.epoch, attempt.peer === BEN ? failed('no driver') : done(100));
    }
    return swarm;
  }

  test('a peer that fails what others can do gets nothing for a while; its reason is shown', () => {
    const swarm = ailing();
    expect(swarm.heldBy(BEN)).toEqual([]);
    const text = JSON.stringify(explain(swarm.state, swarm.stage().id, swarm.at));
    expect(text).toContain('quarantined');
    expect(text).toContain('no driver');
    expect(swarm.stage().failures.size).toBe(0);
  });

  test('it comes back by itself, or by hand', () => {
    const swarm = ailing();
    swarm.at += 61_000;
    for (const peer of [ANNA, BEN]) swarm.send({ kind: 'heartbeat', peer, link: swarm.linkOf(peer), cursors: [] });
    expect(swarm.heldBy(BEN).length).toBeGreaterThan(0);
    const again = ailing();
    expect(replyOf(again.drain(BEN, false))).toMatchObject({ changed: true });
    expect(again.heldBy(BEN).length).toBeGreaterThan(0);
  });

  test('items that fail everywhere are nobody’s fault', () => {
    const swarm = new CoreHarness({ retryBackoffMs: 1 });
    for (const peer of [ANNA, BEN]) swarm.join(peer);
    swarm.submit(itemJob(50, 'poison'), JOB);
    for (let i = 0; i < 400 && swarm.state.attempts.size > 0; i++) {
      const [attempt] = swarm.state.attempts.values();
      if (attempt) swarm.report(attempt.peer, attempt.epoch, failed('poison'));
      swarm.wait(1_000);
      for (const peer of [ANNA, BEN]) swarm.send({ kind: 'heartbeat', peer, link: swarm.linkOf(peer), cursors: [] });
    }
    expect(swarm.state.health.size).toBe(0);
    expect(swarm.statusOf()).toBe('failed');
  });
});

describe('the ledger', () => {
  test('says by week who gave and who took, and survives a restart', () => {
    const swarm = new CoreHarness();
    for (const peer of [ANNA, BEN]) swarm.join(peer);
    swarm.submit(itemJob(40, 'mia'), jobId(1), MIA);
    work(swarm, 40, [jobId(1)]);
    const rows = [...swarm.state.ledger.values()];
    expect(new Set(rows.map(({ week }) => week))).toEqual(new Set([weekOf(swarm.at)]));
    expect(rows.reduce((sum, { deviceMs }) => sum + deviceMs, 0)).toBe(4_000);
    expect(rows.every(({ submitter }) => submitter === MIA)).toBe(true);
    swarm.restart();
    expect([...swarm.state.ledger.values()]).toEqual(rows);
  });

  test('weeks begin on Monday, and old ones are forgotten', () => {
    expect(weekOf(Date.UTC(2026, 10, 23))).toBe(Date.UTC(2026, 10, 23));
    expect(weekOf(Date.UTC(2026, 10, 29, 23, 59))).toBe(Date.UTC(2026, 10, 23));
    expect(weekOf(Date.UTC(2026, 10, 22))).toBe(Date.UTC(2026, 10, 16));
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    swarm.submit(itemJob(1, 'old'), jobId(1));
    swarm.finishAll();
    swarm.at += 400 * 86_400_000;
    swarm.connect(ANNA);
    swarm.submit(itemJob(1, 'new'), jobId(2));
    swarm.finishAll();
    expect(swarm.state.ledger.size).toBe(1);
  });
});

test('what was learned survives a restart', () => {
  const swarm = new CoreHarness();
  swarm.join(ANNA);
  swarm.submit(itemJob(40, 'one'), jobId(1));
  work(swarm, 40, [jobId(1)]);
  swarm.restart();
  swarm.connect(ANNA, [], { backlog: 50 });
  // A peer whose speed is known gets no small first task.
  const messages = messagesTo(ANNA, swarm.submit(specOf(10_000, { clientKey: 'two' }), jobId(2)));
  const [assigned] = messages.flatMap((message) => (message.type === 'assign' ? message.tasks : []));
  expect((assigned?.end ?? 0) - (assigned?.start ?? 0)).toBe(30);
});
