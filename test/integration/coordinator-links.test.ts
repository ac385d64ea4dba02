// Tests of the coordinator's side of an agent's link over real WebSockets: who is let in, what broken frames get, when a
// result counts, and what a restart does to work under way.

import { describe, expect, test } from 'vitest';
import type { JobId } from '../../src/lib/ids.ts';
import { hashBytes } from '../../src/objects/objects-hash.ts';
import { uploadArtifact } from '../../src/objects/transfer.ts';
import type { JobSpecInput } from '../../src/protocol/job-spec.ts';
import { generateKey, webCryptoSignatures, type Signer } from '../../src/protocol/keys.ts';
import { signReceipt } from '../../src/protocol/receipt.ts';
import { openSubmission } from '../../src/protocol/submission.ts';
import type { AssignedTask } from '../../src/protocol/to-agent.ts';
import { until } from '../helpers/condition.ts';
import { HELLO, RawAgent } from '../helpers/raw-agent.ts';
import { TestCoordinator } from '../helpers/test-coordinator.ts';

type Spec = Omit<JobSpecInput, 'v' | 'swarm'>;

function specOf(stage: Partial<JobSpecInput['stages'][number]>): Spec {
  const whole = { name: 'map', workload: 'noop', items: { kind: 'count', count: 4 }, taskItems: 4, ...stage } as const;
  return { clientKey: crypto.randomUUID(), name: 'test', stages: [whole] };
}

async function joinPeer(coordinator: TestCoordinator): Promise<{ agent: RawAgent; signer: Signer }> {
  const { signer, membership } = await coordinator.invite('peer');
  const agent = await RawAgent.connect(coordinator.url, coordinator.swarm, signer, membership);
  agent.send(HELLO);
  await agent.message('welcome');
  return { agent, signer };
}

async function firstTask(agent: RawAgent): Promise<AssignedTask> {
  const [task] = (await agent.message('assign')).tasks;
  if (!task) throw new Error('an assignment without tasks');
  return task;
}

function statusOf(coordinator: TestCoordinator, job: JobId): Promise<string> {
  return coordinator
    .client()
    .call('job', { job })
    .then(({ status }) => status);
}

describe('who is let in', () => {
  test('a peer is; a viewer, a stranger and an old protocol are told why not', async () => {
    await using coordinator = await TestCoordinator.start();
    const { url, swarm } = coordinator;
    const { agent } = await joinPeer(coordinator);
    await using _ = agent;
    expect(agent.verdict).toEqual({ v: 1 });
    const viewer = await coordinator.invite('viewer');
    await using refused = await RawAgent.connect(url, swarm, viewer.signer, viewer.membership);
    expect(refused.verdict?.refusal).toMatchObject({ code: 'forbidden' });
    await using stranger = await RawAgent.connect(url, swarm, (await generateKey()).signer);
    expect(stranger.verdict?.refusal?.message).toMatch(/not a member/);
    const old = (hello: object) => ({ ...hello, protocol: 0, unheardOf: true });
    await using ancient = await RawAgent.connect(url, swarm, viewer.signer, viewer.membership, old);
    expect(ancient.verdict?.refusal).toMatchObject({ code: 'old-protocol' });
    expect(ancient.verdict?.refusal?.message).toMatch(/update/);
  });

  test('a web page that tries is refused before the handshake', async () => {
    await using coordinator = await TestCoordinator.start();
    await using page = new RawAgent(coordinator.url, { origin: coordinator.url });
    expect(await page.ended()).toBe(1_006);
  });

  test('strangers who say nothing keep no agent out', async () => {
    await using coordinator = await TestCoordinator.start();
    const strangers = Array.from({ length: 70 }, () => new RawAgent(coordinator.url));
    await until('the oldest strangers to be cut off', () => strangers[5]?.closed !== undefined);
    expect(strangers.filter(({ closed }) => closed === undefined)).toHaveLength(64);
    const { agent } = await joinPeer(coordinator);
    await using _ = agent;
    expect(agent.verdict).toEqual({ v: 1 });
    await coordinator.stop();
    await Promise.all(strangers.map((stranger) => stranger.ended()));
  });

  test('a stranger cannot send more than a handshake takes', async () => {
    await using coordinator = await TestCoordinator.start();
    await using stranger = new RawAgent(coordinator.url);
    await until('the socket to open', () => stranger.socket.readyState === stranger.socket.OPEN);
    // A frame that never ends: all of it would be held until it did.
    for (let i = 0; i < 8; i++) stranger.socket.send('x'.repeat(32 * 1_024), { fin: false });
    await until('the stranger to be cut off, before its time is over', () => stranger.closed !== undefined, 5_000);
  });

  test('a second agent with the same key replaces the first, which is told not to come back', async () => {
    await using coordinator = await TestCoordinator.start();
    const { agent, signer } = await joinPeer(coordinator);
    await using second = await RawAgent.connect(coordinator.url, coordinator.swarm, signer);
    second.send(HELLO);
    expect(await agent.message('goodbye')).toMatchObject({ retry: false });
    await agent.ended();
    await second.message('welcome');
  });
});

