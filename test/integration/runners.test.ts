// The runner pool against a workload that misbehaves in every way the contract foresees, in real child processes.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RunnerPoolOptions } from '../../src/agent/runners/pool.ts';
import type { RunOutcome, RunTask } from '../../src/agent/runners/run-task.ts';
import { MIB } from '../../src/lib/byte-sizes.ts';
import { until } from '../helpers/condition.ts';
import { BUBBLEWRAP_WORKS, chaosTask, expectDone, openPool, type TestPool } from '../helpers/runner-pool.ts';

type Params = RunTask['init']['params'];

let own: TestPool;
beforeEach(async () => {
  own = await openPool();
});
afterEach(async () => own[Symbol.asyncDispose]());

function run(params: Params = {}, overrides: Partial<RunTask> = {}): Promise<RunOutcome> {
  return own.pool.run(chaosTask(params, overrides));
}

async function reopen(overrides: Partial<RunnerPoolOptions>): Promise<void> {
  await own[Symbol.asyncDispose]();
  own = await openPool(overrides);
}

/** Which process did it. */
function instanceOf(outcome: RunOutcome): string {
  return expectDone(outcome).inline ?? '';
}

/** The processes below one. */
async function descendantsOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const children = text.split(' ').filter(Boolean).map(Number);
  return [...children, ...(await Promise.all(children.map(descendantsOf))).flat()];
}

/** False for one that has ended and only waits to be asked how. */
async function isAlive(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z');
  return !/\) [ZX]/.test(status);
}

async function expectNoneLeft(): Promise<void> {
  expect(own.pool.size).toEqual({ alive: 0, idle: 0 });
  await until('the runner to be gone', async () => (await runnersBelow(own.dir)).length === 0);
}

/** Processes that were told a folder of this pool. */
async function runnersBelow(dir: string): Promise<string[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(names.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line.includes(dir));
}

const SANDBOXES = ['permission', 'bubblewrap'] as const;

describe.each(SANDBOXES)('within %s', (sandbox) => {
  const works = sandbox === 'permission' || BUBBLEWRAP_WORKS;

  test.skipIf(!works)('a task is done, its part handed over and its progress told', async () => {
    await reopen({ sandbox });
    const cursors: number[] = [];
    const items = join(own.dir, 'items.jsonl');
    await writeFile(items, '{"a":1}\n{"a":2}\n{"a":3}\n');
    const outcome = await run(
      {},
      { range: { start: 7, end: 10 }, inputs: { kind: 'items', file: items }, onProgress: (at) => cursors.push(at) },
    );
    const done = expectDone(outcome);
    expect(done).toMatchObject({ items: 3, info: { provider: 'chaos', modelId: 'none' }, metrics: { items: 3 } });
    expect(await readFile(done.outFile ?? '', 'utf8')).toBe('{"a":1}\n{"a":2}\n{"a":3}');
    expect(done.outFile?.startsWith(join(own.dir, 'runners', 'parts'))).toBe(true);
    expect(cursors[0]).toBe(8);
  });

  test.skipIf(!works)('a crash tells the signal and what was printed last', async () => {
    await reopen({ sandbox });
    const outcome = await run({ mode: 'crash', at: 3 });
    expect(outcome).toMatchObject({ kind: 'crashed', exitCode: null, signal: 'SIGABRT', outOfMemory: false });
    expect(outcome.kind === 'crashed' && outcome.stderrTail).toContain('about to crash');
    await expectNoneLeft();
  });

  test.skipIf(!works)('one that spins without ever listening is killed when it is hung', async () => {
    await reopen({ sandbox });
    const outcome = await run({ mode: 'spin' }, { idleTimeoutMs: 500 });
    expect(outcome).toEqual({ kind: 'hung', reason: 'no progress within 500 ms' });
    await expectNoneLeft();
  });

  test.skipIf(!works || process.platform !== 'linux').each(['hang', 'spin', 'deaf'])(
    'kill -9 of the owner leaves no orphan of a runner that does: %s',
    async (mode) => {
      const dir = await mkdtemp(join(tmpdir(), 'swarm-owner-'));
      const script = fileURLToPath(new URL('pool-owner.ts', import.meta.url));
      const owner = spawn(process.execPath, [script, dir, sandbox, mode], { stdio: ['ignore', 'pipe', 'inherit'] });
      await once(owner.stdout, 'data');
      const runners = await descendantsOf(owner.pid ?? 0);
      expect(runners.length).toBeGreaterThan(0);
      owner.kill('SIGKILL');
      await until('the runners to end', async () => (await Promise.all(runners.map(isAlive))).every((alive) => !alive));
      await rm(dir, { recursive: true, force: true });
    },
  );

  test.skipIf(!works)('memory outside the JavaScript heap is bounded', async () => {
    await reopen({ sandbox, memoryBytes: 300 * MIB });
    const outcome = await run({ mode: 'allocate-native' });
    expect(outcome).toMatchObject({ kind: 'failed', scope: 'task', outOfMemory: true });
    expect(outcome.kind === 'failed' && outcome.reason).toMatch(/over its limit of 314572800/);
    await expectNoneLeft();
  });
});

