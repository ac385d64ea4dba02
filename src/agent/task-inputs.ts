// Owns getting a task's inputs onto the disk: exactly its range of an item list as JSON Lines, or the verified parts of
// an earlier stage. Does not run anything and does not know what items mean.

import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TaskId } from '../core/agent/state.ts';
import type { ArtifactId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import { ItemListReader } from '../objects/item-list-reader.ts';
import { fetchArtifact } from '../objects/transfer-download.ts';
import type { ByteCache } from './byte-cache.ts';
import type { HttpAccess } from './http-access.ts';
import type { CheckedStage } from './jobs.ts';
import { downloadParts } from './part-inputs.ts';
import type { RunInputs } from './runners/run-task.ts';

/** Lines gathered before they are written. */
const WRITE_CHARS = 256 * 1_024;

export type PlacedTask = AsyncDisposable & { readonly inputs: RunInputs };

export class TaskInputs {
  readonly #dir: string;
  readonly #access: HttpAccess;
  readonly #cache: ByteCache;
  /** The list used last: tasks of a stage come one after another. */
  #list: ItemListReader | undefined;

  private constructor(dir: string, access: HttpAccess, cache: ByteCache) {
    this.#dir = dir;
    this.#access = access;
    this.#cache = cache;
  }

  /** `dir` belongs to this alone; what an earlier agent left there is removed. */
  static async open(dir: string, access: HttpAccess, cache: ByteCache): Promise<TaskInputs> {
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { recursive: true, mode: 0o700 });
    return new TaskInputs(dir, access, cache);
  }

  /** Fetches what the task reads, for as long as it is wanted. Dispose it to remove the files. */
  async prepare(task: TaskId, { job, spec }: CheckedStage, range: Range, signal: AbortSignal): Promise<PlacedTask> {
    const { items } = spec;
    if (items.kind === 'count') return { inputs: { kind: 'count' }, [Symbol.asyncDispose]: async () => {} };
    const folder = join(this.#dir, `task-${task}`);
    const remove = () => rm(folder, { recursive: true, force: true });
    try {
      await mkdir(folder, { mode: 0o700 });
      const place = () =>
        items.kind === 'list'
          ? this.#placeItems(items.root, range, folder, signal)
          : downloadParts({ access: this.#access, job, stage: items.of, folder, signal });
      const inputs = await this.#access.persist(`the input of stage ${job.id}/${spec.name}`, signal, place);
      return { inputs, [Symbol.asyncDispose]: remove };
    } catch (error) {
      await remove();
      throw error;
    }
  }

  async #placeItems(root: ArtifactId, range: Range, folder: string, signal: AbortSignal): Promise<RunInputs> {
    const list = await this.#openList(root);
    const path = join(folder, 'items.jsonl');
    await using file = await open(path, 'w', 0o600);
    let text = '';
    for await (const item of list.items(range)) {
      signal.throwIfAborted();
      text += `${JSON.stringify(item)}\n`;
      if (text.length < WRITE_CHARS) continue;
      await file.write(text);
      text = '';
    }
    await file.write(text);
    return { kind: 'items', file: path };
  }

  async #openList(root: ArtifactId): Promise<ItemListReader> {
    if (this.#list?.root === root) return this.#list;
    // Chunks are shared by tasks, so none of them cancels the fetch: it is bounded by itself.
    const list = await ItemListReader.open(root, (id, maxBytes) =>
      this.#cache.get(id, () => fetchArtifact({ ...this.#access.transfer, id, maxBytes })),
    );
    this.#list = list;
    return list;
  }
}
