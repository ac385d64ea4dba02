// Owns how a runner process reads a task's items: indexes, or JSON Lines already verified and cut by the agent. The
// sequence ends early when the task's tail is taken back. Knows no workload.

import { createReadStream } from 'node:fs';
import type { Range } from '../../lib/range-set.ts';
import { createLineSplitter } from '../../protocol/runner.ts';

/** The longest item; the agent has cut them, so this only keeps a broken file from filling the memory. */
const MAX_ITEM_BYTES = 64 * 1_024 * 1_024;

export type ItemSource = AsyncIterable<unknown> & {
  /** Yields no item from `until` on, or from where it has come to by now; the boundary that it keeps to. */
  shrink(until: number): number;
  /** Items yielded so far. */
  readonly yielded: number;
  /** True once the last item was yielded and asked past. */
  readonly finished: boolean;
};

/**
 * The items of `range`. Without a file they are indexes. `counted` says that the file has exactly one line for each index;
 * a merge's file has one for each part instead. `beforeEach` is awaited before an item is given out.
 */
export function openItems(
  range: Range,
  file: string | undefined,
  counted: boolean,
  beforeEach: () => Promise<void> | undefined,
): ItemSource {
  let end = range.end;
  let yielded = 0;
  let finished = false;

  async function* counting(): AsyncGenerator {
    for (let index = range.start; index < end; index++) {
      const pause = beforeEach();
      if (pause) await pause;
      if (index >= end) break;
      yielded++;
      yield index;
    }
    finished = true;
  }

  async function* reading(path: string): AsyncGenerator {
    for await (const line of readLines(path)) {
      await beforeEach();
      if (counted && range.start + yielded >= end) break;
      yielded++;
      yield JSON.parse(line);
    }
    if (counted && range.start + yielded < end)
      throw new Error(`the items file ends after ${yielded} of ${end - range.start} items`);
    finished = true;
  }

  const sequence = file === undefined ? counting() : reading(file);
  return {
    [Symbol.asyncIterator]: () => sequence,
    shrink(until) {
      // A merge has no items to leave out.
      if (counted) end = Math.min(end, Math.max(until, range.start + yielded));
      return end;
    },
    get yielded() {
      return yielded;
    },
    get finished() {
      return finished;
    },
  };
}

async function* readLines(path: string): AsyncGenerator<string> {
  const splitter = createLineSplitter(MAX_ITEM_BYTES);
  for await (const chunk of createReadStream(path)) {
    const lines = splitter.push(chunk as Uint8Array);
    if (!lines.ok) throw new Error(`the items file is broken: ${lines.error}`);
    yield* lines.value;
  }
  const rest = splitter.push(new Uint8Array([10]));
  if (rest.ok) yield* rest.value;
}
