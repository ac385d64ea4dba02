// Owns reading a folder that holds an ONNX sentence encoder in the transformers.js layout: which files belong to the
// model, how tokens are pooled, how long a text may be; and refusing folders that do not fit. Runs nothing, writes nothing.

import { readFile, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { z } from 'zod';
import { SwarmError } from '../../protocol/errors.ts';
import { hasModelFile } from './model-files.ts';
import { inspectOnnx, type OnnxFacts } from './onnx-inspect.ts';
import type { Precision } from './use-lite/graph.ts';
import { parseJson } from '../../lib/json.ts';

export type Pooling = 'mean' | 'cls' | 'max' | 'lasttoken';

export type FolderModel = {
  readonly dir: string;
  /** The ONNX file, relative to `dir`. */
  readonly onnxName: string;
  readonly onnxBytes: Uint8Array;
  readonly onnxFacts: OnnxFacts;
  /** All files that decide a vector, relative to `dir`: the model's identity is over these. */
  readonly fileNames: readonly string[];
  readonly pooling: Pooling;
  readonly maxTokens: number;
  /** Put before each text, where the model has a default prompt. */
  readonly prefix: string;
};

const REQUIRED = ['config.json', 'tokenizer.json', 'tokenizer_config.json'];
const OPTIONAL = [
  'special_tokens_map.json',
  'modules.json',
  'sentence_bert_config.json',
  'config_sentence_transformers.json',
  '1_Pooling/config.json',
];
export const ONNX_NAMES: Readonly<Record<Precision, readonly string[]>> = {
  float32: ['onnx/model.onnx', 'model.onnx'],
  int8: ['onnx/model_quantized.onnx', 'onnx/model_int8.onnx', 'model_quantized.onnx', 'model_int8.onnx'],
};
const MAX_JSON_BYTES = 64 * 1_024 * 1_024;
const MAX_ONNX_BYTES = 2 * 1_024 * 1_024 * 1_024 - 1;
const DEFAULT_MAX_TOKENS = 512;

/** Every name that a folder may hold for a model, for whoever fetches one. */
export const MODEL_FILE_NAMES: readonly string[] = [...REQUIRED, ...OPTIONAL, ...Object.values(ONNX_NAMES).flat()];

const configSchema = z.looseObject({ max_position_embeddings: z.int().min(1).optional() });
const tokenizerConfigSchema = z.looseObject({ model_max_length: z.number().min(1).optional() });
const sentenceConfigSchema = z.looseObject({ max_seq_length: z.int().min(1).nullish() });
const promptsSchema = z.looseObject({
  prompts: z.record(z.string(), z.string().max(1_000)).nullish(),
  default_prompt_name: z.string().nullish(),
});
const modulesSchema = z.array(z.looseObject({ type: z.string(), path: z.string().max(100) })).max(20);
const poolingSchema = z.looseObject({ pooling_mode: z.string().optional() }).catchall(z.unknown());

/** Reads and checks a model's folder. Throws `not-found` or `bad-input` with what is wrong and what to do. */
export async function readModelFolder(dir: string, precision: Precision): Promise<FolderModel> {
  const onnxName = await findFiles(dir, precision);
  const { bytes: onnxBytes, facts: onnxFacts } = await readOnnx(dir, onnxName);
  const external = await checkExternalData(dir, onnxName, onnxFacts.externalLocations);
  const optional: string[] = [];
  for (const name of OPTIONAL) if (await hasModelFile(dir, name)) optional.push(name);
  return {
    dir,
    onnxName,
    onnxBytes,
    onnxFacts,
    fileNames: [...REQUIRED, ...optional, onnxName, ...external],
    pooling: await readPooling(dir, optional),
    maxTokens: await readMaxTokens(dir, optional),
    prefix: await readPrefix(dir, optional),
  };
}

async function findFiles(dir: string, precision: Precision): Promise<string> {
  const found = await stat(dir).catch(() => undefined);
  if (found === undefined) throw new SwarmError('not-found', `there is no model folder ${dir}; ${LAYOUT}`);
  if (!found.isDirectory()) throw new SwarmError('bad-input', `${dir} is not a folder; ${LAYOUT}`);
  const missing: string[] = [];
  for (const name of REQUIRED) if (!(await hasModelFile(dir, name))) missing.push(name);
  if (missing.length > 0)
    throw new SwarmError('bad-input', `the model folder ${dir} lacks ${missing.join(', ')}; ${LAYOUT}`);
  for (const name of ONNX_NAMES[precision]) if (await hasModelFile(dir, name)) return name;
  const names = ONNX_NAMES[precision].join(' or ');
  const other = precision === 'int8' ? 'float32' : 'int8';
  throw new SwarmError('bad-input', `the model folder ${dir} lacks ${names}; export it, or ask for precision ${other}`);
}

const LAYOUT = `a model folder holds ${REQUIRED.join(', ')} and onnx/model.onnx, as for transformers.js`;

async function readOnnx(dir: string, name: string): Promise<{ bytes: Uint8Array; facts: OnnxFacts }> {
  const path = join(dir, name);
  if ((await stat(path)).size > MAX_ONNX_BYTES)
    throw new SwarmError('too-large', `${path} is larger than 2 GiB, which no ONNX file is`);
  const bytes = await readFile(path);
  const facts = inspectOnnx(bytes);
  if (!facts.ok)
    throw new SwarmError('bad-input', `${path} is not an ONNX model: ${facts.error}; fetch or export it anew`);
  return { bytes, facts: facts.value };
}

/** The external data files, relative to `dir`; refuses places outside the folder. */
async function checkExternalData(dir: string, onnxName: string, locations: readonly string[]): Promise<string[]> {
  const names: string[] = [];
  for (const location of locations) {
    const name = posix.normalize(posix.join(posix.dirname(onnxName), location));
    if (location === '' || /[\\\0:]/.test(location) || posix.isAbsolute(location) || name.startsWith('../')) {
      throw new SwarmError(
        'bad-input',
        `${onnxName} in ${dir} wants weights from ${JSON.stringify(location)}, outside its folder; refused`,
      );
    }
    if (!(await hasModelFile(dir, name))) {
      throw new SwarmError(
        'bad-input',
        `${onnxName} in ${dir} wants weights from ${name}, which is missing; fetch it too`,
      );
    }
    names.push(name);
  }
  return names;
}

async function readPooling(dir: string, present: readonly string[]): Promise<Pooling> {
  if (present.includes('modules.json')) await checkModules(dir);
  if (!present.includes('1_Pooling/config.json')) return 'mean';
  const config = await readJson(dir, '1_Pooling/config.json', poolingSchema);
  const modes = Object.entries(config).flatMap(([key, value]) =>
    value === true && key.startsWith('pooling_mode_')
      ? [key.slice('pooling_mode_'.length).replace(/_tokens?$/, '')]
      : [],
  );
  const [mode = config.pooling_mode ?? 'mean', ...more] = modes;
  if (more.length === 0 && (mode === 'mean' || mode === 'cls' || mode === 'max' || mode === 'lasttoken')) return mode;
  throw new SwarmError(
    'bad-input',
    `the model in ${dir} pools by ${[mode, ...more].join(' and ')}; known are mean, cls, max and lasttoken, one at a time`,
  );
}

/** A Dense layer after pooling is no part of the exported ONNX file: without it the vectors would be wrong. */
async function checkModules(dir: string): Promise<void> {
  const modules = await readJson(dir, 'modules.json', modulesSchema);
  const foreign = modules.find(({ type }) => !/\.(?:Transformer|Pooling|Normalize)$/.test(type));
  if (foreign === undefined) return;
  throw new SwarmError(
    'bad-input',
    `the model in ${dir} needs the module ${foreign.type}, which is not in its ONNX file; take another model`,
  );
}

async function readMaxTokens(dir: string, present: readonly string[]): Promise<number> {
  const config = await readJson(dir, 'config.json', configSchema);
  const tokenizer = await readJson(dir, 'tokenizer_config.json', tokenizerConfigSchema);
  const sentence = present.includes('sentence_bert_config.json')
    ? await readJson(dir, 'sentence_bert_config.json', sentenceConfigSchema)
    : {};
  const limits = [config.max_position_embeddings, tokenizer.model_max_length, sentence.max_seq_length];
  const known = limits.filter((limit): limit is number => typeof limit === 'number');
  return Math.floor(Math.min(...known, known.length === 0 ? DEFAULT_MAX_TOKENS : Infinity, 8_192));
}

async function readPrefix(dir: string, present: readonly string[]): Promise<string> {
  if (!present.includes('config_sentence_transformers.json')) return '';
  const { prompts, default_prompt_name: name } = await readJson(
    dir,
    'config_sentence_transformers.json',
    promptsSchema,
  );
  return typeof name === 'string' ? (prompts?.[name] ?? '') : '';
}

/** The tokeniser's two files, parsed. */
export async function readTokenizerFiles(dir: string): Promise<{ tokenizer: object; config: Record<string, unknown> }> {
  const tokenizer = await readJson(dir, 'tokenizer.json', z.looseObject({ model: z.looseObject({}) }));
  return { tokenizer, config: await readJson(dir, 'tokenizer_config.json', z.record(z.string(), z.unknown())) };
}

async function readJson<T>(dir: string, name: string, schema: z.ZodType<T>): Promise<T> {
  const path = join(dir, name);
  if ((await stat(path)).size > MAX_JSON_BYTES) throw new SwarmError('too-large', `${path} is larger than 64 MiB`);
  const parsed = schema.safeParse(parseJson(await readFile(path, 'utf8')));
  if (parsed.success) return parsed.data;
  throw new SwarmError('bad-input', `${path} is not what a model's ${name} should be; fetch the model anew`);
}
