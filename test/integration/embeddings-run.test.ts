// The embeddings workload through the real runner pool: sandboxed child processes, real model, real files.

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunInputs, RunOutcome, RunTask } from '../../src/agent/runners/run-task.ts';
import type { Range } from '../../src/lib/range-set.ts';
import { BUILT_IN_MODEL, openEncoder, type Precision } from '../../src/workloads/embeddings/encoder.ts';
import { listItems } from '../../src/workloads/embeddings/list.ts';
import type { TextItem } from '../../src/workloads/embeddings/list-item.ts';
import { writeDemoCorpus } from '../../src/workloads/embeddings/list-speeches.ts';
import { prepareModel, type PreparedModel } from '../../src/workloads/embeddings/model.ts';
import { openVectors } from '../../src/workloads/embeddings/parquet-vectors.ts';
import { writePart } from '../../src/workloads/embeddings/parquet-write.ts';
import { BUBBLEWRAP_WORKS, expectDone, openPool, type TestPool } from '../helpers/runner-pool.ts';

const TOLERANCE = 1e-5;
let dir: string;
let items: TextItem[];
let shared: TestPool;
const models = new Map<Precision, PreparedModel>();

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'embeddings-run-'));
  for (const precision of ['float32', 'int8'] as const)
    models.set(precision, await prepareModel(BUILT_IN_MODEL, join(dir, 'models'), { precision }));
  await writeDemoCorpus(join(dir, 'corpus'), 4);
  items = await Array.fromAsync(listItems(join(dir, 'corpus'), { split: 'sentence' }));
  shared = await openPool({ sandbox: 'auto' });
});

