import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { TextItem } from '../../src/workloads/embeddings/list-item.ts';
import { checkOutput, mergeParts, type MergePart, type MergeRequest } from '../../src/workloads/embeddings/merge.ts';
import { OutputFile } from '../../src/workloads/embeddings/merge-output.ts';
import { openVectors, type VectorMaker } from '../../src/workloads/embeddings/parquet-vectors.ts';
import { rowsPerGroup, writePart } from '../../src/workloads/embeddings/parquet-write.ts';

const MAKER: VectorMaker = { modelId: 'a'.repeat(64), dims: 3, workloadVersion: '1' };

let folder: string;
let outFile: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'swarm-parquet-'));
  outFile = join(folder, 'out.parquet');
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

function rows(start: number, end: number, dims = 3): { items: TextItem[]; vectors: Float32Array } {
  const items = Array.from({ length: end - start }, (_, i) => ({
    id: `f#${start + i}`,
    source: 'f',
    text: `text é😀 ${start + i}`,
  }));
  return { items, vectors: Float32Array.from({ length: items.length * dims }, (_, i) => Math.sin(start * dims + i)) };
}

async function part(start: number, end: number, maker = MAKER): Promise<MergePart> {
  const path = join(folder, `part-${start}-${end}`);
  await writeFile(path, writePart(maker, start, rows(start, end, maker.dims)));
  return { path, start, end };
}

async function readAll(path: string): Promise<{ id: string; vector: number[] }[]> {
  const file = await asyncBufferFromFile(path);
  return (await parquetReadObjects({ file })) as { id: string; vector: number[] }[];
}

async function checkRefused(request: Partial<MergeRequest>, message: RegExp): Promise<void> {
  const whole = { parts: [await part(0, 4)], outFile, ...request };
  await expect(mergeParts(whole)).rejects.toMatchObject({ code: 'bad-input', message: expect.stringMatching(message) });
  expect((await readdir(folder)).filter((name) => name.endsWith('.partial'))).toEqual([]);
}

