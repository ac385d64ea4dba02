import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Prng } from '../../src/lib/prng.ts';
import type { Encoder } from '../../src/workloads/embeddings/encoder-port.ts';
import { mergeParts, type MergePart } from '../../src/workloads/embeddings/merge.ts';
import type { VectorMaker } from '../../src/workloads/embeddings/parquet-vectors.ts';
import { writePart } from '../../src/workloads/embeddings/parquet-write.ts';
import { queryTexts, queryVectors, readVectorInfo } from '../../src/workloads/embeddings/query.ts';

const DIMS = 8;
const MAKER: VectorMaker = { modelId: 'model-a', dims: DIMS, workloadVersion: '1' };
const ROWS = 25_000;

/** Counts letters a to h: a small encoder whose answers can be told by eye. */
const letters: Encoder = {
  modelId: 'model-a',
  dims: DIMS,
  maxTokens: 100,
  embed: async (texts) =>
    Float32Array.from(
      texts.flatMap((text) => unit('abcdefgh'.split('').map((letter) => text.split(letter).length - 1))),
    ),
  close: async () => undefined,
};

function unit(vector: readonly number[]): number[] {
  const length = Math.hypot(...vector);
  return vector.map((value) => (length === 0 ? 0 : value / length));
}

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'swarm-query-'));
  path = join(folder, 'vectors.parquet');
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function writeTexts(texts: readonly string[]): Promise<void> {
  const items = texts.map((text, i) => ({ id: `t#${i}`, source: 't', text }));
  await writeFile(path, writePart(MAKER, 0, { items, vectors: await letters.embed(texts) }));
}

/** Three row groups of random unit vectors. */
async function writeRandom(): Promise<Float32Array> {
  const prng = new Prng(7);
  const all = new Float32Array(ROWS * DIMS);
  for (let row = 0; row < ROWS; row++)
    all.set(unit(Array.from({ length: DIMS }, () => prng.float() - 0.5)), row * DIMS);
  const parts: MergePart[] = [];
  for (let start = 0; start < ROWS; start += 5_000) {
    const items = Array.from({ length: 5_000 }, (_, i) => ({
      id: `r#${start + i}`,
      source: 'r',
      text: `row ${start + i}`,
    }));
    const part = { path: join(folder, `part-${start}`), start, end: start + 5_000 };
    await writeFile(
      part.path,
      writePart(MAKER, start, { items, vectors: all.subarray(start * DIMS, part.end * DIMS) }),
    );
    parts.push(part);
  }
  await mergeParts({ parts, outFile: path });
  return all;
}

const refuse = async (answer: Promise<unknown>, message: RegExp): Promise<void> => {
  await expect(answer).rejects.toMatchObject({ code: 'bad-input', message: expect.stringMatching(message) });
};

describe('a query', () => {
  test('finds the closest texts, best first, ties in file order', async () => {
    await writeTexts(['bb', 'ab', 'a', 'aaa', 'zzz']);
    const [hits, other] = await queryTexts(path, letters, ['  a\n', 'b'], 3);
    expect(hits).toEqual([
      { id: 't#2', source: 't', text: 'a', score: 1 },
      { id: 't#3', source: 't', text: 'aaa', score: 1 },
      { id: 't#1', source: 't', text: 'ab', score: expect.closeTo(Math.SQRT1_2, 6) },
    ]);
    expect(other?.map(({ text }) => text)).toEqual(['bb', 'ab', 'a']);
    expect((await queryTexts(path, letters, ['a'], 100))[0]).toHaveLength(5);
    expect(await readVectorInfo(path)).toEqual({ ...MAKER, rowCount: 5 });
  });

  test('equals sorting all scores, across row groups', async () => {
    const all = await writeRandom();
    const query = Float32Array.from(unit([1, -2, 3, 0.5, 0, -1, 0.1, 2]));
    const [hits] = await queryVectors(path, { modelId: 'model-a', dims: DIMS, vectors: query }, 40);
    const scores = Array.from({ length: ROWS }, (_, row) =>
      query.reduce((sum, q, d) => sum + q * (all[row * DIMS + d] ?? 0), 0),
    );
    const expected = [...scores.keys()].toSorted((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0)).slice(0, 40);
    expect(hits?.map(({ id }) => id)).toEqual(expected.map((row) => `r#${row}`));
    expect(hits?.map(({ text }) => text)).toEqual(expected.map((row) => `row ${row}`));
    expect(new Set(expected.map((row) => Math.floor(row / 10_000))).size).toBe(3);
  });
});

describe('a query refuses', () => {
  test('a file of another model before it embeds anything', async () => {
    await writeTexts(['a']);
    const embed = async (): Promise<Float32Array> => {
      throw new Error('embedded');
    };
    const other: Encoder = { ...letters, modelId: 'model-b', embed };
    await refuse(
      queryTexts(path, other, ['a'], 1),
      /made with model model-a, but the query uses model-b; query with that model or embed again/,
    );
    await refuse(
      queryTexts(path, { ...letters, dims: 4, embed }, ['a'], 1),
      /holds vectors of 8 floats; the query has 4 floats of 4/,
    );
  });

  test('files that are missing, empty, truncated, or none of ours', async () => {
    const query = { modelId: 'model-a', dims: DIMS, vectors: new Float32Array(DIMS).fill(1) };
    await refuse(queryVectors(path, query, 1), /does not exist/);
    await refuse(queryVectors(folder, query, 1), /is a folder where a file was expected/);
    await writeTexts(['a', 'b']);
    await truncate(path, 500);
    await refuse(queryVectors(path, query, 1), /truncated/);
    await truncate(path, 0);
    await refuse(queryVectors(path, query, 1), /is empty \(0 bytes\)/);
    await writeFile(path, 'id,text\n');
    await refuse(queryVectors(path, query, 1), /is not Parquet/);
    const columnData = [{ name: 'text', data: ['x'], type: 'STRING' as const }];
    await writeFile(path, new Uint8Array(parquetWriteBuffer({ columnData })));
    await refuse(queryVectors(path, query, 1), /names no model: it is no file of the embeddings workload/);
    const kvMetadata = ['format=embeddings-1', 'model_id=model-a', 'dims=8', 'workload_version=1'].map((pair) => {
      const [key, value] = pair.split('=');
      return { key: `swarm.${key}`, value: value ?? '' };
    });
    await writeFile(path, new Uint8Array(parquetWriteBuffer({ columnData, kvMetadata })));
    await refuse(queryVectors(path, query, 1), /has the columns text BYTE_ARRAY; expected id BYTE_ARRAY/);
  });

  test('queries without text, and impossible counts', async () => {
    await writeTexts(['a']);
    await refuse(queryTexts(path, letters, ['a', ' \n'], 1), /query 2 holds no text/);
    for (const k of [0, 1.5, 1_001]) await refuse(queryTexts(path, letters, ['a'], k), /k is /);
    const nothing = { modelId: 'model-a', dims: DIMS, vectors: new Float32Array(0) };
    await refuse(queryVectors(path, nothing, 1), /the query has 0 floats/);
    const broken = { ...nothing, vectors: new Float32Array(DIMS).fill(Number.NaN) };
    await expect(queryVectors(path, broken, 1)).rejects.toMatchObject({ code: 'runner-failed' });
  });
});
