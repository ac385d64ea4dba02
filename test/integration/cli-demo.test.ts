// Tests of `swarm demo` as a newcomer runs it: to its end over a folder of their own, and ended in every way there is. No
// process and no file may be left.

import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { until } from '../helpers/condition.ts';
import { killAll, SwarmProcess } from '../helpers/swarm-process.ts';

let dir: string;
let temp: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'swarm-cli-demo-'));
  temp = join(dir, 'tmp');
  await mkdir(temp);
});
afterEach(async () => {
  await killAll();
  await rm(dir, { recursive: true, force: true });
});

function demo(...args: string[]): SwarmProcess {
  const all = ['demo', '--out', join(dir, 'out.parquet'), ...args];
  return new SwarmProcess(join(dir, 'home'), all, { environment: { TMPDIR: temp } });
}

/** Everything that still runs and was told of this test's folder. */
async function listProcesses(): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ps', ['-eo', 'pid=,args='], { maxBuffer: 16 * 1_024 * 1_024 });
  return stdout.split('\n').filter((line) => line.includes(temp));
}

async function expectNothingLeft(): Promise<void> {
  await until('all of its processes to end', async () => (await listProcesses()).length === 0);
  expect(await readdir(temp)).toEqual([]);
}

/** Tells one of the demo's agents by its command line, not the runners below it. */
async function findAgent(name: string): Promise<number> {
  const line = (await listProcesses()).find((text) => text.includes(`--name ${name} `));
  return Number.parseInt(line?.trim() ?? '', 10);
}

test('over one’s own folder: the file, answers from it, and who did how much', async () => {
  const input = join(dir, 'notes');
  await mkdir(input);
  await writeFile(join(input, 'a.txt'), 'We want peace with our neighbours. The roof leaks. Schools teach children.');
  await using run = demo('--input', input, '--agents', '2');
  expect([await run.ended(), run.stderr]).toEqual([0, expect.stringMatching(/2 agents.*2x slower on purpose/s)]);
  expect(run.stdout).toMatch(/"peace with other nations"\n +\d\.\d{3} +We want peace with our neighbours\.\n +a\.txt/);
  expect(run.stdout).toMatch(/wrote .*out\.parquet\n( +(attic-5090|den-3070) +\d+ texts +\d.*\n)+3 texts in /);
  expect((await readdir(dir)).toSorted()).toContain('out.parquet');
  await expectNothingLeft();
});

test.each([
  ['SIGINT', 1, 130],
  ['SIGTERM', 1, 143],
  ['SIGINT', 2, 130],
] as const)('%s, sent %d times, ends it all with %d', async (signal, times, code) => {
  const run = demo();
  await run.printed(/embedding 8,166 texts/);
  for (let sent = 0; sent < times; sent++) run.signal(signal);
  expect(await run.ended()).toBe(code);
  expect(run.stdout).toBe('');
  expect(await readdir(dir)).not.toContain('out.parquet');
  await expectNothingLeft();
});

test('when it is killed its agents end by themselves', async () => {
  const run = demo();
  await run.printed(/embedding 8,166 texts/);
  expect(await findAgent('den-3070')).toBeGreaterThan(0);
  await run.kill();
  await until('its agents to end', async () => (await listProcesses()).length === 0);
});

test('when an agent dies the demo says so and ends', async () => {
  const run = demo();
  await run.printed(/embedding 8,166 texts/);
  process.kill(await findAgent('den-3070'), 'SIGKILL');
  expect([await run.ended(), run.stderr]).toEqual([5, expect.stringMatching(/the agent den-3070 ended .*SIGKILL/)]);
  await expectNothingLeft();
});

test.each([
  [['--agents', '0'], 2, /whole number from 1 to 8/],
  [['--input', '/nowhere/at/all'], 7, /nowhere/],
] as const)('%j is refused', async (args, code, message) => {
  const run = demo(...args);
  expect([await run.ended(), run.stderr]).toEqual([code, expect.stringMatching(message)]);
  await expectNothingLeft();
});
