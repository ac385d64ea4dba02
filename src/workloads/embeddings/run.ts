// Owns what a runner does for the embeddings workload: a range of texts to one vector file, and the files of a stage to
// one merged file. Works on files and items only; peers, jobs and where parts are kept are others' business.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { countSchema } from '../../protocol/names.ts';
import { SwarmError } from '../../protocol/errors.ts';
import { ItemFailure, OutOfMemory, type OpenRun, type RunHooks, type RunInit } from '../workload.ts';
import { openEncoder, type Encoder } from './encoder.ts';
import { textItemSchema, type TextItem } from './list-item.ts';
import { mergeParts, type MergePart } from './merge.ts';
import { openVectors, type VectorMaker } from './parquet-vectors.ts';
import { writePart } from './parquet-write.ts';

/** Changes when the same items and model would give other files. */
const WORKLOAD_VERSION = '1';
/** Texts embedded together: sorted by length within, reported as done after. More would save little padding. */
const WINDOW_ITEMS = 1_024;

const paramsSchema = z.strictObject({ precision: z.enum(['float32', 'int8']) });

const partItemSchema = z.strictObject({ start: countSchema, end: countSchema, file: z.string().min(1).max(400) });

/** Throws when the parameters or the model do not fit. */
export async function openRun(init: RunInit): Promise<OpenRun> {
  const { precision } = paramsSchema.parse(init.params);
  const { model } = init;
  if (!model) throw new SwarmError('bad-input', 'the stage names no model; submit the job again with one');
  if (init.step === 'merge') return openMerge(model.sha256);
  const { dir: modelDir, name, sha256: modelId } = model;
  const encoder = await openEncoder({ model: name, modelDir, modelId, precision, threads: init.threads });
  return openMap(encoder);
}

function openMap(encoder: Encoder): OpenRun {
  const maker = { modelId: encoder.modelId, dims: encoder.dims, workloadVersion: WORKLOAD_VERSION };
  return {
    info: { modelId: encoder.modelId, provider: 'cpu' },
    async run({ start }, items, { outFile }, hooks) {
      const texts: TextItem[] = [];
      const windows: Float32Array[] = [];
      for await (const window of inWindows(items, start)) {
        hooks.signal.throwIfAborted();
        windows.push(await embed(encoder, window, start + texts.length));
        texts.push(...window);
        await hooks.progress(start + texts.length);
      }
      await writeFile(outFile, writePart(maker, start, { items: texts, vectors: joinRows(windows) }));
      return { metrics: { items: texts.length } };
    },
    close: () => encoder.close(),
  };
}

async function* inWindows(items: AsyncIterable<unknown>, start: number): AsyncGenerator<TextItem[]> {
  let window: TextItem[] = [];
  let index = start;
  for await (const item of items) {
    window.push(parseItem(item, index++));
    if (window.length < WINDOW_ITEMS) continue;
    yield window;
    window = [];
  }
  if (window.length > 0) yield window;
}

function parseItem(value: unknown, index: number): TextItem {
  const parsed = textItemSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ItemFailure(index, `item ${index} is no text item: ${z.prettifyError(parsed.error).slice(0, 500)}`);
}

async function embed(encoder: Encoder, window: readonly TextItem[], start: number): Promise<Float32Array> {
  const vectors = await embedOrBlame(encoder, window);
  const bad = vectors.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return vectors;
  const index = start + Math.floor(bad / encoder.dims);
  throw new ItemFailure(index, `the vector of item ${index} is not finite on this device`);
}

async function embedOrBlame(encoder: Encoder, window: readonly TextItem[]): Promise<Float32Array> {
  try {
    return await encoder.embed(window.map(({ text }) => text));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    // What ONNX Runtime says when an allocation fails.
    if (/bad_alloc|failed to allocate|out of memory/i.test(reason)) throw new OutOfMemory(reason, { cause });
    throw cause;
  }
}

function joinRows(windows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(windows.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const rows of windows) {
    all.set(rows, at);
    at += rows.length;
  }
  return all;
}

/** Items that failed for good leave gaps; parts of another model are refused. */
function openMerge(modelId: string): OpenRun {
  return {
    info: { modelId, provider: 'cpu' },
    async run({ start }, items, { inDir, outFile }, hooks) {
      const parts = await readParts(items, inDir);
      const maker = await readMaker(parts, modelId);
      const merged = await mergeParts({ parts, outFile, allowGaps: true, ...maker, ...reportTo(hooks, start) });
      const gaps = merged.missing === 0 ? '' : `; ${merged.missing} items failed and are left out`;
      hooks.log('info', `merged ${merged.rows} rows from ${parts.length} parts${gaps}`);
      return { inline: { rows: merged.rows, missing: merged.missing } };
    },
    close: async () => {},
  };
}

async function readParts(items: AsyncIterable<unknown>, inDir: string): Promise<MergePart[]> {
  const parts: MergePart[] = [];
  for await (const item of items) {
    const { start, end, file } = partItemSchema.parse(item);
    parts.push({ start, end, path: join(inDir, file) });
  }
  return parts;
}

/** The model that the stage names and this version made every part; how long its vectors are, the first part tells. */
async function readMaker([first]: readonly MergePart[], modelId: string): Promise<{ maker?: VectorMaker }> {
  if (first === undefined) return {};
  await using part = await openVectors(first.path);
  return { maker: { modelId, dims: part.maker.dims, workloadVersion: WORKLOAD_VERSION } };
}

/** A merge is one item: saying that none is done yet keeps it from being taken for hung. A cancel shows by the signal. */
function reportTo(hooks: RunHooks, start: number): { signal: AbortSignal; onProgress: () => void } {
  return { signal: hooks.signal, onProgress: () => void hooks.progress(start).catch(() => {}) };
}
