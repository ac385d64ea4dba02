// A real agent with a real coordinator: items in, parts stored and merged, restarts and kills in between.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { until } from '../helpers/condition.ts';
import { joinSwarm, TestAgent } from '../helpers/test-agent.ts';
import { TestCoordinator } from '../helpers/test-coordinator.ts';
import { CHAOS, TestSwarm } from '../helpers/test-swarm.ts';

const PROCESS = fileURLToPath(new URL('./agent-process.ts', import.meta.url));

describe('an agent in a swarm', () => {
  test('runs a list of items, and a merge over the parts, over pinned TLS', async () => {
    await using swarm = await TestSwarm.start({}, '0.0.0.0');
    const items = Array.from({ length: 50 }, (_, i) => ({ text: `item ${i}`, note: 'grün\u2028' }));
    const list = await swarm.putList(items);
    const map = { ...CHAOS, name: 'map', items: list, taskItems: 7 };
    const merge = { ...CHAOS, name: 'merge', needs: ['map'], items: { kind: 'parts' as const, of: 'map' } };
    const id = await swarm.submit(map, merge);
    expect((await swarm.ended(id)).status).toBe('completed');
    const texts = await swarm.texts(id, 'map');
    expect(texts).toHaveLength(8);
    expect(texts.flatMap((text) => text.split('\n').map((line) => JSON.parse(line) as unknown))).toEqual(items);
    const [merged = ''] = await swarm.texts(id, 'merge');
    const parts = merged.split('\n').map((line) => JSON.parse(line) as { start: number; end: number });
    expect(parts.map(({ start, end }) => [start, end])).toEqual(
      Array.from({ length: 8 }, (_, i) => [i * 7, Math.min(50, i * 7 + 7)]),
    );
    const left = await readdir(join(swarm.agent.dir, 'scratch'), { recursive: true });
    expect(left.filter((path) => /task-|part-/.test(path))).toEqual([]);
  });

  test('names the item that fails, and does the rest', async () => {
    await using swarm = await TestSwarm.start();
    const id = await swarm.submit({
      workload: 'chaos',
      params: { mode: 'fail-item', at: 4 },
      yieldsParts: false,
      maxAttempts: 2,
    });
    const job = await swarm.ended(id);
    expect(job.items).toEqual({ total: 10, done: 9, failed: 1 });
    const failures = await Array.fromAsync(swarm.coordinator.client().failures(id));
    expect(failures).toMatchObject([{ item: 4, reason: expect.stringMatching(/always fails/) }]);
  });

  test('goes on while the coordinator is away: parts wait and are stored when it is back', async () => {
    await using swarm = await TestSwarm.start();
    const id = await swarm.submit({ ...CHAOS, name: 'map', taskItems: 2 });
    const slow = await swarm.submit({
      params: { msPerItem: 100 },
      taskItems: 40,
      items: { kind: 'count', count: 40 },
      yieldsParts: false,
    });
    await until('the slow job to run', async () => ((await swarm.job(slow)).stages[0]?.runningTasks ?? 0) > 0);
    await swarm.coordinator.restart();
    expect((await swarm.ended(id)).status).toBe('completed');
    const job = await swarm.ended(slow);
    expect(job.status).toBe('completed');
    expect(job.stages[0]?.retries).toBe(0);
    expect((await swarm.texts(id, 'map')).join('\n').split('\n')).toEqual(Array.from({ length: 10 }, (_, i) => `${i}`));
  });

  test('stops what is canceled, and is free for the next', async () => {
    await using swarm = await TestSwarm.start();
    const id = await swarm.submit({
      params: { msPerItem: 50 },
      items: { kind: 'count', count: 5_000 },
      yieldsParts: false,
    });
    await until('it to run', async () => ((await swarm.job(id)).stages[0]?.runningTasks ?? 0) > 0);
    await swarm.coordinator.client().call('cancel', { job: id });
    const next = await swarm.submit({ yieldsParts: false });
    expect((await swarm.ended(next)).status).toBe('completed');
  });

  test('gives the tail of a long task to one that comes later, and both parts fit', async () => {
    await using swarm = await TestSwarm.start();
    const { swarm: id, admin, url } = swarm.coordinator;
    const slow = { workload: 'chaos', params: { mode: 'slow' }, name: 'map' };
    await swarm.ended(await swarm.submit(slow));
    const job = await swarm.submit({ ...slow, items: { kind: 'count', count: 60 }, taskItems: 60 });
    await until('it to run', async () => ((await swarm.job(job)).stages[0]?.items.done ?? 0) > 5);
    const joined = await joinSwarm(id, admin, url);
    await using second = await TestAgent.start(joined, { environment: { ...process.env, SWARM_TEST_WORKLOADS: '1' } });
    const ended = await swarm.ended(job);
    expect(ended).toMatchObject({ status: 'completed', stages: [{ retries: 0 }] });
    expect(ended.workers.map(({ doneItems }) => doneItems > 0)).toEqual([true, true]);
    expect(ended.workers.map(({ peer }) => peer)).toContain(second.peer);
    const texts = await swarm.texts(job, 'map');
    expect(texts.length).toBeGreaterThan(1);
    expect(texts.join('\n').split('\n')).toEqual(Array.from({ length: 60 }, (_, i) => `${i}`));
    const { counters } = await swarm.coordinator.client().call('swarm', {});
    expect(counters['stolen']).toBeGreaterThan(10);
  });

  test('tells its labels and its free disk: work that asks for more than it has says so', async () => {
    await using swarm = await TestSwarm.start({ labels: ['attic', 'big-disk'] });
    const fits = await swarm.submit({ labels: ['big-disk'], yieldsParts: false });
    expect((await swarm.ended(fits)).status).toBe('completed');
    const client = swarm.coordinator.client();
    const waits = await swarm.submit({ labels: ['gpu'] }, { diskBytes: 9e11 });
    const explained = (stage: string) => client.call('explain', { job: waits, stage });
    expect((await explained('stage-0')).lines.join('\n')).toContain('swarm agent --label');
    await until('the free disk to be known', async () =>
      (await explained('stage-1')).lines.some((line) => /of disk free; 838\.2 GiB are needed/.test(line)),
    );
    expect((await client.call('peers', {})).peers[0]?.session?.labels).toEqual(['attic', 'big-disk']);
  });

  test('what a runner says comes through to the submitter', async () => {
    await using swarm = await TestSwarm.start();
    const id = await swarm.submit({ workload: 'chaos', params: { mode: 'flood', at: 2 }, yieldsParts: false });
    await swarm.ended(id);
    const lines = await until('log lines', async () => {
      const logs = await Array.fromAsync(swarm.coordinator.client().logs(id));
      return logs.length > 0 && logs;
    });
    expect(JSON.stringify(lines)).toMatch(/chaos: line 0/);
    expect(lines.length).toBeLessThan(1_000);
  });

  test('a list whose chunk is gone fails with the reason, and harms nothing else', async () => {
    await using swarm = await TestSwarm.start();
    const root = await swarm.put(
      new TextEncoder().encode(
        JSON.stringify({
          chunks: [{ count: 3, hash: `sha256:${'0'.repeat(64)}`, sizeBytes: 9, start: 0 }],
          count: 3,
          v: 1,
        }),
      ),
    );
    const id = await swarm.submit({ ...CHAOS, items: { kind: 'list', root, count: 3 }, maxAttempts: 1 });
    const job = await swarm.ended(id);
    const failures = await Array.fromAsync(swarm.coordinator.client().failures(id));
    expect(JSON.stringify([job, failures])).toMatch(/not stored/);
    expect((await swarm.ended(await swarm.submit({ yieldsParts: false }))).status).toBe('completed');
  });
});

