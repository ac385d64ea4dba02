// The everyday path with real processes: a job over two peers, looking at it, steering it, fetching its results, asking
// them, and the same over TLS; and the example program of the SDK.

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { hashFile } from '../../src/objects/objects-hash.ts';
import type { JobDetail } from '../../src/protocol/views.ts';
import { until } from '../helpers/condition.ts';
import { Mesh } from '../helpers/mesh.ts';
import { killAll, swarm, SwarmProcess } from '../helpers/swarm-process.ts';

const EXAMPLE = fileURLToPath(new URL('../../examples/client/submit.ts', import.meta.url));

let dir: string;
let texts: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'swarm-journey-'));
  texts = join(dir, 'my notes');
  await mkdir(texts);
  await writeFile(join(texts, 'garden.txt'), 'The roof leaks. Tomatoes need sun. We painted the fence green.');
  await writeFile(
    join(texts, 'trips.jsonl'),
    '{"text":"The train to Rome was late."}\n{"text":"We swam in the lake."}\n',
  );
});
afterEach(killAll);
afterAll(() => rm(dir, { recursive: true, force: true }));

test('from notes to answers over two peers', async () => {
  await using mesh = await Mesh.start(join(dir, 'mesh'), { agents: ['attic', 'den'], slowdown: '1' });
  const out = join(dir, 'notes.parquet');
  const run = mesh.embed(texts, out, '--json');
  expect([await run.ended(), run.stderr]).toEqual([0, expect.any(String)]);
  const printed = JSON.parse(run.stdout) as { job: string; items: { done: number } };
  expect(printed.items.done).toBe(5);

  const asked = await mesh.admin('query', out, 'there is a hole in the roof', '-k', '1', '--json');
  expect(JSON.parse(asked.stdout)).toMatchObject([{ hits: [{ text: 'The roof leaks.', source: 'garden.txt' }] }]);

  const shown = await mesh.admin('show', printed.job.slice(0, 8));
  expect(shown.stdout).toMatch(/embed\s+embeddings\s+finished\s+5\/5/);
  const logs = await mesh.admin('logs', printed.job);
  expect(logs.stdout).toMatch(/(attic|den)\s+merge\s+merged 5 rows from \d+ parts/);

  const id = (await hashFile(out)).id;
  const copy = join(dir, 'copy.parquet');
  expect((await mesh.admin('artifacts', 'get', id, '--out', copy)).code).toBe(0);
  expect(await readFile(copy)).toEqual(await readFile(out));
  const again = join(dir, 'again.parquet');
  expect((await mesh.admin('artifacts', 'get', printed.job.slice(0, 8), '--out', again)).code).toBe(0);
  expect(await readFile(again)).toEqual(await readFile(out));
  expect((await mesh.admin('artifacts', 'list', printed.job)).stdout).toContain(id);
  const missing = await mesh.admin('artifacts', 'get', `sha256:${'0'.repeat(64)}`, '--out', join(dir, 'none'));
  expect([missing.code, missing.stderr]).toEqual([1, expect.stringMatching(/is not stored/)]);
  await expect(stat(join(dir, 'none'))).rejects.toThrow(/ENOENT/);
});

test('pause, resume, drain', async () => {
  await using mesh = await Mesh.start(join(dir, 'steered'), { agents: ['attic', 'den'], slowdown: '1' });
  const run = mesh.start('run', 'noop', '--items', '1500', '--ms-per-item', '10', '--task-items', '10');
  const job = await mesh.done(20);
  expect((await mesh.admin('pause', job.id)).stdout).toMatch(/is paused/);
  const idle = async () => ((await mesh.job())?.stages[0]?.runningTasks === 0 ? mesh.job() : undefined);
  const paused = await until('what runs to be finished', idle);
  expect(paused).toMatchObject({ status: 'paused', reason: 'paused by admin' });
  expect(paused?.items.done).toBeLessThan(1_500);
  expect((await mesh.admin('drain', 'den')).code).toBe(0);
  const doneByDen = (detail: JobDetail | undefined) =>
    detail?.workers.find(({ name }) => name === 'den')?.doneItems ?? 0;
  const before = doneByDen(await mesh.job());
  expect((await mesh.admin('resume', job.id)).code).toBe(0);
  expect(await run.ended()).toBe(0);
  expect(doneByDen(await mesh.job())).toBe(before);
  expect((await mesh.admin('peers')).stdout).toMatch(/den\s+drained/);
});

describe('beyond this machine', () => {
  test('join and work over TLS with the pin of the invite', async () => {
    const [boss, friend] = [join(dir, 'tls-boss'), join(dir, 'tls-friend')];
    const up = new SwarmProcess(boss, ['up', '--host', '0.0.0.0', '--allow-public', '--port', '0']);
    await up.printed(/listening on https:\/\/127\.0\.0\.1:\d+.*TLS 1\.3/);
    const { invite } = JSON.parse((await swarm(boss, 'invite', '--json')).stdout) as { invite: string };
    expect((await swarm(friend, 'join', invite, '--name', 'friend')).code).toBe(0);
    const agent = new SwarmProcess(friend, ['agent']);
    await agent.printed(/connected to the coordinator/);
    const out = join(dir, 'tls.parquet');
    const run = await swarm(boss, 'run', 'embeddings', texts, '--out', out);
    expect([run.code, run.stderr]).toEqual([0, expect.any(String)]);
    expect((await stat(out)).size).toBeGreaterThan(1_000);
  });
});

test('the example program of the SDK submits a job and follows it', async () => {
  await using mesh = await Mesh.start(join(dir, 'sdk'), { agents: ['attic'], slowdown: '1' });
  const { stdout } = await promisify(execFile)(process.execPath, [EXAMPLE, join(dir, 'sdk', 'boss'), mesh.url]);
  expect(stdout).toMatch(/submitted job [0-9a-f]{16}[^]*completed: 1000 of 1000 items\n {2}attic did 1000/);
});
