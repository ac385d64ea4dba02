// Owns opening a sentence encoder by name. Only reads the model's folder: no writes, no temporary files, no network, so
// that it runs inside the sandbox. Does not know jobs, items or Parquet.

import { SwarmError } from '../../protocol/errors.ts';
import type { Precision } from './use-lite/graph.ts';
import type { Encoder as EncoderPort } from './encoder-port.ts';
import { openUseLite } from './use-lite/encoder.ts';

export type { Precision } from './use-lite/graph.ts';

/** The model that needs no files of one's own: Universal Sentence Encoder Lite, English, 512 dimensions. */
export const BUILT_IN_MODEL = 'use-lite';

/** The port, to be released by `await using`. A text's vector does not depend on the texts beside it (within 1e-5). */
export type Encoder = EncoderPort & AsyncDisposable;

export type EncoderOptions = {
  /** `use-lite`, or a name for people of the model that lies in `modelDir`. */
  readonly model: string;
  /** As `prepareModel` made it, or any folder in the transformers.js layout. */
  readonly modelDir: string;
  readonly precision: Precision;
  /** CPU threads of one run. */
  readonly threads: number;
  readonly device?: 'cpu';
  /** What the signed spec names; another model in the folder is refused. */
  readonly modelId?: string;
};

/** Opens an encoder. Throws `not-found`, `bad-input` or `hash-mismatch` with what to do about it. */
export async function openEncoder(options: EncoderOptions): Promise<Encoder> {
  const encoder = await open(options);
  if (options.modelId === undefined || options.modelId === encoder.modelId) return encoder;
  await encoder.close();
  throw new SwarmError(
    'hash-mismatch',
    `the model ${options.model} in ${options.modelDir} is ${encoder.modelId}, but ${options.modelId} was asked for; prepare that one`,
  );
}

async function open({ model, modelDir, precision, threads }: EncoderOptions): Promise<Encoder> {
  if (model === BUILT_IN_MODEL) return openUseLite(modelDir, precision, threads);
  // Loaded only when needed: transformers.js costs 100 MB and half a second.
  const { openFolderEncoder } = await import('./encoder-folder.ts');
  return openFolderEncoder(modelDir, precision, threads);
}