describe('what ends a runner', () => {
  const violations: [string, Params, RegExp][] = [
    ['garbage', { mode: 'garbage' }, /not JSON.*Segmentation fault/],
    ['a line without end', { mode: 'oversized-line' }, /over the limit of 65536 bytes/],
    ['another message', say('{"type":"hello"}'), /does not fit the contract/],
    ['a cursor past the range', say('{"type":"progress","id":2,"cursor":11}'), /cursor went to 11/],
    ['a cursor that goes back', say('{"type":"progress","id":2,"cursor":0}', 5), /cursor went to 0/],
    ['another run', say('{"type":"progress","id":99,"cursor":1}'), /run 99/],
    ['ready twice', say('{"type":"ready","info":{}}'), /ready twice/],
    ['items of others', say('{"type":"failed","id":2,"kind":"item","item":11,"reason":"x"}'), /blames item 11/],
    ['half a range', say('{"type":"result","id":2,"items":5,"durationMs":1}'), /5 of 10 items/],
    ['a part elsewhere', say('{"type":"result","id":2,"items":10,"durationMs":1,"outFile":"a"}'), /another name/],
    ['a part above', say('{"type":"result","id":2,"items":10,"durationMs":1,"outFile":"../a"}'), /does not fit/],
    ['a big result', say(toResultLine('x'.repeat(300))), /does not fit the contract/],
  ];

  function say(line: string, at = 0): Params {
    return { mode: 'say', line, at };
  }

  function toResultLine(inline: string): string {
    return JSON.stringify({ type: 'result', id: 2, items: 10, durationMs: 1, inline: JSON.stringify(inline) });
  }

  test.each(violations)('it says %s', async (_, params, reason) => {
    const outcome = await run(params);
    expect(outcome).toMatchObject({ kind: 'protocol-violation' });
    expect(outcome.kind === 'protocol-violation' && outcome.reason).toMatch(reason);
    await expectNoneLeft();
  });

  test('it exits early', async () => {
    expect(await run({ mode: 'exit', at: 2 })).toMatchObject({ kind: 'crashed', exitCode: 0, signal: null });
    await expectNoneLeft();
  });

  test('it does not listen to a cancel', async () => {
    const cancel = new AbortController();
    const onProgress = () => cancel.abort();
    expect(await run({ mode: 'deaf', at: 1 }, { signal: cancel.signal, onProgress })).toEqual({ kind: 'canceled' });
    await expectNoneLeft();
  });

  test('it takes longer than the task may', async () => {
    const outcome = await run({ mode: 'slow' }, { timeoutMs: 700 });
    expect(outcome).toEqual({ kind: 'hung', reason: 'the task was not done within 700 ms' });
    await expectNoneLeft();
  });

  test('it fills its heap', async () => {
    await reopen({ memoryBytes: 64 * MIB });
    expect(await run({ mode: 'allocate' })).toMatchObject({ kind: 'crashed', outOfMemory: true });
    await expectNoneLeft();
  });

  test('it cannot be opened, or is no workload of this release', async () => {
    const failed = { kind: 'failed', scope: 'fatal', outOfMemory: false };
    expect(await run({ mode: 'open-fails' })).toEqual({ ...failed, reason: 'chaos: cannot be opened' });
    expect(await run({ mode: 'nonsense' })).toMatchObject(failed);
    const unknown = await run({}, { workload: 'miner' });
    expect(unknown).toEqual({ ...failed, reason: 'this release has no workload miner; update the agent' });
    await expectNoneLeft();
  });

  test('it is canceled before there is a process to tell', async () => {
    const cancel = new AbortController();
    const running = run({ mode: 'hang', at: 1 }, { signal: cancel.signal });
    cancel.abort();
    expect(await running).toEqual({ kind: 'canceled' });
    await expectNoneLeft();
  });

  test('it is canceled while it opens', async () => {
    const cancel = new AbortController();
    const onStart = () => cancel.abort();
    expect(await run({ mode: 'open-hangs' }, { signal: cancel.signal, onStart })).toEqual({ kind: 'canceled' });
    await expectNoneLeft();
  });

  test('its pool is closed', async () => {
    const started = Promise.withResolvers<void>();
    const running = run({ mode: 'deaf', at: 1 }, { onProgress: () => started.resolve() });
    await started.promise;
    await own.pool.close();
    expect(await running).toEqual({ kind: 'canceled' });
    expect(await run()).toEqual({ kind: 'canceled' });
    await expectNoneLeft();
  });

  test('an environment that allows no test workloads', async () => {
    await reopen({ environment: { PATH: process.env['PATH'] } });
    const reason = 'this release has no workload chaos; update the agent';
    expect(await run()).toMatchObject({ kind: 'failed', scope: 'fatal', reason });
  });
});