afterAll(async () => {
  await shared[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

function modelOf(precision: Precision): PreparedModel {
  const model = models.get(precision);
  if (!model) throw new Error(`no model of ${precision}`);
  return model;
}

type TaskChange = Partial<RunTask> & { readonly precision?: Precision; readonly step?: 'map' | 'merge' };

function toTask(inputs: RunInputs, range: Range, change: TaskChange = {}): RunTask {
  const { precision = 'float32', step = 'map', ...rest } = change;
  const { modelDir, modelId } = modelOf(precision);
  const model = { name: BUILT_IN_MODEL, sha256: modelId, dir: modelDir };
  const init = { step, params: { precision }, model, device: { id: 'cpu', kind: 'cpu' }, threads: 1 } as const;
  return { signer: 'alice', workload: 'embeddings', init, range, inputs, idleTimeoutMs: 60_000, ...rest };
}

let written = 0;

async function toItemsFile(values: readonly unknown[]): Promise<RunInputs> {
  const file = join(dir, `items-${++written}.jsonl`);
  await writeFile(file, values.map((value) => `${JSON.stringify(value)}\n`).join(''));
  return { kind: 'items', file };
}

/** Embeds items [start, end) of the corpus. */
async function map({ start, end }: Range, change: TaskChange = {}, pool = shared.pool): Promise<RunOutcome> {
  return pool.run(toTask(await toItemsFile(items.slice(start, end)), { start, end }, change));
}

async function mapAll(ranges: readonly Range[], change: TaskChange = {}, pool = shared.pool) {
  const parts: (Range & { file: string })[] = [];
  for (const range of ranges) {
    const { outFile = 'none' } = expectDone(await map(range, change, pool));
    parts.push({ ...range, file: outFile });
  }
  return parts;
}

function merge(parts: readonly (Range & { file: string })[], change: TaskChange = {}, pool = shared.pool) {
  return pool.run(toTask({ kind: 'parts', parts }, { start: 0, end: 1 }, { ...change, step: 'merge' }));
}

async function readVectorFile(path: string) {
  await using file = await openVectors(path);
  const vectors = new Float32Array(file.rowCount * file.maker.dims);
  for await (const { start, values } of file.vectors()) vectors.set(values, start * file.maker.dims);
  return { maker: file.maker, start: file.start, items: await file.items(0, file.rowCount), vectors };
}

async function embedDirect(texts: readonly TextItem[], precision: Precision = 'float32'): Promise<Float32Array> {
  const { modelDir } = modelOf(precision);
  await using encoder = await openEncoder({ model: BUILT_IN_MODEL, modelDir, precision, threads: 1 });
  return await encoder.embed(texts.map(({ text }) => text));
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((largest, value, at) => Math.max(largest, Math.abs(value - (b[at] ?? NaN))), 0);
}

describe('a range', () => {
  test.each(BUBBLEWRAP_WORKS ? (['permission', 'bubblewrap'] as const) : (['permission'] as const))(
    'and the merge of ranges equal direct embedding, within %s',
    async (sandbox) => {
      await using own = await openPool({ sandbox });
      const end = items.length;
      const parts = await mapAll(
        [
          { start: 0, end: 300 },
          { start: 300, end },
        ],
        {},
        own.pool,
      );
      const done = expectDone(await merge(parts, {}, own.pool));
      expect(done.inline).toBe(JSON.stringify({ rows: end, missing: 0 }));
      const merged = await readVectorFile(done.outFile ?? '');
      expect(merged.items).toEqual(items);
      expect(merged.start).toBeUndefined();
      expect(merged.maker).toEqual({ modelId: modelOf('float32').modelId, dims: 512, workloadVersion: '1' });
      expect(largestDifference(merged.vectors, await embedDirect(items))).toBeLessThan(TOLERANCE);
    },
  );

  test('says what it ran with, where it starts and how far it is', async () => {
    const cursors: number[] = [];
    const range = { start: 100, end: 800 };
    const outcome = expectDone(await map(range, { onProgress: (cursor) => cursors.push(cursor) }));
    const { modelId } = modelOf('float32');
    expect(outcome).toMatchObject({ items: 700, info: { modelId, provider: 'cpu' }, metrics: { items: 700 } });
    const part = await readVectorFile(outcome.outFile ?? '');
    expect(part.start).toBe(100);
    expect(part.items).toEqual(items.slice(100, 800));
    expect(cursors.length).toBeGreaterThan(0);
    expect(cursors.every((cursor) => cursor > 100 && cursor <= 800)).toBe(true);
  });

  test.each(['float32', 'int8'] as const)('of %s gives the same vectors however it was split', async (precision) => {
    const end = 700;
    const bounds = [0, 1, 2, 9, 40, 41, 200, 201, 640, end];
    const ranges = bounds.slice(1).map((until, i) => ({ start: bounds[i] ?? 0, end: until }));
    const whole = await readVectorFile(expectDone(await map({ start: 0, end }, { precision })).outFile ?? '');
    const merged = expectDone(await merge(await mapAll(ranges, { precision }), { precision }));
    const joined = await readVectorFile(merged.outFile ?? '');
    expect(joined.items).toEqual(whole.items);
    expect(joined.maker).toEqual(whole.maker);
    const difference = largestDifference(joined.vectors, whole.vectors);
    console.log(`${precision}: the largest difference between splits is ${difference}`);
    expect(difference).toBeLessThan(TOLERANCE);
  });

  test('gives the same bytes twice', async () => {
    const [first, second] = await mapAll([
      { start: 0, end: 100 },
      { start: 0, end: 100 },
    ]);
    expect(await readFile(first?.file ?? '')).toEqual(await readFile(second?.file ?? ''));
  });
});

describe('what goes wrong', () => {
  const bad: [string, unknown][] = [
    ['no object', 7],
    ['without a text', { id: 'a', source: 'a.txt' }],
    ['with an empty text', { id: 'a', source: 'a.txt', text: '' }],
    ['with too long a text', { id: 'a', source: 'a.txt', text: 'ü'.repeat(5_000) }],
    ['with a key too many', { id: 'a', source: 'a.txt', text: 'a', code: 'b' }],
  ];
  test.each(bad)('an item %s is blamed, and the runner stays warm', async (_, item) => {
    const values = [...items.slice(0, 600), item, ...items.slice(601, 650)];
    const outcome = await shared.pool.run(toTask(await toItemsFile(values), { start: 50, end: 700 }));
    expect(outcome).toMatchObject({ kind: 'failed', scope: 'item', item: 650, outOfMemory: false });
    expect(outcome.kind === 'failed' && outcome.reason).toMatch(/item 650 is no text item/);
    expect(shared.pool.size.idle).toBeGreaterThan(0);
  });

  test('a cancel ends it soon, and the runner does the next range', async () => {
    const cancel = new AbortController();
    const many = Array.from({ length: 20_000 }, (_, i) => ({ id: `${i}`, source: 'a.txt', text: `${i} is a number.` }));
    const outcome = await shared.pool.run(
      toTask(
        await toItemsFile(many),
        { start: 0, end: many.length },
        {
          signal: cancel.signal,
          onProgress: () => cancel.abort(),
        },
      ),
    );
    expect(outcome).toEqual({ kind: 'canceled' });
    expectDone(await map({ start: 0, end: 10 }));
  });

  test('a tail taken back is left out of the part', async () => {
    const many = Array.from({ length: 4_000 }, (_, i) => ({ id: `${i}`, source: 'a.txt', text: `${i} is a number.` }));
    let shrink: (until: number) => void = () => {};
    const task = toTask(
      await toItemsFile(many),
      { start: 0, end: many.length },
      {
        onStart: (control) => (shrink = control.shrink),
        onProgress: () => shrink(1),
      },
    );
    const done = expectDone(await shared.pool.run(task));
    expect(done.items).toBeLessThan(many.length);
    const part = await readVectorFile(done.outFile ?? '');
    expect(part.items).toEqual(many.slice(0, done.items));
  });

  test('wrong parameters, no model or another model than signed mean that this peer cannot run the stage', async () => {
    const task = toTask(await toItemsFile(items.slice(0, 1)), { start: 0, end: 1 });
    const { model } = task.init;
    if (!model) throw new Error('the task has a model');
    const { model: _, ...bare } = task.init;
    const empty = join(dir, 'empty');
    await mkdir(empty);
    const inits: [RunTask['init'], RegExp][] = [
      [{ ...task.init, params: {} }, /precision/],
      [{ ...task.init, params: { precision: 'float32', code: 'x' } }, /code/],
      [bare, /names no model/],
      [{ ...task.init, model: { ...model, sha256: 'f'.repeat(64) } }, /asked for/],
      [{ ...task.init, model: { ...model, dir: empty } }, /empty/],
    ];
    for (const [init, reason] of inits) {
      const outcome = await shared.pool.run({ ...task, init });
      expect(outcome).toMatchObject({ kind: 'failed', scope: 'fatal' });
      expect(outcome.kind === 'failed' && outcome.reason).toMatch(reason);
    }
  });
});

describe('a merge', () => {
  test('leaves out items that failed for good', async () => {
    const parts = await mapAll([
      { start: 2, end: 5 },
      { start: 7, end: 9 },
    ]);
    const done = expectDone(await merge(parts));
    expect(done.inline).toBe(JSON.stringify({ rows: 5, missing: 4 }));
    const { items: merged } = await readVectorFile(done.outFile ?? '');
    expect(merged).toEqual([...items.slice(2, 5), ...items.slice(7, 9)]);
  });

  test('refuses parts of another model, of another version, and files that are none', async () => {
    const [part] = await mapAll([{ start: 0, end: 3 }]);
    if (!part) throw new Error('no part');
    expect(await merge([part], { precision: 'int8' })).toMatchObject({
      kind: 'failed',
      scope: 'task',
      reason: expect.stringMatching(/modelId/),
    });
    const maker = { modelId: modelOf('float32').modelId, dims: 512, workloadVersion: '0' };
    const older = { ...part, file: join(dir, 'older') };
    const rows = { items: items.slice(0, 3), vectors: new Float32Array(3 * 512) };
    await writeFile(older.file, writePart(maker, 0, rows));
    expect(await merge([older])).toMatchObject({ kind: 'failed', scope: 'task' });
    const junk = { ...part, file: join(dir, 'junk') };
    await writeFile(junk.file, 'junk');
    expect(await merge([junk])).toMatchObject({ kind: 'failed', scope: 'task' });
    expect(await merge([])).toMatchObject({ kind: 'failed', scope: 'task' });
  });
});
