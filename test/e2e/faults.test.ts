// Faults that a user meets, with real processes: full disks, wrong clocks, runners that break, cancel and Ctrl-C at awkward
// moments. A clear word each time, and nothing lost.

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { FailureView, JobDetail } from '../../src/protocol/views.ts';
import { until } from '../helpers/condition.ts';
import { Mesh, type MeshOptions } from '../helpers/mesh.ts';
import { killAll, swarm, SwarmProcess } from '../helpers/swarm-process.ts';

let dir: string;
let texts: string;
let meshes = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'swarm-faults-'));
  texts = join(dir, 'texts');
  await mkdir(texts);
  const lines = Array.from(
    { length: 600 },
    (_, i) => `This is sentence number ${i} about the garden behind the house.`,
  );
  await writeFile(join(texts, 'garden.txt'), lines.join('\n'));
});
afterEach(killAll);
afterAll(() => rm(dir, { recursive: true, force: true }));

function startMesh(options: Partial<MeshOptions> = {}): Promise<Mesh> {
  return Mesh.start(join(dir, `mesh-${++meshes}`), { agents: ['attic'], slowdown: '1', ...options });
}

/** A job file of the `chaos` workload, whose items do what their parameters say. */
async function writeChaosJob(name: string, params: object, stage: object = {}): Promise<string> {
  const path = join(dir, `${name}.json`);
  const items = { kind: 'count', count: 8 };
  const stages = [{ name: 'map', workload: 'chaos', params, items, yieldsParts: false, maxAttempts: 2, ...stage }];
  await writeFile(path, JSON.stringify({ name, stages }));
  return path;
}

describe('full disks', () => {
  test('at an agent: its tasks fail with the reason and are done elsewhere', async () => {
    // Room for the agent's own files and the built-in model's vocabulary, not for its parts.
    await using mesh = await startMesh({ agents: ['attic', 'den'], agent: { den: { maxFileKib: 64 } } });
    const out = join(dir, 'agent-full.parquet');
    const run = mesh.embed(texts, out);
    expect([await run.ended(), run.stderr]).toEqual([0, expect.any(String)]);
    const job = await mesh.job();
    expect(job).toMatchObject({ status: 'completed', items: { failed: 0 } });
    expect(job?.workers.find(({ name }) => name === 'den')?.doneItems ?? 0).toBe(0);
  });

  test('at the coordinator: it stops with a clear message; with room again the job goes on and ends', async () => {
    await using mesh = await startMesh({ coordinator: { maxFileKib: 256 } });
    const run = mesh.start('run', 'noop', '--items', '4000', '--ms-per-item', '2', '--task-items', '1');
    expect(await mesh.coordinator.ended()).toBe(1);
    expect(mesh.coordinator.stderr).toMatch(/the disk (is full|failed)/);
    await mesh.restartCoordinator();
    expect([await run.ended(), run.stderr]).toEqual([0, expect.any(String)]);
    expect(await mesh.job()).toMatchObject({ status: 'completed', items: { done: 4_000, failed: 0 } });
  });

  test('at the coordinator, for artifacts: the job fails with the reason, and the coordinator lives on', async () => {
    await using mesh = await startMesh({ coordinator: { environment: { SWARM_QUOTA: '600KiB' } } });
    const out = join(dir, 'quota.parquet');
    const run = mesh.embed(texts, out);
    expect(await run.ended()).toBe(1);
    expect(run.stdout + run.stderr).toMatch(/quota/);
    expect(existsSync(out)).toBe(false);
    expect((await mesh.admin('jobs')).code).toBe(0);
  });
});

describe('wrong clocks', () => {
  test('an agent whose clock is an hour off joins and works', async () => {
    const shift = join(dir, 'shift.mjs');
    await writeFile(shift, 'const now = Date.now; Date.now = () => now() + 3_600_000;');
    const environment = { NODE_OPTIONS: `--import ${shift}` };
    await using mesh = await startMesh({ agent: { attic: { environment } } });
    const run = await mesh.admin('run', 'noop', '--items', '100');
    expect([run.code, run.stderr]).toEqual([0, expect.any(String)]);
    expect(await mesh.job()).toMatchObject({ status: 'completed', items: { done: 100, failed: 0 } });
  });
});

