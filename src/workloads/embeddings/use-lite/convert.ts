// Owns the one-time conversion of Universal Sentence Encoder Lite into a model folder, and the hashes that its files
// must have. The conversion is deterministic, so that every machine makes the same bytes and none need be sent.

import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { SwarmError } from '../../../protocol/errors.ts';
import { toSha256, type ModelFile } from '../model-files.ts';
import { buildUseLiteGraph, type Precision } from './graph.ts';
import { mendUseLitePieces } from './vocabulary.ts';
import { locateUseLitePackage, readUseLiteWeights } from './weights.ts';

const VOCABULARY_NAME = 'vocabulary.json';

const VOCABULARY: ModelFile = {
  name: VOCABULARY_NAME,
  sha256: '145aa29bc984386030a140020ee077208d9270d3177ac8cd9335e082dc2b1490',
  sizeBytes: 218_436,
};
const NETWORKS: Readonly<Record<Precision, ModelFile>> = {
  float32: {
    name: 'onnx/model.onnx',
    sha256: '74aec045ca18e38e3fa4ace49e0c759853f3dfa331fae60ce69ac1b51d06993f',
    sizeBytes: 27_911_964,
  },
  int8: {
    name: 'onnx/model_int8.onnx',
    sha256: 'e99dae706bc1c0c0c02a2c05ac918f673753392ce7ea26319f65c2153449fb40',
    sizeBytes: 7_087_992,
  },
};

/** The files of a precision, as they must be: changing a byte of them is a new model and changes these pins. */
export function useLiteFiles(precision: Precision): { readonly network: ModelFile; readonly vocabulary: ModelFile } {
  return { network: NETWORKS[precision], vocabulary: VOCABULARY };
}

/**
 * Makes sure that `outDir` holds the model: files that are there and right stay, others are made and renamed into
 * place. Throws `not-found` (package not installed) or `hash-mismatch` (its content is not what was pinned).
 */
export async function convertUseLite(outDir: string, precision: Precision): Promise<void> {
  const { network, vocabulary } = useLiteFiles(precision);
  const missing = (await isRight(outDir, network)) ? [] : [network];
  if (!(await isRight(outDir, vocabulary))) missing.push(vocabulary);
  if (missing.length === 0) return;
  const packageDir = locateUseLitePackage();
  for (const file of missing) {
    const bytes = file === network ? await makeNetwork(packageDir, precision) : await makeVocabulary(packageDir);
    checkHash(bytes, file, packageDir);
    await writeAtomically(join(outDir, file.name), bytes);
  }
}

async function makeNetwork(packageDir: string, precision: Precision): Promise<Uint8Array> {
  return buildUseLiteGraph(await readUseLiteWeights(packageDir), precision);
}

async function makeVocabulary(packageDir: string): Promise<Uint8Array> {
  const pieces = mendUseLitePieces(await readFile(join(packageDir, 'vocab.json'), 'utf8'));
  return Buffer.from(`${JSON.stringify(pieces)}\n`, 'utf8');
}

async function isRight(dir: string, file: ModelFile): Promise<boolean> {
  const bytes = await readFile(join(dir, file.name)).catch(() => undefined);
  return bytes !== undefined && toSha256(bytes) === file.sha256;
}

/** Reads a file of the prepared model. Throws `not-found` or `hash-mismatch` (INV-6). */
export async function readUseLiteFile(dir: string, file: ModelFile): Promise<Uint8Array> {
  const bytes = await readFile(join(dir, file.name)).catch((cause: unknown) => {
    throw new SwarmError('not-found', `the model folder ${dir} lacks ${file.name}; prepare the model use-lite first`, {
      cause,
    });
  });
  checkHash(bytes, file, dir);
  return bytes;
}

function checkHash(bytes: Uint8Array, file: ModelFile, origin: string): void {
  const sha256 = toSha256(bytes);
  if (sha256 === file.sha256) return;
  throw new SwarmError(
    'hash-mismatch',
    `${file.name} of use-lite from ${origin} has SHA-256 ${sha256}, expected ${file.sha256}; delete it (or reinstall the package) and prepare the model again`,
  );
}

async function writeAtomically(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.${randomUUID()}.partial`;
  try {
    const file = await open(partial, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } finally {
    await rm(partial, { force: true });
  }
}