describe('a part', () => {
  test('holds its rows, its maker and its place, in the same bytes each time', async () => {
    const { path } = await part(5, 9);
    await using file = await openVectors(path);
    expect(file).toMatchObject({ maker: MAKER, start: 5, rowCount: 4 });
    expect(await file.items(1, 3)).toEqual(rows(6, 8).items);
    const [all] = await Array.fromAsync(file.vectors());
    expect(all?.values).toEqual(rows(5, 9).vectors);
    expect(writePart(MAKER, 5, rows(5, 9))).toEqual(writePart(MAKER, 5, rows(5, 9)));
  });

  test('has vectors as a list of floats in which nothing may be null', async () => {
    const { path } = await part(0, 2);
    const { schema } = await parquetMetadataAsync(await asyncBufferFromFile(path));
    const shape = schema.map(({ name, type, repetition_type: repetition }) => [name, type, repetition]);
    expect(shape).toEqual([
      ['root', undefined, undefined],
      ['id', 'BYTE_ARRAY', 'REQUIRED'],
      ['source', 'BYTE_ARRAY', 'REQUIRED'],
      ['text', 'BYTE_ARRAY', 'REQUIRED'],
      ['vector', undefined, 'REQUIRED'],
      ['list', undefined, 'REPEATED'],
      ['element', 'FLOAT', 'REQUIRED'],
    ]);
    expect((await readAll(path))[1]).toMatchObject({ id: 'f#1', vector: [...rows(1, 2).vectors] });
  });

  test('is not written with a vector that is not finite', () => {
    const { items, vectors } = rows(0, 2);
    vectors[4] = Number.NaN;
    expect(() => writePart(MAKER, 0, { items, vectors })).toThrow(/vector of item f#1 is not finite/);
  });

  test('of more than one row group and many pages reads back', async () => {
    const maker = { ...MAKER, dims: 700 };
    const path = join(folder, 'wide');
    const wide = rows(0, rowsPerGroup(700) + 5, 700);
    await writeFile(path, writePart(maker, 0, wide));
    await using file = await openVectors(path);
    expect(file.groups).toHaveLength(2);
    for await (const { start, rows: count, values } of file.vectors()) {
      expect(values).toEqual(wide.vectors.subarray(start * 700, (start + count) * 700));
    }
  }, 30_000);
});

describe('merging', () => {
  test('gives all rows in item order, independent of how they were split', async () => {
    const merge = async (...cuts: number[]): Promise<Uint8Array> => {
      const parts: MergePart[] = [];
      for (const [i, end] of cuts.entries()) parts.push(await part(cuts[i - 1] ?? 0, end));
      expect(await mergeParts({ parts, outFile, count: 50, maker: MAKER })).toMatchObject({ rows: 50, missing: 0 });
      return await readFile(outFile);
    };
    const first = await merge(50);
    expect(await merge(7, 8, 30, 50)).toEqual(first);
    expect((await readAll(outFile)).map(({ id }) => id)).toEqual(rows(0, 50).items.map(({ id }) => id));
    await using file = await openVectors(outFile);
    expect(file).toMatchObject({ maker: MAKER, start: undefined, rowCount: 50 });
    expect((await Array.fromAsync(file.vectors()))[0]?.values).toEqual(rows(0, 50).vectors);
  });

  test('makes row groups of one size from parts of any', async () => {
    const size = rowsPerGroup(MAKER.dims);
    const parts = [
      await part(0, 15),
      await part(15, size + 20),
      await part(size + 20, size + 21),
      await part(size + 21, 2 * size + 3),
    ];
    const told: number[] = [];
    await mergeParts({ parts, outFile, onProgress: (done) => told.push(done) });
    await using file = await openVectors(outFile);
    expect(file.groups.map(({ start, end }) => [start, end])).toEqual([
      [0, size],
      [size, 2 * size],
      [2 * size, 2 * size + 3],
    ]);
    expect(told).toEqual([15, size + 20, size + 21, 2 * size + 3]);
    const ids = (await readAll(outFile)).map(({ id }) => id);
    expect(ids).toEqual(Array.from({ length: 2 * size + 3 }, (_, i) => `f#${i}`));
  });

  test('counts gaps where they are allowed', async () => {
    const parts = [await part(1, 4), await part(6, 8)];
    expect(await mergeParts({ parts, outFile, count: 9, allowGaps: true })).toMatchObject({ rows: 5, missing: 4 });
  });

  test('replaces an earlier result, and nothing else', async () => {
    await mergeParts({ parts: [await part(0, 4)], outFile });
    await mergeParts({ parts: [await part(0, 5)], outFile });
    expect(await readAll(outFile)).toHaveLength(5);
    await writeFile(outFile, 'my notes');
    await checkRefused({}, /exists and is no result of ours, so it is not replaced/);
    expect(await readFile(outFile, 'utf8')).toBe('my notes');
  });

  test('takes bounded memory', async () => {
    const script = `
      import { writeFileSync } from 'node:fs';
      import { writePart } from ${JSON.stringify(import.meta.resolve('../../src/workloads/embeddings/parquet-write.ts'))};
      import { mergeParts } from ${JSON.stringify(import.meta.resolve('../../src/workloads/embeddings/merge.ts'))};
      const maker = { modelId: 'm', dims: 512, workloadVersion: '1' };
      const item = { id: 'i', source: 's', text: 't'.repeat(140) };
      const parts = [];
      for (let start = 0; start < 60000; start += 1000) {
        const path = process.argv[1] + '/' + start;
        const vectors = new Float32Array(512000).fill(start / 60000);
        writeFileSync(path, writePart(maker, start, { items: Array(1000).fill(item), vectors }));
        parts.push({ path, start, end: start + 1000 });
      }
      const { sizeBytes } = await mergeParts({ parts, outFile: process.argv[1] + '/out' });
      console.log(JSON.stringify({ sizeBytes, rssMb: process.resourceUsage().maxRSS / 1024 }));`;
    const node = ['--max-old-space-size=128', '--input-type=module', '-e', script, folder];
    const { stdout } = await promisify(execFile)(process.execPath, node);
    const { sizeBytes, rssMb } = JSON.parse(stdout) as { sizeBytes: number; rssMb: number };
    expect(sizeBytes).toBeGreaterThan(120_000_000);
    expect(rssMb).toBeLessThan(400);
  });
});

describe('merging refuses', () => {
  test('parts of another model, size or version', async () => {
    const maker = MAKER;
    await checkRefused(
      { parts: [await part(0, 2), await part(2, 4, { ...MAKER, modelId: 'b' })] },
      /has modelId b, but the result has a+/,
    );
    await checkRefused({ parts: [await part(0, 2, { ...MAKER, dims: 4 })], maker }, /has dims 4, but the result has 3/);
    await checkRefused(
      { parts: [await part(0, 2, { ...MAKER, workloadVersion: '2' })], maker },
      /has workloadVersion 2/,
    );
  });

  test('parts that leave gaps, overlap, or hold another range', async () => {
    const [a, b, c] = [await part(0, 4), await part(4, 6), await part(2, 6)];
    await checkRefused({ parts: [b] }, /items 0 to 4 are missing before .*part-4-6/);
    await checkRefused({ parts: [a, b], count: 7 }, /items 6 to 7 are missing before the end/);
    await checkRefused({ parts: [a, b], count: 5 }, /overlaps the end, which begins at 5/);
    await checkRefused({ parts: [a, c], allowGaps: true }, /ends at item 4 overlaps .*part-2-6/);
    await checkRefused({ parts: [b, a], allowGaps: true }, /overlaps .*part-0-4/);
    await checkRefused({ parts: [{ ...a, end: 5 }] }, /holds 4 items from 0, not items 0 to 5/);
    await checkRefused({ parts: [] }, /there are no parts/);
  });

  test('parts that are missing, empty, truncated or none of ours', async () => {
    const { path } = await part(0, 9);
    await checkRefused({ parts: [{ path: join(folder, 'gone'), start: 0, end: 9 }] }, /gone does not exist/);
    await truncate(path, 300);
    await checkRefused({ parts: [{ path, start: 0, end: 9 }] }, /truncated/);
    await truncate(path, 0);
    await checkRefused({ parts: [{ path, start: 0, end: 9 }] }, /is empty \(0 bytes\)/);
    const foreign = parquetWriteBuffer({ columnData: [{ name: 'text', data: ['x'], type: 'STRING' }] });
    await writeFile(path, new Uint8Array(foreign));
    await checkRefused(
      { parts: [{ path, start: 0, end: 9 }] },
      /names no model: it is no file of the embeddings workload/,
    );
  });

  test('an output that is a folder, without a folder, no ordinary file, or not writable', async () => {
    await mkdir(join(folder, 'sub'));
    await checkRefused({ outFile: join(folder, 'sub') }, /sub is a folder; name the file to write/);
    await checkRefused({ outFile: join(folder, 'no', 'x') }, /the folder .*no does not exist/);
    await checkRefused({ outFile: join(folder, 'part-0-4', 'x') }, /part-0-4 is no folder/);
    await checkRefused({ outFile: '/dev/null' }, /is no ordinary file/);
    await checkRefused({ outFile: '/proc/out.parquet' }, /cannot be written/);
    await symlink('nowhere', join(folder, 'link'));
    await expect(checkOutput(outFile)).resolves.toBeUndefined();
  });

  test('an output that somebody is writing, but clears away what a killed process left', async () => {
    await writeFile(join(folder, '.out.parquet.4194999.partial'), 'left over');
    const held = await OutputFile.reserve(outFile);
    expect(await readdir(folder)).toEqual([`.out.parquet.${process.pid}.partial`]);
    await expect(checkOutput(outFile)).rejects.toThrow(new RegExp(`in use: process ${process.pid} is writing it`));
    await held[Symbol.asyncDispose]();
    await expect(checkOutput(outFile)).resolves.toBeUndefined();
    expect(await readdir(folder)).toEqual([]);
  });

  test('to leave half a file when it is canceled or the disk is full', async () => {
    const parts = [await part(0, 4)];
    await expect(mergeParts({ parts, outFile, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'canceled',
    });
    const big = await part(0, 40_000, { ...MAKER, dims: 64 });
    const script = `
      import { mergeParts } from ${JSON.stringify(import.meta.resolve('../../src/workloads/embeddings/merge.ts'))};
      const [path, outFile] = process.argv.slice(1);
      try { await mergeParts({ parts: [{ path, start: 0, end: 40000 }], outFile }); }
      catch (error) { console.log(error.code + ': ' + error.message); }`;
    // A limit on the size of files fails a write as a full disk does, and needs no disk to fill.
    const limited = [
      '-c',
      'ulimit -f 4000; exec "$0" --input-type=module -e "$@"',
      process.execPath,
      script,
      big.path,
      outFile,
    ];
    const { stdout } = await promisify(execFile)('bash', limited);
    expect(stdout).toMatch(/^disk-full: .*out\.parquet cannot be written: the disk is full/);
    expect((await readdir(folder)).filter((name) => name.includes('out.parquet'))).toEqual([]);
  });
});