describe('runners that break', () => {
  const environment = { SWARM_TEST_WORKLOADS: '1' };
  const options: Partial<MeshOptions> = { agent: { attic: { environment } } };

  test.each([
    ['crash', /ended/],
    ['exit', /ended/],
    ['garbage', /contract/],
    ['hang', /progress/],
    ['early-return', /returned after/],
    ['throw', /./],
  ])('%s at one item: the item is isolated and reported, the rest is done', async (mode, reason) => {
    await using mesh = await startMesh(options);
    const file = await writeChaosJob(mode, { mode, at: 5 }, { idleTimeoutMs: 1_000 });
    const submitted = await mesh.admin('submit', file, '--wait');
    expect([submitted.code, submitted.stderr]).toEqual([3, expect.any(String)]);
    const job = await mesh.job();
    expect(job).toMatchObject({ status: 'completed', items: { total: 8, done: 7, failed: 1 } });
    const shown = await mesh.admin('show', job?.id ?? '', '--json', '--failures');
    const { failures } = JSON.parse(shown.stdout) as JobDetail & { failures: FailureView[] };
    expect(failures).toMatchObject([{ item: 5, reason: expect.stringMatching(reason) }]);
  });
});

describe('cancel and Ctrl-C', () => {
  test('Ctrl-C on a running job cancels it and leaves no output', async () => {
    await using mesh = await startMesh({ slowdown: '20' });
    const out = join(dir, 'interrupted.parquet');
    const run = mesh.embed(texts, out);
    await mesh.done(1);
    run.signal('SIGINT');
    expect(await run.ended()).toBe(130);
    expect(await mesh.job()).toMatchObject({ status: 'canceled' });
    expect((await readdir(dir)).filter((name) => name.includes('interrupted'))).toEqual([]);
    await until('the agent to hold nothing', async () => {
      const { peers } = JSON.parse((await mesh.admin('peers', '--json')).stdout) as {
        peers: { session?: { heldTasks: number } }[];
      };
      return peers.every((peer) => peer.session?.heldTasks === 0);
    });
    // The agent is free for the next.
    expect((await mesh.admin('run', 'noop', '--items', '10')).code).toBe(0);
  });

  test('Ctrl-C on an agent hands its tasks back, leaves no process, and another agent finishes', async () => {
    await using mesh = await startMesh({ agents: ['attic', 'den'], slowdown: '6' });
    const run = mesh.embed(texts, join(dir, 'handed-back.parquet'));
    await mesh.done(1);
    const agent = mesh.agents.get('den');
    agent?.signal('SIGINT');
    expect(await agent?.ended()).toBe(130);
    expect(await run.ended()).toBe(0);
  });

  test('Ctrl-C on the demo ends everything it started', async () => {
    const home = join(dir, 'demo-home');
    const demo = new SwarmProcess(home, ['demo', '--out', join(dir, 'demo.parquet')]);
    const children = () => listChildren(demo.pid);
    await until('the agents to run', async () => (await children()).length >= 3);
    const pids = await children();
    demo.signal('SIGINT');
    expect(await demo.ended()).toBe(130);
    await until('their end', () => pids.every((pid) => !existsSync(`/proc/${pid}`)));
    expect(existsSync(join(dir, 'demo.parquet'))).toBe(false);
  });
});

describe('one coordinator a folder, one program a port', () => {
  test('a second `up` says so and changes nothing', async () => {
    await using mesh = await startMesh();
    const second = await mesh.admin('up', '--port', '0');
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/is in use by|is open|locked|running/i);
    const home = join(dir, 'other-home');
    const port = new URL(mesh.url).port;
    const other = await swarm(home, 'up', '--port', port);
    expect([other.code, other.stderr]).toEqual([1, expect.stringMatching(/port \d+ .*in use/)]);
    expect((await mesh.admin('peers')).code).toBe(0);
  });
});

async function listChildren(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text.trim().split(' ').filter(Boolean).map(Number);
}
