// A real agent against a coordinator that is only a WebSocket: what it says, in which order, and what it does when the
// other side breaks off, goes silent, says no or talks nonsense.

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import type { Epoch } from '../../src/lib/ids.ts';
import { generateKey } from '../../src/protocol/keys.ts';
import { until } from '../helpers/condition.ts';
import { FakeCoordinator } from '../helpers/fake-coordinator.ts';
import { APP_DIR, joinSwarm, TestAgent } from '../helpers/test-agent.ts';
import { SILENT } from '../helpers/test-coordinator.ts';

async function startBoth(overrides: ConstructorParameters<typeof TestAgent>[1] = {}) {
  const coordinator = await FakeCoordinator.start();
  const joined = await joinSwarm(coordinator.swarm, coordinator.admin, coordinator.url);
  const agent = await TestAgent.start(joined, overrides);
  const stop = async () => {
    await agent[Symbol.asyncDispose]();
    await coordinator[Symbol.asyncDispose]();
  };
  return { coordinator, agent, [Symbol.asyncDispose]: stop };
}

/** Takes the agent's word that it came up with whatever it held. */
const KEEP = (epoch: string) => ({ kind: 'keep' as const, epoch: epoch as Epoch });

describe('an agent that connects', () => {
  test('proves its key, says what it is, and runs instant tasks', async () => {
    await using both = await startBoth({ name: 'bench', backlog: 100 });
    const { coordinator, agent } = both;
    const link = await coordinator.link();
    expect(link.peer).toBe(agent.peer);
    const hello = await link.message('hello');
    expect(hello).toMatchObject({ name: 'bench', backlog: 100, attempts: [], devices: [{ id: 'cpu', kind: 'cpu' }] });
    link.welcome();
    const { message, task } = await coordinator.job({ yieldsParts: false });
    link.send(message, { type: 'assign', tasks: Array.from({ length: 90 }, (_, i) => task(`1.${i}`, i, i + 1)) });
    for (let i = 0; i < 90; i++) expect(await link.outcome(`1.${i}`)).toMatchObject({ kind: 'done', provider: 'cpu' });
  });

  test('tells how it is with each heartbeat, as often as it was asked to', async () => {
    await using both = await startBoth();
    const link = await both.coordinator.link();
    link.welcome(50);
    const { telemetry } = await link.message('heartbeat', 3);
    expect(telemetry?.freeMemoryBytes).toBeGreaterThan(0);
    expect(telemetry?.cpuUtilisation).toBeGreaterThanOrEqual(0);
  });

  test('runs a job with a duration in a sandboxed runner, and stops it when told', async () => {
    await using both = await startBoth();
    const link = await both.coordinator.link();
    link.welcome(100);
    const { message, task } = await both.coordinator.job({ params: { msPerItem: 20 }, yieldsParts: false });
    link.send(message, { type: 'assign', tasks: [task('1.1', 0, 5), task('1.2', 5, 1_000)] });
    expect(await link.outcome('1.1')).toMatchObject({ kind: 'done', provider: 'cpu' });
    const moved = () => link.received.some((sent) => sent.type === 'heartbeat' && sent.cursors[0]?.epoch === '1.2');
    await until('progress of 1.2', moved);
    link.send({ type: 'cancel', epochs: ['1.2' as Epoch] });
    expect(await link.outcome('1.2')).toEqual({ kind: 'stopped' });
  });

  test('says what went wrong: the item, the range, or this machine', async () => {
    await using both = await startBoth({ environment: { ...process.env, SWARM_TEST_WORKLOADS: '1' } });
    const { coordinator } = both;
    const link = await coordinator.link();
    link.welcome();
    const chaos = { workload: 'chaos', yieldsParts: false };
    const cases = {
      'fail-item': { scope: 'item', item: 3 },
      crash: { scope: 'task' },
      garbage: { scope: 'task' },
      'out-of-memory': { scope: 'task' },
      'open-fails': { scope: 'peer' },
    };
    for (const [mode, expected] of Object.entries(cases)) {
      const { message, task } = await coordinator.job({ ...chaos, params: { mode, at: 3 } });
      link.send(message, { type: 'assign', tasks: [task(`1.${mode.length}`, 0, 5)] });
      expect(await link.outcome(`1.${mode.length}`)).toMatchObject({ kind: 'failed', ...expected });
      link.received.length = 0;
    }
  });
});

