// Owns any ONNX sentence encoder from a folder: transformers.js reads the tokeniser, ONNX Runtime runs the network,
// pooling follows the folder's files. Never runs code from the folder (auto_map, trust_remote_code are not looked at).

// First of all: it silences ONNX Runtime before anything loads it.
import { embedInBatches, MICRO_BATCH, openSession, toFloats, toIdTensor, type Session } from './encoder-session.ts';
import { join, resolve } from 'node:path';
import * as transformers from '@huggingface/transformers';
import { PreTrainedTokenizer } from '@huggingface/transformers';
import ort from 'onnxruntime-node';
import { assert } from '../../lib/assert.ts';
import { SwarmError } from '../../protocol/errors.ts';
import type { Encoder, Precision } from './encoder.ts';
import type { TokenIds } from './encoder-batches.ts';
import { normalizeRows, poolTokens } from './encoder-pooling.ts';
import { hashModelFiles, toModelId } from './model-files.ts';
import { readModelFolder, readTokenizerFiles, type FolderModel } from './model-folder.ts';

const KNOWN_INPUTS = new Set(['input_ids', 'attention_mask', 'token_type_ids', 'position_ids']);
const MAX_UNITS_PER_TOKEN = 64;
const FRAME_TEXT = 'frame';

/** Opens the encoder in a folder and tries it on one text, so that a network that does not fit fails here. */
export async function openFolderEncoder(modelDir: string, precision: Precision, threads: number): Promise<Encoder> {
  const dir = resolve(modelDir);
  const model = await readModelFolder(dir, precision);
  const modelId = toModelId(await hashModelFiles(dir, model.fileNames));
  const tokenizer = await openTokenizer(dir);
  const external = model.onnxFacts.externalLocations.length > 0;
  const source = external ? join(dir, model.onnxName) : model.onnxBytes;
  const session = await openSession(source, threads, join(dir, model.onnxName));
  const encoder = new FolderEncoder(modelId, model, tokenizer, session);
  try {
    await encoder.probe();
  } catch (cause) {
    await encoder.close();
    if (cause instanceof SwarmError) throw cause;
    const reason = cause instanceof Error ? cause.message.slice(0, 300) : 'unknown error';
    throw new SwarmError('bad-input', `the model in ${dir} fails on a first text: ${reason}; take a sentence encoder`, {
      cause,
    });
  }
  return encoder;
}

/**
 * Makes the tokeniser from the two files themselves: transformers.js' own loading by path keeps a cache by name and
 * takes only folders whose names could be hub ids.
 */
async function openTokenizer(dir: string): Promise<FramedTokenizer> {
  const { tokenizer, config } = await readTokenizerFiles(dir);
  const name = typeof config['tokenizer_class'] === 'string' ? config['tokenizer_class'].replace(/Fast$/, '') : '';
  const named: unknown = Object.hasOwn(transformers, name) ? Reflect.get(transformers, name) : undefined;
  try {
    const made = new (isTokenizerClass(named) ? named : PreTrainedTokenizer)(tokenizer, config);
    return { tokenizer: made, ...readFrame(made) };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.slice(0, 300) : 'unknown error';
    throw new SwarmError(
      'bad-input',
      `transformers.js cannot read the tokeniser in ${dir}: ${reason}; fetch the model anew`,
      { cause },
    );
  }
}

function isTokenizerClass(value: unknown): value is typeof PreTrainedTokenizer {
  return typeof value === 'function' && (value as { prototype: unknown }).prototype instanceof PreTrainedTokenizer;
}

/** What the tokeniser puts around a text: [CLS] and [SEP] for most. */
type Frame = { readonly before: TokenIds; readonly after: TokenIds };
type FramedTokenizer = Frame & { readonly tokenizer: PreTrainedTokenizer };

function readFrame(tokenizer: PreTrainedTokenizer): Frame {
  const bare = tokenizer(FRAME_TEXT, { add_special_tokens: false, return_tensor: false }).input_ids;
  const framed = tokenizer(FRAME_TEXT, { return_tensor: false }).input_ids;
  const at = framed.findIndex((_, start) => bare.every((id, index) => framed[start + index] === id));
  return at < 0 ? { before: [], after: [] } : { before: framed.slice(0, at), after: framed.slice(at + bare.length) };
}

