import { describe, expect, test } from 'vitest';
import type { Change } from '../core/change.ts';
import type { Clock } from './clock.ts';
import { Loop } from './loop.ts';

type Body = { readonly put: string } | { readonly say: string };

/** A loop whose commits are finished by hand and whose clock may go back. */
function createBench() {
  const commits: { changes: readonly Change[]; finish: () => void; fail: () => void }[] = [];
  const released: string[] = [];
  const stamps: number[] = [];
  const fatal: unknown[] = [];
  const time = { nowMs: 100 };
  const clock: Clock = { now: () => time.nowMs, after: () => () => {}, soon: queueMicrotask };
  const loop = new Loop<Body, string>({
    clock,
    machine: {
      step(event) {
        stamps.push(event.at);
        if ('say' in event) return { changes: [], effects: [event.say] };
        const record = { kind: 'thing', id: event.put, version: 1, value: event.at };
        return { changes: [{ op: 'put', record }], effects: [`did ${event.put}`] };
      },
    },
    commit: (changes) =>
      new Promise((resolve, reject) =>
        commits.push({ changes, finish: resolve, fail: () => reject(new Error('disk')) }),
      ),
    release: (effects) => void released.push(...effects),
    onFatal: (error) => void fatal.push(error),
  });
  return { loop, commits, released, stamps, fatal, time };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('Loop', () => {
  test('releases nothing before its changes are durable, and in commit order', async () => {
    const { loop, commits, released } = createBench();
    loop.post({ put: 'a' });
    await settle();
    loop.post({ say: 'hello' });
    await settle();
    expect(released).toEqual([]);
    commits[0]?.finish();
    await settle();
    expect(released).toEqual(['did a', 'hello']);
  });

  test('a batch is one commit, and only the last change of a record is in it', async () => {
    const { loop, commits } = createBench();
    for (const id of ['a', 'b', 'a']) loop.post({ put: id });
    await settle();
    expect(commits).toHaveLength(1);
    expect(commits[0]?.changes).toHaveLength(2);
  });

  test('time does not go back when the clock does', async () => {
    const { loop, stamps, time } = createBench();
    loop.post({ say: 'x' });
    await settle();
    time.nowMs = 50;
    loop.post({ say: 'y' });
    await settle();
    expect(stamps).toEqual([100, 100]);
  });

  test('a failed commit is fatal: nothing leaves, not even what a later commit made durable', async () => {
    const { loop, commits, released, fatal } = createBench();
    loop.post({ put: 'a' });
    await settle();
    loop.post({ put: 'b' });
    await settle();
    commits[1]?.finish();
    commits[0]?.fail();
    await settle();
    expect(released).toEqual([]);
    expect(fatal).toHaveLength(1);
    expect(loop.post({ say: 'late' })).toBe(false);
  });

  test('stop finishes what was posted', async () => {
    const { loop, commits, released } = createBench();
    loop.post({ put: 'a' });
    const stopped = loop.stop();
    await settle();
    commits[0]?.finish();
    await stopped;
    expect(released).toEqual(['did a']);
  });
});
