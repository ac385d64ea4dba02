// Owns the models on this machine's disk: the built-in one prepared once, others fetched file by file by hash. A model
// is used only after the hash over its files was compared with the spec's (INV-6). One download at a time a model.

import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { hashFile } from '../objects/objects-hash.ts';
import { hexOf } from '../objects/objects.ts';
import { toCanceled } from '../objects/objects-stream.ts';
import { downloadArtifact } from '../objects/transfer-download.ts';
import type { ModelSpec } from '../protocol/job-spec.ts';
import { hashModelFiles, toModelId } from '../workloads/embeddings/model-files.ts';
import type { Logger } from '../runtime/logger.ts';
import type { HttpAccess } from './http-access.ts';
import { prepareBuiltInModel } from './model-preparation.ts';

const FOLDER_NAME = /^[0-9a-f]{64}$/;

/** This machine cannot have the model, however often it tries. */
export class ModelUnfit extends Error {
  override readonly name = 'ModelUnfit';
}

/** A model is not removed while somebody holds it. */
export type HeldModel = Disposable & { readonly dir: string };

type Preparation = {
  readonly dir: Promise<string>;
  readonly abort: AbortController;
  isReady: boolean;
  holders: number;
};

export class ModelCache {
  readonly #dir: string;
  readonly #limitBytes: number;
  readonly #access: HttpAccess;
  readonly #logger: Logger;
  /** By hash and precision; those that are ready stay until room is needed. */
  readonly #models = new Map<string, Preparation>();

  constructor(dir: string, limitBytes: number, access: HttpAccess, logger: Logger) {
    this.#dir = dir;
    this.#limitBytes = limitBytes;
    this.#access = access;
    this.#logger = logger;
  }

  /** The folder of a verified model. Throws ModelUnfit, the transfer's SwarmErrors, or 'canceled' on the signal. */
  async prepare(
    model: ModelSpec,
    params: { readonly [name: string]: unknown },
    signal: AbortSignal,
  ): Promise<HeldModel> {
    signal.throwIfAborted();
    const precision = params['precision'] === 'int8' ? 'int8' : 'float32';
    const key = `${model.sha256} ${precision}`;
    const known = this.#models.get(key);
    const preparation = known && !known.abort.signal.aborted ? known : this.#begin(key, model, precision);
    preparation.holders++;
    const gaveUp = Promise.withResolvers<never>();
    const giveUp = () => gaveUp.reject(toCanceled(signal.reason));
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      const dir = await Promise.race([preparation.dir, gaveUp.promise]);
      return { dir, [Symbol.dispose]: () => release(preparation) };
    } catch (error) {
      release(preparation);
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  /** Begins once one that was given up has really ended: both would write to the same files. */
  #begin(key: string, model: ModelSpec, precision: 'float32' | 'int8'): Preparation {
    const abort = new AbortController();
    const ended = this.#models.get(key)?.dir.catch(() => undefined) ?? Promise.resolve();
    const dir = ended.then(() =>
      model.files.length === 0
        ? this.#prepareBuiltIn(model, precision, abort.signal)
        : this.#prepareFiles(model, abort.signal),
    );
    const preparation: Preparation = { dir, abort, isReady: false, holders: 0 };
    this.#models.set(key, preparation);
    dir.then(
      () => (preparation.isReady = true),
      () => this.#models.get(key) === preparation && this.#models.delete(key),
    );
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
    const named = toModelId(
      model.files.map(({ path, id, sizeBytes }) => ({ name: path, sha256: hexOf(id), sizeBytes })),
    );
    if (named !== model.sha256)
      throw new ModelUnfit(`the files of model ${model.name} have the hash ${named}, the job names ${model.sha256}`);
    const dir = join(this.#dir, model.sha256);
    if (await isWhole(model, dir)) {
      await utimes(dir, new Date(), new Date());
      return dir;
    }
    await rm(dir, { recursive: true, force: true });
    await this.#makeRoom(model);
    this.#logger.info({ model: model.name, sha256: model.sha256 }, 'a model is being downloaded');
    const partial = `${dir}.partial`;
    for (const file of model.files) await this.#download(model, file, join(partial, file.path), signal);
    await rename(partial, dir);
    return dir;
  }

  /** Files that an earlier download left are kept when they are whole. */
  async #download(model: ModelSpec, file: ModelSpec['files'][number], toFile: string, signal: AbortSignal) {
    await mkdir(dirname(toFile), { recursive: true, mode: 0o700 });
    const kept = await hashFile(toFile).catch(() => undefined);
    if (kept?.id === file.id) return;
    await this.#access.persist(`the download of model ${model.name}`, signal, () =>
      downloadArtifact({ ...this.#access.transfer, id: file.id, toFile, maxBytes: file.sizeBytes, signal }),
    );
  }

  /** Removes the models used longest ago until the new one fits; those that are held stay. */
  async #makeRoom(model: ModelSpec): Promise<void> {
    const needBytes = model.files.reduce((sum, file) => sum + file.sizeBytes, 0);
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const folders: { path: string; sha256: string; usedAt: number; sizeBytes: number }[] = [];
    for (const entry of await readdir(this.#dir, { withFileTypes: true })) {
      const sha256 = entry.name.replace(/\.partial$/, '');
      if (!entry.isDirectory() || !FOLDER_NAME.test(sha256) || sha256 === model.sha256) continue;
      const path = join(this.#dir, entry.name);
      const { mtimeMs } = await stat(path);
      folders.push({ path, sha256, usedAt: mtimeMs, sizeBytes: await sizeOfFolder(path) });
    }
    let usedBytes = folders.reduce((sum, folder) => sum + folder.sizeBytes, 0);
    for (const folder of folders.toSorted((a, b) => a.usedAt - b.usedAt)) {
      if (usedBytes + needBytes <= this.#limitBytes) return;
      if (!this.#forget(folder.sha256)) continue;
      this.#logger.info({ path: folder.path }, 'a model that was not used for long is removed');
      await rm(folder.path, { recursive: true, force: true });
      usedBytes -= folder.sizeBytes;
    }
  }

  /** False when somebody holds it. */
  #forget(sha256: string): boolean {
    const own = [...this.#models].filter(([key]) => key.startsWith(sha256));
    if (own.some(([, { holders }]) => holders > 0)) return false;
    for (const [key] of own) this.#models.delete(key);
    return true;
  }
}

/** A download that nobody waits for any more is given up; it goes on where it stopped when it is wanted again. */
function release(preparation: Preparation): void {
  if (--preparation.holders === 0 && !preparation.isReady) preparation.abort.abort();
}

async function isWhole(model: ModelSpec, dir: string): Promise<boolean> {
  const names = model.files.map((file) => file.path);
  const found = await hashModelFiles(dir, names).catch(() => undefined);
  return found !== undefined && toModelId(found) === model.sha256;
}

async function sizeOfFolder(dir: string): Promise<number> {
  let sizeBytes = 0;
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) sizeBytes += (await stat(join(entry.parentPath, entry.name))).size;
  return sizeBytes;
}