describe('what a runner survives', () => {
  test('a failed item, a failed task, an early return, and stray prints', async () => {
    expect(await run({ mode: 'fail-item', at: 4 })).toMatchObject({ kind: 'failed', scope: 'item', item: 4 });
    expect(await run({ mode: 'throw', at: 4 })).toMatchObject({ kind: 'failed', scope: 'task', outOfMemory: false });
    const early = await run({ mode: 'early-return', at: 4 });
    expect(early).toMatchObject({ kind: 'failed', scope: 'task' });
    expect(early.kind === 'failed' && early.reason).toMatch(/returned after 5 items/);
    const printed = { mode: 'print' };
    expect(instanceOf(await run(printed))).toBe(instanceOf(await run(printed)));
  });

  test('a cancel that it listens to', async () => {
    const cancel = new AbortController();
    const params = { mode: 'hang', at: 1 };
    const onProgress = () => cancel.abort();
    expect(await run(params, { signal: cancel.signal, onProgress })).toEqual({ kind: 'canceled' });
    expect(own.pool.size).toEqual({ alive: 1, idle: 1 });
  });

  test('being slow, as long as it goes on', async () => {
    // Each item takes 300 ms, all of them more than the limit for one.
    expect(await run({ mode: 'slow' }, { idleTimeoutMs: 2_000 })).toMatchObject({ kind: 'done', items: 10 });
  });

  test('a flood of log lines, of which some are shown and the rest counted', async () => {
    const lines: string[] = [];
    expectDone(await run({ mode: 'flood' }, { onLog: (_, text) => lines.push(text) }));
    expect(lines.length).toBeLessThan(200);
    expect(lines.every((line) => line.length <= 1_001)).toBe(true);
    expect(lines.at(-1)).toMatch(/^\d+ lines of the log were dropped/);
  });

  test('but not out of memory: the next task gets a fresh process', async () => {
    expect(await run({ mode: 'out-of-memory' })).toMatchObject({ kind: 'failed', scope: 'task', outOfMemory: true });
    await expectNoneLeft();
  });
});

