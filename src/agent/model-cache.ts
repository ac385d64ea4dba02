// Owns the models on this machine's disk: the built-in one prepared once, others fetched file by file by hash. A model
// is used only after the hash over its files was compared with the spec's (INV-6). One download at a time a model.

import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { toCanceled } from '../objects/objects-stream.ts';
import { downloadArtifact } from '../objects/transfer-download.ts';
import type { ModelSpec } from '../protocol/job-spec.ts';
import { hashModelFiles, toModelId } from '../workloads/embeddings/model-files.ts';
import type { Logger } from './config.ts';
import type { HttpAccess } from './http-access.ts';
import { prepareBuiltInModel } from './model-preparation.ts';

const FOLDER_NAME = /^[0-9a-f]{64}$/;

/** This machine cannot have the model, however often it tries. */
export class ModelUnfit extends Error {
  override readonly name = 'ModelUnfit';
}

type Preparation = { readonly dir: Promise<string>; readonly abort: AbortController; waiters: number };

export class ModelCache {
  readonly #dir: string;
  readonly #limitBytes: number;
  readonly #access: HttpAccess;
  readonly #logger: Logger;
  /** By hash and precision; those that are ready stay. */
  readonly #models = new Map<string, Preparation>();

  constructor(dir: string, limitBytes: number, access: HttpAccess, logger: Logger) {
    this.#dir = dir;
    this.#limitBytes = limitBytes;
    this.#access = access;
    this.#logger = logger;
  }

  /** The folder of a verified model. Throws ModelUnfit, the transfer's SwarmErrors, or 'canceled' on the signal. */
  async prepare(model: ModelSpec, params: { readonly [name: string]: unknown }, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const precision = params['precision'] === 'int8' ? 'int8' : 'float32';
    const key = `${model.sha256} ${precision}`;
    const known = this.#models.get(key) ?? this.#begin(key, model, precision);
    known.waiters++;
    const gaveUp = Promise.withResolvers<never>();
    const giveUp = () => gaveUp.reject(toCanceled(signal.reason));
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      return await Promise.race([known.dir, gaveUp.promise]);
    } finally {
      signal.removeEventListener('abort', giveUp);
      // A download that nobody waits for any more is given up; it goes on where it stopped when it is wanted again.
      if (--known.waiters === 0) known.abort.abort();
    }
  }

  #begin(key: string, model: ModelSpec, precision: 'float32' | 'int8'): Preparation {
    const abort = new AbortController();
    const { signal } = abort;
    const dir =
      model.files.length === 0 ? this.#prepareBuiltIn(model, precision, signal) : this.#prepareFiles(model, signal);
    const preparation = { dir, abort, waiters: 0 };
    this.#models.set(key, preparation);
    dir.catch(() => {
      if (this.#models.get(key) === preparation) this.#models.delete(key);
    });
    return preparation;
  }

  async #prepareBuiltIn(model: ModelSpec, precision: string, signal: AbortSignal): Promise<string> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const prepared = await prepareBuiltInModel({ name: model.name, precision, cacheDir: this.#dir }, signal);
    if (!prepared.ok) throw new ModelUnfit(`the model ${model.name} cannot be prepared here: ${prepared.error}`);
    if (prepared.value.modelId === model.sha256) return prepared.value.modelDir;
    throw new ModelUnfit(
      `the job wants ${model.name} ${model.sha256}, this release has ${prepared.value.modelId}: update the older of both`,
    );
  }

  async #prepareFiles(model: ModelSpec, signal: AbortSignal): Promise<string> {
    const dir = join(this.#dir, model.sha256);
    if (await this.#isWhole(model, dir)) {
      await utimes(dir, new Date(), new Date());
      return dir;
    }
    await rm(dir, { recursive: true, force: true });
    await this.#makeRoom(model);
    const partial = `${dir}.partial`;
    this.#logger.info({ model: model.name, sha256: model.sha256 }, 'a model is being downloaded');
    for (const file of model.files) {
      const toFile = join(partial, file.path);
      await mkdir(dirname(toFile), { recursive: true, mode: 0o700 });
      if ((await sizeOf(toFile)) === file.sizeBytes) continue; // verified below
      await this.#access.persist(`the download of model ${model.name}`, signal, () =>
        downloadArtifact({ ...this.#access.transfer, id: file.id, toFile, maxBytes: file.sizeBytes, signal }),
      );
    }
    if (!(await this.#isWhole(model, partial))) {
      await rm(partial, { recursive: true, force: true });
      throw new ModelUnfit(`the files of model ${model.name} do not have the hash ${model.sha256} that the job names`);
    }
    await rename(partial, dir);
    return dir;
  }

  async #isWhole(model: ModelSpec, dir: string): Promise<boolean> {
    const found = await hashModelFiles(
      dir,
      model.files.map((file) => file.path),
    ).catch(() => undefined);
    return found !== undefined && toModelId(found) === model.sha256;
  }

  /** Removes the models used longest ago until the new one fits; those in use by this process stay. */
  async #makeRoom(model: ModelSpec): Promise<void> {
    const needBytes = model.files.reduce((sum, file) => sum + file.sizeBytes, 0);
    const held = new Set([...this.#models.keys()].map((key) => key.split(' ')[0]));
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const folders: { path: string; usedAt: number; sizeBytes: number; mayGo: boolean }[] = [];
    for (const entry of await readdir(this.#dir, { withFileTypes: true })) {
      const sha256 = entry.name.replace(/\.partial$/, '');
      if (!entry.isDirectory() || !FOLDER_NAME.test(sha256) || sha256 === model.sha256) continue;
      const path = join(this.#dir, entry.name);
      const { mtimeMs } = await stat(path);
      folders.push({ path, usedAt: mtimeMs, sizeBytes: await sizeOfFolder(path), mayGo: !held.has(sha256) });
    }
    let usedBytes = folders.reduce((sum, folder) => sum + folder.sizeBytes, 0);
    for (const folder of folders.toSorted((a, b) => a.usedAt - b.usedAt)) {
      if (usedBytes + needBytes <= this.#limitBytes) return;
      if (!folder.mayGo) continue;
      this.#logger.info({ path: folder.path }, 'a model that was not used for long is removed');
      await rm(folder.path, { recursive: true, force: true });
      usedBytes -= folder.sizeBytes;
    }
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ? found.size : undefined;
}

async function sizeOfFolder(dir: string): Promise<number> {
  let sizeBytes = 0;
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) sizeBytes += (await sizeOf(join(entry.parentPath, entry.name))) ?? 0;
  return sizeBytes;
}
