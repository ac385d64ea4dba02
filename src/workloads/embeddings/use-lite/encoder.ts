// Owns Universal Sentence Encoder Lite as an encoder: verified files, SentencePiece ids, one session.

import { assert } from '../../../lib/assert.ts';
import type { Encoder } from '../encoder.ts';
import { embedInBatches, MICRO_BATCH, openSession, toFloats, toIdTensor, type Session } from '../encoder-session.ts';
import { toModelId } from '../model-files.ts';
import { UnigramTokenizer } from '../tokenizer.ts';
import { readUseLiteFile, useLiteFiles } from './convert.ts';
import { PAD_ID, USE_LITE_DIMS, type Precision } from './graph.ts';
import { normalizeForSentencePiece } from './normalize.ts';
import { parseUseLiteVocabulary } from './vocabulary.ts';

const USE_LITE_MAX_TOKENS = 128;
/** UTF-16 units of a text that are looked at: 128 tokens are some 600 units of prose. Bounds work on a huge line. */
const USE_LITE_MAX_UNITS = 8_192;

/** Turns texts into ids as the model expects them, at most 128 each. */
export class UseLiteTokenizer {
  readonly #unigram: UnigramTokenizer;

  constructor(vocabularyJson: string, path: string) {
    this.#unigram = new UnigramTokenizer(parseUseLiteVocabulary(vocabularyJson, path));
  }

  encode(text: string): number[] {
    return this.#unigram.encode(normalizeForSentencePiece(text.slice(0, USE_LITE_MAX_UNITS)), USE_LITE_MAX_TOKENS);
  }
}

/** Opens the tokeniser of a prepared folder, its hash verified. */
export async function openUseLiteTokenizer(modelDir: string): Promise<UseLiteTokenizer> {
  const { vocabulary } = useLiteFiles('float32');
  const json = Buffer.from(await readUseLiteFile(modelDir, vocabulary)).toString('utf8');
  return new UseLiteTokenizer(json, vocabulary.name);
}

/** Opens the model that `convertUseLite` prepared. Reads only; throws `not-found` or `hash-mismatch`. */
export async function openUseLite(modelDir: string, precision: Precision, threads: number): Promise<Encoder> {
  const { network, vocabulary } = useLiteFiles(precision);
  const tokenizer = await openUseLiteTokenizer(modelDir);
  const session = await openSession(await readUseLiteFile(modelDir, network), threads, network.name);
  return new UseLiteEncoder(toModelId([network, vocabulary]), tokenizer, session);
}

class UseLiteEncoder implements Encoder {
  readonly modelId: string;
  readonly dims = USE_LITE_DIMS;
  readonly maxTokens = USE_LITE_MAX_TOKENS;
  readonly #tokenizer: UseLiteTokenizer;
  #session: Session | undefined;

  constructor(modelId: string, tokenizer: UseLiteTokenizer, session: Session) {
    this.modelId = modelId;
    this.#tokenizer = tokenizer;
    this.#session = session;
  }

  async embed(texts: readonly string[]): Promise<Float32Array> {
    const session = this.#session;
    assert(session !== undefined, 'the encoder is open');
    const ids = texts.map((text) => this.#tokenizer.encode(text));
    return embedInBatches(ids, USE_LITE_DIMS, MICRO_BATCH, async (batch) => {
      const outputs = await session.run({ ids: toIdTensor(batch, PAD_ID) });
      return toFloats(outputs['embeddings'], 'use-lite');
    });
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