describe('broken frames', () => {
  const cases: Record<string, (agent: RawAgent) => void> = {
    'no JSON': (agent) => agent.socket.send('hello?'),
    'an unknown message': (agent) => agent.socket.send('[{"type":"format-disk"}]'),
    'too many messages': (agent) =>
      agent.socket.send(`[${Array(2_000).fill('{"type":"heartbeat","cursors":[]}').join(',')}]`),
    'a second hello': (agent) => agent.send(HELLO),
    binary: (agent) => agent.socket.send(new Uint8Array([1, 2, 3])),
    'more than a frame may have': (agent) => agent.socket.send('x'.repeat(5 * 1_024 * 1_024)),
  };
  for (const [what, send] of Object.entries(cases))
    test(`${what}: the link is closed, the coordinator lives on`, async () => {
      await using coordinator = await TestCoordinator.start();
      const { agent } = await joinPeer(coordinator);
      send(agent);
      await agent.ended();
      expect(await coordinator.client().call('swarm', {})).toMatchObject({ peers: { known: 1 } });
    });

  test('anything before hello closes the link', async () => {
    await using coordinator = await TestCoordinator.start();
    const { signer, membership } = await coordinator.invite('peer');
    await using agent = await RawAgent.connect(coordinator.url, coordinator.swarm, signer, membership);
    agent.send({ type: 'heartbeat', cursors: [] });
    expect(await agent.message('goodbye')).toMatchObject({ reason: expect.stringContaining('out of order') });
    await agent.ended();
  });

  test('what comes after the message for which a link is closed is not listened to', async () => {
    await using coordinator = await TestCoordinator.start();
    const { signer, membership } = await coordinator.invite('peer');
    await using agent = await RawAgent.connect(coordinator.url, coordinator.swarm, signer, membership);
    agent.send({ type: 'heartbeat', cursors: [] }, HELLO, HELLO);
    await agent.ended();
    expect(agent.received).toHaveLength(1);
    const { peers } = await coordinator.client().call('peers', {});
    expect(peers).toMatchObject([{ connected: false }]);
    expect(peers[0]).not.toHaveProperty('session');
  });
});