describe('a part that cannot be stored, because nobody answers', () => {
  test('waits while the device goes on, and is given up when it is canceled', async () => {
    await using both = await startBoth({ environment: { ...process.env, SWARM_TEST_WORKLOADS: '1' } });
    const link = await both.coordinator.link();
    link.welcome();
    const storing = await both.coordinator.job({ workload: 'chaos' });
    const next = await both.coordinator.job({ params: { msPerItem: 1 }, yieldsParts: false });
    link.send(storing.message, next.message, {
      type: 'assign',
      tasks: [storing.task('1.1', 0, 3), storing.task('1.2', 3, 6), next.task('1.3', 0, 3)],
    });
    expect(await link.outcome('1.3')).toMatchObject({ kind: 'done' });
    expect(link.received.filter(({ type }) => type === 'report')).toHaveLength(1);
    link.send({ type: 'cancel', epochs: ['1.1' as Epoch] });
    expect(await link.outcome('1.1')).toEqual({ kind: 'stopped' });
    await both.agent.stop();
    expect(await link.outcome('1.2')).toEqual({ kind: 'stopped' });
    expect(await readdir(join(both.agent.dir, 'scratch', 'runners', 'parts'))).toEqual([]);
  });
});

describe('jobs that this machine must not run', () => {
  test('are refused with the reason, whatever the coordinator says', async () => {
    await using both = await startBoth();
    const { coordinator } = both;
    const link = await coordinator.link();
    link.welcome();
    const stranger = (await generateKey()).signer;
    const other = (await generateKey()).signer.keyId;
    const cases = [
      { job: await coordinator.job({}, stranger), reason: /does not run work of/ },
      { job: await coordinator.job({}, coordinator.admin, other), reason: /signed for swarm/ },
      { job: await coordinator.job({ workload: 'chaos' }), reason: /does not offer/ },
    ];
    for (const [i, { job, reason }] of cases.entries()) {
      link.send(job.message, { type: 'assign', tasks: [job.task(`1.${i}`, 0, 1)] });
      expect(await link.outcome(`1.${i}`)).toEqual({
        kind: 'failed',
        scope: 'peer',
        reason: expect.stringMatching(reason),
      });
    }
    const { message } = await coordinator.job({});
    const disguised = await coordinator.job({ yieldsParts: false });
    link.send({ ...message, job: disguised.message.job }, { type: 'assign', tasks: [disguised.task('1.9', 0, 1)] });
    expect(await link.outcome('1.9')).toMatchObject({ scope: 'peer', reason: expect.stringMatching(/passed job/) });
  });
});

describe('a link that breaks', () => {
  test('comes back with what the agent holds, and reports under the epoch it is told', async () => {
    await using both = await startBoth();
    const { coordinator } = both;
    const link = await coordinator.link();
    link.welcome(100);
    const { message, task } = await coordinator.job({ params: { msPerItem: 10 }, yieldsParts: false });
    link.send(message, { type: 'assign', tasks: [task('1.1', 0, 30), task('1.2', 30, 60), task('1.3', 60, 90)] });
    await link.message('heartbeat');
    link.socket.terminate();
    const again = await coordinator.link(1);
    const { attempts } = await again.message('hello');
    expect(attempts.map(({ epoch }) => epoch)).toEqual(['1.1', '1.2', '1.3']);
    again.welcome(5_000, [
      KEEP('1.1'),
      { kind: 'adopt', epoch: '1.2' as Epoch, newEpoch: '2.2' as Epoch },
      { kind: 'drop', epoch: '1.3' as Epoch },
    ]);
    expect(await again.outcome('1.1')).toMatchObject({ kind: 'done' });
    expect(await again.outcome('2.2')).toMatchObject({ kind: 'done' });
    again.send({ type: 'ack', epochs: ['1.1' as Epoch, '2.2' as Epoch] });
    again.socket.terminate();
    expect((await (await coordinator.link(2)).message('hello')).attempts).toEqual([]);
  });

  test('what was sent and not acknowledged is reported again', async () => {
    await using both = await startBoth();
    const { coordinator } = both;
    const link = await coordinator.link();
    link.welcome();
    const { message, task } = await coordinator.job({ yieldsParts: false });
    link.send(message, { type: 'assign', tasks: [task('1.1', 0, 1)] });
    await link.outcome('1.1');
    link.socket.terminate();
    const again = await coordinator.link(1);
    again.welcome(5_000, [KEEP('1.1')]);
    expect(await again.outcome('1.1')).toMatchObject({ kind: 'done' });
  });

  const garbage: Record<string, string | Uint8Array> = {
    'no JSON': 'hello?',
    'an unknown message': '[{"type":"format-disk"}]',
    'a task of no stage': '[{"type":"assign","tasks":[{"epoch":"1.1","stage":"../../etc","start":0,"end":1}]}]',
    'no array': '{"type":"ack","epochs":[]}',
    binary: new Uint8Array([1, 2, 3]),
    'more than a frame may have': `["${'x'.repeat(5 * 1_024 * 1_024)}"]`,
  };
  for (const [what, frame] of Object.entries(garbage))
    test(`by ${what}: the agent hangs up and comes back`, async () => {
      await using both = await startBoth();
      const link = await both.coordinator.link();
      link.welcome();
      link.socket.send(frame);
      await link.ended();
      (await both.coordinator.link(1)).welcome();
    });

  test('by silence: the agent asks, gets no answer, and connects anew', async () => {
    await using both = await startBoth();
    const link = await both.coordinator.link();
    link.isDeaf = true;
    link.welcome(60);
    const again = await both.coordinator.link(1);
    expect(link.pings).toBe(1);
    await link.ended();
    again.welcome(60);
    await again.message('heartbeat', 12);
    expect(again.closed).toBe(false);
    expect(again.pings).toBeGreaterThan(0);
  });
});