class FolderEncoder implements Encoder {
  readonly modelId: string;
  readonly maxTokens: number;
  readonly #model: FolderModel;
  readonly #tokenizer: FramedTokenizer;
  readonly #batchSize: number;
  #session: Session | undefined;
  #dims = 0;

  constructor(modelId: string, model: FolderModel, tokenizer: FramedTokenizer, session: Session) {
    this.modelId = modelId;
    this.maxTokens = model.maxTokens;
    this.#model = model;
    this.#tokenizer = tokenizer;
    this.#session = session;
    // Padding must not show: it would without a mask, and with ranges taken over the whole batch.
    const separable = session.inputNames.includes('attention_mask') && !model.onnxFacts.quantizesActivations;
    this.#batchSize = separable ? MICRO_BATCH : 1;
  }

  get dims(): number {
    return this.#dims;
  }

  /** Checks the network's inputs and learns the number of dimensions. */
  async probe(): Promise<void> {
    const unknown = this.#openSession().inputNames.filter((name) => !KNOWN_INPUTS.has(name));
    if (unknown.length > 0) {
      throw new SwarmError(
        'bad-input',
        `the model in ${this.#model.dir} wants the input ${unknown.join(', ')}; take a sentence encoder`,
      );
    }
    this.#dims = (await this.#runBatch([this.#encode('probe')])).length;
  }

  async embed(texts: readonly string[]): Promise<Float32Array> {
    const ids = texts.map((text) => this.#encode(text));
    return embedInBatches(ids, this.#dims, this.#batchSize, (batch) => this.#runBatch(batch));
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #openSession(): Session {
    assert(this.#session !== undefined, 'the encoder is open');
    return this.#session;
  }

  /** transformers.js would cut the closing special token off a long text, so the frame is put on here. */
  #encode(text: string): TokenIds {
    const bounded = (this.#model.prefix + text).slice(0, this.maxTokens * MAX_UNITS_PER_TOKEN).toWellFormed();
    const { tokenizer, before, after } = this.#tokenizer;
    const ids = tokenizer(bounded, { add_special_tokens: false, return_tensor: false }).input_ids;
    return [...before, ...ids.slice(0, Math.max(0, this.maxTokens - before.length - after.length)), ...after];
  }

  async #runBatch(batch: readonly TokenIds[]): Promise<Float32Array> {
    const session = this.#openSession();
    const ids = toIdTensor(batch, this.#tokenizer.tokenizer.pad_token_id ?? 0);
    const [, tokens = 1] = ids.dims;
    const lengths = batch.map((text) => text.length);
    const outputs = await session.run(toInputs(session, ids, lengths));
    const sentence = outputs['sentence_embedding'];
    if (sentence !== undefined)
      return normalizeRows(toFloats(sentence, this.#model.onnxName).slice(), sentence.dims[1] ?? 0);
    const hidden = outputs['last_hidden_state'] ?? outputs['token_embeddings'] ?? outputs[session.outputNames[0] ?? ''];
    const values = toFloats(hidden, this.#model.onnxName);
    const [rows, columns, dims] = hidden?.dims ?? [];
    if (rows !== batch.length || columns !== tokens || dims === undefined) {
      throw new SwarmError('bad-input', `${this.#model.onnxName} gives no vector a token; take a sentence encoder`);
    }
    return normalizeRows(poolTokens({ values, tokens, dims }, lengths, this.#model.pooling), dims);
  }
}

function toInputs(session: Session, ids: ort.Tensor, lengths: readonly number[]): Record<string, ort.Tensor> {
  const [rows = 0, columns = 1] = ids.dims;
  const fill = (value: (row: number, column: number) => number): ort.Tensor =>
    new ort.Tensor(
      'int64',
      BigInt64Array.from({ length: rows * columns }, (_, at) => BigInt(value(Math.floor(at / columns), at % columns))),
      [rows, columns],
    );
  const inputs: Record<string, ort.Tensor> = { input_ids: ids };
  if (session.inputNames.includes('attention_mask'))
    inputs['attention_mask'] = fill((row, column) => (column < (lengths[row] ?? 0) ? 1 : 0));
  if (session.inputNames.includes('token_type_ids')) inputs['token_type_ids'] = fill(() => 0);
  if (session.inputNames.includes('position_ids')) inputs['position_ids'] = fill((_, column) => column);
  return inputs;
}