describe('results', () => {
  test('without a part they count where the spec says so, and nowhere else', async () => {
    await using coordinator = await TestCoordinator.start();
    const { agent } = await joinPeer(coordinator);
    const { id: job } = await coordinator.client().submit(specOf({ yieldsParts: false }));
    const task = await firstTask(agent);
    expect(task).toMatchObject({ start: 0, end: 4 });
    agent.send({ type: 'report', reports: [{ epoch: task.epoch, outcome: { kind: 'done', durationMs: 1 } }] });
    expect((await agent.message('ack')).epochs).toEqual([task.epoch]);
    expect(await statusOf(coordinator, job)).toBe('completed');

    const { id: second } = await coordinator.client().submit(specOf({ maxAttempts: 1 }));
    const other = (await agent.message('assign', 1)).tasks[0]!;
    agent.send({ type: 'report', reports: [{ epoch: other.epoch, outcome: { kind: 'done', durationMs: 1 } }] });
    await agent.message('ack', 1);
    expect(await statusOf(coordinator, second)).toBe('running');
    expect((await coordinator.client().call('job', { job: second })).stages[0]?.retries).toBe(1);
  });

  test('a part counts when it is stored and signed for this very range', async () => {
    await using coordinator = await TestCoordinator.start({ limits: { retryBackoffMs: 1 } });
    const { agent, signer } = await joinPeer(coordinator);
    const { id: job } = await coordinator.client().submit(specOf({ maxAttempts: 10 }));
    const { envelope } = await agent.message('job');
    const opened = await openSubmission(envelope, webCryptoSignatures);
    if (!opened.ok) throw new Error(opened.error);
    const bytes = new TextEncoder().encode('the result');
    const part = hashBytes(bytes);
    const { specHash } = opened.value;
    const sign = (start: number, end: number) => signReceipt({ specHash, stage: 'map', start, end, part }, signer);
    let [tasks, acks] = [0, 0];
    const nextTask = () => {
      const skip = tasks++;
      const given = () => agent.received.flatMap((message) => (message.type === 'assign' ? message.tasks : []))[skip];
      return until(`task ${skip}`, given);
    };
    const report = async ({ epoch }: AssignedTask, signature: string) => {
      const outcome = { kind: 'done', durationMs: 1, part: { id: part, sizeBytes: bytes.length, signature } } as const;
      agent.send({ type: 'report', reports: [{ epoch, outcome }] });
      await agent.message('ack', acks++);
      return statusOf(coordinator, job);
    };
    // Not stored yet.
    expect(await report(await nextTask(), await sign(0, 4))).toBe('running');
    const { session } = coordinator.client(signer);
    const fetch = (url: string, init: object) => session.fetch(url, init);
    await uploadArtifact({ fetch, baseUrl: coordinator.url, id: part, source: bytes });
    // Signed for another range.
    expect(await report(await nextTask(), await sign(4, 8))).toBe('running');
    // After two failures the range is halved.
    for (const half of [await nextTask(), await nextTask()]) await report(half, await sign(half.start, half.end));
    expect(await statusOf(coordinator, job)).toBe('completed');
    const parts = await Array.fromAsync(coordinator.client().parts(job, 'map'));
    expect(parts).toMatchObject([
      { start: 0, end: 2, peer: signer.keyId, part: { id: part } },
      { start: 2, end: 4 },
    ]);
  });

  test('a result for an epoch that was never given out changes nothing, and is acknowledged', async () => {
    await using coordinator = await TestCoordinator.start();
    const { agent } = await joinPeer(coordinator);
    const epoch = '99.1' as AssignedTask['epoch'];
    agent.send({ type: 'report', reports: [{ epoch, outcome: { kind: 'done', durationMs: 1 } }] });
    expect((await agent.message('ack')).epochs).toEqual([epoch]);
    expect(await coordinator.client().call('swarm', {})).toMatchObject({ counters: { staleDropped: 1, accepted: 0 } });
  });

  test('a result without its part is not counted for an epoch that is given out a moment later', async () => {
    await using coordinator = await TestCoordinator.start();
    const { signer, membership } = await coordinator.invite('peer');
    const { id: job } = await coordinator.client().submit(specOf({}));
    await using agent = await RawAgent.connect(coordinator.url, coordinator.swarm, signer, membership);
    // Epochs can be guessed: the work that the hello says is held is adopted under the first one of this start.
    const held = { epoch: '0.1', stage: `${job}/map`, start: 0, end: 4 } as AssignedTask;
    const epoch = '1.1' as AssignedTask['epoch'];
    const done = { kind: 'done', durationMs: 1 } as const;
    agent.send({ ...HELLO, attempts: [held] }, { type: 'report', reports: [{ epoch, outcome: done }] });
    expect((await agent.message('welcome')).verdicts).toMatchObject([{ kind: 'adopt', newEpoch: epoch }]);
    await agent.message('ack');
    expect(await coordinator.client().call('job', { job })).toMatchObject({ status: 'running', items: { done: 0 } });
  });

  test('a job that failed for the longest of reasons can still be shown', async () => {
    await using coordinator = await TestCoordinator.start();
    const { agent } = await joinPeer(coordinator);
    await using _ = agent;
    const one = { kind: 'count', count: 1 } as const;
    const { id: job } = await coordinator.client().submit(specOf({ items: one, maxAttempts: 1 }));
    const { epoch } = await firstTask(agent);
    const outcome = { kind: 'failed', scope: 'task', reason: 'x'.repeat(2_000) } as const;
    agent.send({ type: 'report', reports: [{ epoch, outcome }] });
    const seen = await Array.fromAsync(coordinator.client().watchJob(job, { signal: AbortSignal.timeout(5_000) }));
    expect(seen.at(-1)).toMatchObject({ status: 'failed', reason: expect.stringMatching(/xxx$/) });
  });

  test('an item that always fails is isolated and reported; the job completes with failures', async () => {
    await using coordinator = await TestCoordinator.start({ limits: { retryBackoffMs: 1 } });
    const { agent } = await joinPeer(coordinator);
    const { id: job } = await coordinator.client().submit(specOf({ yieldsParts: false, maxAttempts: 2 }));
    const answered = new Set<string>();
    await until('the job to end', async () => {
      for (const message of agent.received)
        for (const { epoch, start, end } of message.type === 'assign' ? message.tasks : []) {
          if (answered.has(epoch)) continue;
          answered.add(epoch);
          const bad = start <= 2 && 2 < end;
          const failed = { kind: 'failed', scope: 'item', item: 2, reason: 'poison' } as const;
          agent.send({ type: 'report', reports: [{ epoch, outcome: bad ? failed : { kind: 'done', durationMs: 1 } }] });
        }
      return (await statusOf(coordinator, job)) === 'completed';
    });
    const failures = await Array.fromAsync(coordinator.client().failures(job));
    expect(failures).toEqual([{ stage: 'map', item: 2, tries: 2, reason: 'poison' }]);
    expect(await coordinator.client().call('job', { job })).toMatchObject({ items: { total: 4, done: 3, failed: 1 } });
  });
});