describe('a coordinator that says no', () => {
  for (const atHello of [true, false])
    test(`for good ${atHello ? 'to the hello' : 'to the proof'}: the agent ends and tells why`, async () => {
      const coordinator = await FakeCoordinator.start();
      await using _ = coordinator;
      coordinator.refusal = { code: atHello ? 'old-protocol' : 'forbidden', message: 'not you', atHello };
      const joined = await joinSwarm(coordinator.swarm, coordinator.admin, coordinator.url);
      await using agent = await TestAgent.start(joined);
      expect(await agent.ended()).toMatch(/not you/);
      expect(coordinator.links).toHaveLength(1);
    });

  test('for now: the agent tries again', async () => {
    const coordinator = await FakeCoordinator.start();
    await using _ = coordinator;
    coordinator.refusal = { code: 'unavailable', message: 'later' };
    const joined = await joinSwarm(coordinator.swarm, coordinator.admin, coordinator.url);
    await using agent = await TestAgent.start(joined);
    await until('a second try', () => coordinator.links.length > 1);
    coordinator.refusal = undefined;
    await until('a hello', () => coordinator.links.some((link) => link.received.length > 0));
    expect(agent.log.some(({ fields }) => JSON.stringify(fields).includes('later'))).toBe(true);
  });

  test('goodbye without return ends the agent; goodbye with return does not', async () => {
    await using both = await startBoth();
    const link = await both.coordinator.link();
    link.welcome();
    link.send({ type: 'goodbye', reason: 'restarting', retry: true });
    const again = await both.coordinator.link(1);
    again.welcome();
    again.send({ type: 'goodbye', reason: 'another agent has this key', retry: false });
    expect(await both.agent.ended()).toMatch(/another agent/);
    await again.ended();
  });

  test('that is another swarm gets no proof, and the next address is tried', async () => {
    const coordinator = await FakeCoordinator.start();
    const impostor = await FakeCoordinator.start();
    await using _ = coordinator;
    await using other = impostor;
    const joined = await joinSwarm(coordinator.swarm, coordinator.admin, coordinator.url, (trust) => ({
      ...trust,
      addresses: ['http://127.0.0.1:9', impostor.url, coordinator.url],
    }));
    await using agent = await TestAgent.start(joined);
    (await coordinator.link()).welcome();
    expect(other.links[0]?.peer).toBeUndefined();
    expect(agent.log.some(({ fields }) => JSON.stringify(fields).includes('this is swarm'))).toBe(true);
  });
});

describe('the beginning and the end', () => {
  test('a machine that has not joined is told how to', async () => {
    const coordinator = await FakeCoordinator.start();
    await using _ = coordinator;
    const { dir } = await joinSwarm(coordinator.swarm, coordinator.admin, coordinator.url);
    const config = { dir: `${dir}/elsewhere`, appDir: APP_DIR, name: 'x', sandbox: 'permission' as const };
    await expect(startAgent(config, { logger: SILENT })).rejects.toThrow(/has not joined a swarm.*swarm join/);
    await expect(startAgent({ ...config, dir, url: 'http://10.0.0.1:1' }, { logger: SILENT })).rejects.toThrow(
      /loopback/,
    );
  });

  test('stopping hands back what runs and what waits, before the link is closed', async () => {
    await using both = await startBoth();
    const link = await both.coordinator.link();
    link.welcome(50);
    const { message, task } = await both.coordinator.job({ params: { msPerItem: 20 }, yieldsParts: false });
    link.send(message, { type: 'assign', tasks: [task('1.1', 0, 1_000), task('1.2', 0, 10)] });
    await until('progress', () => link.received.some((sent) => sent.type === 'heartbeat' && sent.cursors.length > 0));
    await both.agent.stop();
    expect(await link.outcome('1.1')).toEqual({ kind: 'stopped' });
    expect(await link.outcome('1.2')).toEqual({ kind: 'stopped' });
    await link.ended();
    expect(await both.agent.ended()).toBe('it was stopped');
  });

  test('stopping works while nobody answers', async () => {
    const coordinator = await FakeCoordinator.start();
    const joined = await joinSwarm(coordinator.swarm, coordinator.admin, coordinator.url);
    await coordinator[Symbol.asyncDispose]();
    await using agent = await TestAgent.start(joined);
    await until('a failed try', () => agent.log.some(({ message }) => message.includes('cannot be reached')));
    await agent.stop();
  });
});
