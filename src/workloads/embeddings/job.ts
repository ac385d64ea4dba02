// Owns turning a person's input into the stages of an embeddings job: list the items, put them and the model's files
// where peers can fetch them, and name all of it by hash. Signs and submits nothing.

import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { ArtifactId } from '../../lib/ids.ts';
import { GIB, MIB } from '../../lib/byte-sizes.ts';
import type { JobSpecInput, ModelSpec } from '../../protocol/job-spec.ts';
import { ItemListWriter, type PutBytes } from '../../objects/item-list-writer.ts';
import { BUILT_IN_MODEL, type Precision } from './encoder.ts';
import { forEachItem, listItems, type ListOptions, type ListTally } from './list.ts';
import { prepareModel, type PreparedModel } from './model.ts';

export type EmbeddingsRequest = {
  /** A file or folder. */
  readonly input: string;
  readonly list: ListOptions;
  /** `use-lite`, a folder, or a hub id. */
  readonly model: string;
  readonly precision: Precision;
  /** Where the model is prepared. */
  readonly cacheDir: string;
  /** Puts a chunk of the item list where peers can fetch it. */
  readonly putBytes: PutBytes;
  /** The same for a model's file. */
  readonly putFile: (id: ArtifactId, path: string) => Promise<void>;
};

export type EmbeddingsJob = {
  readonly stages: JobSpecInput['stages'];
  readonly tally: ListTally;
  readonly model: PreparedModel;
};

/** The stage whose one part is the merged Parquet file. */
export const RESULT_STAGE = 'merge';

/** One runner of the built-in model, measured at 330 MB, with room. */
const BUILT_IN_MEMORY_BYTES = 512 * MIB;

/** Lists and stores everything; throws what listing, the model or storing throw. Nothing is submitted then. */
export async function prepareEmbeddingsJob(request: EmbeddingsRequest): Promise<EmbeddingsJob> {
  const { input, list, model: name, precision, cacheDir, putBytes, putFile } = request;
  const model = await prepareModel(name, cacheDir, { precision });
  const spec = toModelSpec(name, model);
  const writer = new ItemListWriter(putBytes);
  const tally = await forEachItem(listItems(input, list), (item) => writer.add(item));
  const { root, count } = await writer.finish();
  for (const file of spec.files) await putFile(file.id, join(model.modelDir, file.path));
  const common = { workload: 'embeddings', params: { precision }, model: spec, memoryBytes: memoryNeed(name, model) };
  const stages: JobSpecInput['stages'] = [
    { name: 'embed', items: { kind: 'list', root, count }, ...common },
    { name: RESULT_STAGE, needs: ['embed'], items: { kind: 'parts', of: 'embed' }, ...common },
  ];
  return { stages, tally, model };
}

/** The built-in model's files come with the release; another's travel as artifacts. */
function toModelSpec(name: string, { modelId, files }: PreparedModel): ModelSpec {
  const travels = name !== BUILT_IN_MODEL;
  return {
    name: toShownName(name),
    sha256: modelId,
    files: travels
      ? files.map((file) => ({ path: file.name, id: `sha256:${file.sha256}` as ArtifactId, sizeBytes: file.sizeBytes }))
      : [],
  };
}

/** A folder's own name: where it lies on the submitter's disk is nobody's business. */
function toShownName(name: string): string {
  return existsSync(name) ? basename(resolve(name)) : name;
}

/** Weights twice (file and session), and what a process needs beside them. */
function memoryNeed(name: string, { files }: PreparedModel): number {
  if (name === BUILT_IN_MODEL) return BUILT_IN_MEMORY_BYTES;
  const weightsBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  return Math.min(2 * weightsBytes + 256 * MIB, 1_024 * GIB);
}