test('after a restart work under way is adopted under a new epoch, and its result counts once', async () => {
  await using coordinator = await TestCoordinator.start();
  const { agent, signer } = await joinPeer(coordinator);
  const { id: job } = await coordinator.client().submit(specOf({ yieldsParts: false }));
  const { epoch, stage, start, end } = await firstTask(agent);
  await coordinator.restart();
  await using again = await RawAgent.connect(coordinator.url, coordinator.swarm, signer);
  again.send({ ...HELLO, attempts: [{ epoch, stage, start, end }] });
  const [verdict] = (await again.message('welcome')).verdicts;
  if (verdict?.kind !== 'adopt') throw new Error(`not adopted: ${JSON.stringify(verdict)}`);
  const done = { kind: 'done', durationMs: 1 } as const;
  again.send({ type: 'report', reports: [{ epoch, outcome: done }] });
  await again.message('ack');
  expect(await statusOf(coordinator, job)).toBe('running');
  again.send({ type: 'report', reports: [{ epoch: verdict.newEpoch, outcome: done }] });
  await again.message('ack', 1);
  expect(await statusOf(coordinator, job)).toBe('completed');
});

test('cancel stops what runs', async () => {
  await using coordinator = await TestCoordinator.start();
  const { agent } = await joinPeer(coordinator);
  const { id: job } = await coordinator.client().submit(specOf({}));
  const { epoch } = await firstTask(agent);
  await coordinator.client().call('cancel', { job });
  expect((await agent.message('cancel')).epochs).toEqual([epoch]);
  expect(await coordinator.client().call('job', { job })).toMatchObject({
    status: 'canceled',
    reason: 'canceled by admin',
  });
});

test('explain says why nothing runs', async () => {
  await using coordinator = await TestCoordinator.start();
  const { id: job } = await coordinator.client().submit(specOf({}));
  const explain = async () => (await coordinator.client().call('explain', { job, stage: 'map' })).kind;
  expect(await explain()).toBe('no-peer-connected');
  const { agent } = await joinPeer(coordinator);
  await firstTask(agent);
  expect(await explain()).toBe('all-assigned');
});
