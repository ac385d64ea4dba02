// Owns the peer of the embeddings benchmark: one process that calls ONNX Runtime directly on given sentences, with
// nothing of the swarm around it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ort from 'onnxruntime-node';
import { toBatches } from '../src/workloads/embeddings/encoder-batches.ts';
import { UseLiteTokenizer } from '../src/workloads/embeddings/use-lite/encoder.ts';
import { useLiteFiles } from '../src/workloads/embeddings/use-lite/convert.ts';
import { PAD_ID, USE_LITE_DIMS, type Precision } from '../src/workloads/embeddings/use-lite/graph.ts';

export type DirectOptions = {
  /** A folder that `prepareModel('use-lite', …)` made. */
  readonly modelDir: string;
  readonly precision: Precision;
  readonly threads: number;
  /** Most sentences in one call of ONNX Runtime. */
  readonly batchSize: number;
};

export type DirectResult = {
  readonly vectors: Float32Array;
  readonly elapsedMs: number;
  readonly sentencesPerSecond: number;
};

/** Embeds the sentences, all sorted by length, in one process and the swarm's batches. Loading the model and a warm-up batch are not timed. */
export async function embedDirectly(sentences: readonly string[], options: DirectOptions): Promise<DirectResult> {
  const { network, vocabulary } = useLiteFiles(options.precision);
  const tokenizer = new UseLiteTokenizer(
    readFileSync(join(options.modelDir, vocabulary.name), 'utf8'),
    vocabulary.name,
  );
  const session = await ort.InferenceSession.create(join(options.modelDir, network.name), {
    executionProviders: ['cpu'],
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
  });
  await runBatch(
    session,
    sentences.slice(0, options.batchSize).map((text) => tokenizer.encode(text)),
  );
  const startedAt = performance.now();
  const ids = sentences.map((text) => tokenizer.encode(text));
  const vectors = new Float32Array(sentences.length * USE_LITE_DIMS);
  for (const batch of toBatches(ids, options.batchSize)) {
    const rows = await runBatch(
      session,
      batch.map((index) => ids[index] ?? []),
    );
    for (const [row, index] of batch.entries()) {
      vectors.set(rows.subarray(row * USE_LITE_DIMS, (row + 1) * USE_LITE_DIMS), index * USE_LITE_DIMS);
    }
  }
  const elapsedMs = performance.now() - startedAt;
  await session.release();
  return { vectors, elapsedMs, sentencesPerSecond: (sentences.length / elapsedMs) * 1_000 };
}

async function runBatch(session: ort.InferenceSession, batch: readonly (readonly number[])[]): Promise<Float32Array> {
  const columns = Math.max(1, ...batch.map((ids) => ids.length));
  const data = new BigInt64Array(batch.length * columns).fill(BigInt(PAD_ID));
  for (const [row, ids] of batch.entries()) data.set(BigInt64Array.from(ids, BigInt), row * columns);
  const { embeddings } = await session.run({ ids: new ort.Tensor('int64', data, [batch.length, columns]) });
  if (!(embeddings?.data instanceof Float32Array)) throw new Error('the model gives float32 vectors');
  return embeddings.data;
}