describe.runIf(existsSync('/proc/self/task'))('an agent that is killed', () => {
  test('leaves no runner behind', async () => {
    const coordinator = await TestCoordinator.start();
    await using _ = coordinator;
    const joined = await joinSwarm(coordinator.swarm, coordinator.admin, coordinator.url);
    const agent = spawn(process.execPath, [PROCESS, joined.dir], { stdio: 'ignore' });
    const gone = new Promise((resolve) => agent.on('exit', resolve));
    const stage = { name: 'map', workload: 'noop', params: { msPerItem: 1_000 }, yieldsParts: false };
    await coordinator.client().submit({
      ...{ clientKey: 'key', name: 'long' },
      stages: [{ ...stage, items: { kind: 'count', count: 1_000 } }],
    });
    const runners = await until('a runner', async () => {
      const pids = await listDescendants(agent.pid ?? 0);
      return pids.length > 0 && (await isRunner(pids)) && pids;
    });
    agent.kill('SIGKILL');
    await gone;
    await until('the runners to end', () => runners.every((pid) => !existsSync(`/proc/${pid}`)));
  });
});

async function isRunner(pids: readonly number[]): Promise<boolean> {
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.some((line) => line.includes('runner-child'));
}

async function listDescendants(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const children = text.split(' ').filter(Boolean).map(Number);
  return [...children, ...(await Promise.all(children.map(listDescendants))).flat()];
}