describe('warm runners', () => {
  test('serve the same init and signer again, and nobody else', async () => {
    const first = instanceOf(await run());
    expect(instanceOf(await run())).toBe(first);
    const others = [
      await run({}, { signer: 'bob' }),
      await run({ at: 99 }),
      await run({}, { init: { ...chaosTask().init, threads: 2 } }),
    ];
    const instances = [first, ...others.map(instanceOf)];
    expect(new Set(instances).size).toBe(instances.length);
  });

  test('are ended when others need the room, the one idle longest first', async () => {
    const [alice, bob] = [instanceOf(await run()), instanceOf(await run({}, { signer: 'bob' }))];
    expect(own.pool.size).toEqual({ alive: 2, idle: 2 });
    expectDone(await run({}, { signer: 'carol' }));
    expect(own.pool.size).toEqual({ alive: 2, idle: 2 });
    expect(instanceOf(await run({}, { signer: 'bob' }))).toBe(bob);
    expect(instanceOf(await run())).not.toBe(alice);
    await own.pool.stopIdle();
    await expectNoneLeft();
    expect((await readdir(join(own.dir, 'runners'))).filter((name) => name.startsWith('runner'))).toEqual([]);
  });

  test('see only the files of the task at hand', async () => {
    for (const start of [0, 3]) {
      const file = join(own.dir, `items-${start}`);
      await writeFile(file, '1\n2\n3\n');
      expectDone(await run({}, { range: { start, end: start + 3 }, inputs: { kind: 'items', file } }));
    }
    const names = await readdir(join(own.dir, 'runners'));
    const runner = names.find((name) => name.startsWith('runner')) ?? 'none';
    for (const folder of ['in', 'out']) expect(await readdir(join(own.dir, 'runners', runner, folder))).toEqual([]);
  });

  test('work side by side', async () => {
    const all = await Promise.all([run({ mode: 'slow' }), run({ mode: 'slow' })]);
    expect(new Set(all.map(instanceOf)).size).toBe(2);
  });
});

describe('a task whose tail is taken back', () => {
  test('ends where it was told, or where it was already', async () => {
    const reached = Promise.withResolvers<void>();
    const kept: number[] = [];
    let shrink: (item: number) => void = () => {};
    const running = run(
      { mode: 'slow' },
      {
        onStart: (control) => (shrink = control.shrink),
        onProgress: (at) => at >= 2 && reached.resolve(),
        onShrunk: (boundary) => kept.push(boundary),
      },
    );
    await reached.promise;
    shrink(7);
    shrink(5);
    expect(await running).toMatchObject({ kind: 'done', items: 5 });
    expect(kept).toEqual([7, 5]);
  });
});

describe('a pool', () => {
  test('removes what an earlier one left, and nothing else', async () => {
    const scratchDir = join(own.dir, 'runners');
    await own.pool.close();
    await writeFile(join(scratchDir, 'parts', 'part-1'), 'left');
    await writeFile(join(scratchDir, 'kept'), 'not ours');
    await reopenAt(scratchDir);
    expect(await readdir(scratchDir)).toEqual(['kept', 'parts']);
    expect(await readdir(join(scratchDir, 'parts'))).toEqual([]);
    expect((await stat(scratchDir)).mode & 0o077).toBe(0);
  });

  async function reopenAt(scratchDir: string): Promise<void> {
    const again = await openPool({ scratchDir });
    await again[Symbol.asyncDispose]();
  }

  test('tells of items that are gone as a failed task', async () => {
    const inputs = { kind: 'items', file: join(own.dir, 'gone') } as const;
    expect(await run({}, { inputs })).toMatchObject({ kind: 'failed', scope: 'task' });
    const short = join(own.dir, 'short');
    await writeFile(short, '1\n');
    const outcome = await run({}, { inputs: { kind: 'items', file: short } });
    expect(outcome).toMatchObject({ kind: 'failed', scope: 'task' });
    expect(outcome.kind === 'failed' && outcome.reason).toMatch(/ends after 1 of 10 items/);
  });
});
