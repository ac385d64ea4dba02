// Owns what a workload's `run.ts` offers to a runner process, and what the runner gives it. A run module works inside the
// sandbox: it reads `modelDir` and `inDir`, writes `outFile`, and has no network, no child processes and no environment.
// Does not know peers, jobs, attempts or how results are kept.

import type { Range } from '../lib/range-set.ts';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type Params = { readonly [key: string]: Json };

/** A step maps items to results, or merges the parts of an earlier stage into one. */
export type Step = 'map' | 'merge';

/** Everything a warm runner is opened with. It serves many tasks, all of the same init and the same signer. */
export type RunInit = {
  readonly step: Step;
  /** From the signed spec, unchecked: a run module parses them with zod and throws when they do not fit. */
  readonly params: Params;
  /** The verified model, absent for workloads and steps without one. */
  readonly model?: { readonly name: string; readonly sha256: string; readonly dir: string };
  readonly device: { readonly id: string; readonly kind: 'cpu' | 'cuda' | 'rocm' | 'metal' };
  /** CPU threads to use. */
  readonly threads: number;
};

export type RunFiles = {
  /** Absolute folder with the task's input files; read only. */
  readonly inDir: string;
  /** Absolute path where the part is to be written. Work that yields no bytes leaves it unwritten. */
  readonly outFile: string;
};

export type RunHooks = {
  /**
   * Says that all items below `cursor` (an item index) are done; await it after each batch. It is cheap, throttled, and
   * slows the workload down where the owner asked for that. An attempt without progress for long counts as hung; the same
   * cursor again is a sign of life within one long item.
   */
  readonly progress: (cursor: number) => Promise<void>;
  /** A line for the submitter. Bounded in rate and bytes; the rest is dropped and counted. */
  readonly log: (level: 'info' | 'warn' | 'error', text: string) => void;
  /** Aborted when the task is canceled: stop soon, by throwing or returning. */
  readonly signal: AbortSignal;
};

export type RunYield = {
  /** A small JSON result kept in the record itself: at most 256 characters once encoded. */
  readonly inline?: Json;
  readonly metrics?: { readonly [name: string]: number };
};

/** One item of a `merge` step: a part that lies in `inDir`. They come in item order and cover the stage without gaps, save failed items. */
export type PartItem = Range & { readonly file: string };

/** An opened workload. One `run` at a time. */
export type OpenRun = {
  /** What really runs: `provider` is, for example, `cpu`; `modelId` names weights and tokeniser. */
  readonly info: { readonly modelId?: string; readonly provider?: string };
  /**
   * Runs one task. `items` yields the items of `range` in order, each as it stands in the item list (for a stage of
   * `count` items: the item's index; for a merge: a `PartItem`). It may end before `range.end` when the task's tail was
   * taken back: finish what was yielded and return. Throws `ItemFailure` to blame one item; any other error fails the task.
   */
  run(range: Range, items: AsyncIterable<unknown>, files: RunFiles, hooks: RunHooks): Promise<RunYield>;
  close(): Promise<void>;
};

/** The shape of `src/workloads/<name>/run.ts`. `openRun` loads the model; when it throws, this peer cannot run the stage. */
export type RunModule = { openRun(init: RunInit): Promise<OpenRun> };

/** Blames one item: it is retried alone and reported, and the rest of its range is done without it. */
export class ItemFailure extends Error {
  override readonly name = 'ItemFailure';
  readonly item: number;

  /** `item` is the item's index in the stage. */
  constructor(item: number, reason: string, options?: { cause?: unknown }) {
    super(reason, options);
    this.item = item;
  }
}

/** The device ran out of memory: no item is to blame, a smaller batch may do. */
export class OutOfMemory extends Error {
  override readonly name = 'OutOfMemory';
}
