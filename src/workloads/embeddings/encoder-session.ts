// Owns ONNX Runtime: opening a session on the CPU and running texts' ids through it in micro-batches.
// Does not know tokenisers or pooling, nor which texts go together.

// First of all: it must run before the library is loaded.
import { QUIET } from './onnx-quiet.ts';
import ort from 'onnxruntime-node';
import { SwarmError } from '../../protocol/errors.ts';
import { toBatches, type TokenIds } from './encoder-batches.ts';

/** Most texts in one run of the network: part of the result class, so it is fixed. */
export const MICRO_BATCH = 32;

export type Session = ort.InferenceSession;

/** Opens a model from its verified bytes, or from its path when its weights lie in other files beside it. */
export async function openSession(source: Uint8Array | string, threads: number, label: string): Promise<Session> {
  const options: ort.InferenceSession.SessionOptions = {
    executionProviders: ['cpu'],
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    ...QUIET,
  };
  try {
    return typeof source === 'string'
      ? await ort.InferenceSession.create(source, options)
      : await ort.InferenceSession.create(source, options);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.slice(0, 300) : 'unknown error';
    throw new SwarmError('bad-input', `ONNX Runtime cannot open ${label}: ${reason}; fetch or export the model anew`, {
      cause,
    });
  }
}

/** Runs ids through `runBatch`, texts of like length together, and restores the order. Returns rows of `dims` floats. */
export async function embedInBatches(
  texts: readonly TokenIds[],
  dims: number,
  batchSize: number,
  runBatch: (batch: readonly TokenIds[]) => Promise<Float32Array>,
): Promise<Float32Array> {
  const rows = new Float32Array(texts.length * dims);
  for (const indices of toBatches(texts, batchSize)) {
    const vectors = await runBatch(indices.map((index) => texts[index] ?? []));
    for (const [row, index] of indices.entries()) {
      rows.set(vectors.subarray(row * dims, (row + 1) * dims), index * dims);
    }
  }
  return rows;
}

/** Ids as one int64 tensor [texts, longest], shorter ones filled with `padId`. Never empty: a text has at least one column. */
export function toIdTensor(batch: readonly TokenIds[], padId: number): ort.Tensor {
  const columns = Math.max(1, ...batch.map((ids) => ids.length));
  const data = new BigInt64Array(batch.length * columns).fill(BigInt(padId));
  for (const [row, ids] of batch.entries()) {
    for (const [column, id] of ids.entries()) data[row * columns + column] = BigInt(id);
  }
  return new ort.Tensor('int64', data, [batch.length, columns]);
}

/** The float32 data of an output. Throws `bad-input` when the model has no such output. */
export function toFloats(output: ort.Tensor | undefined, label: string): Float32Array {
  if (output?.data instanceof Float32Array) return output.data;
  throw new SwarmError(
    'bad-input',
    `${label} gives no float32 vectors; take a sentence encoder exported with float32 outputs`,
  );
}
