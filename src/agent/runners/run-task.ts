// Owns the words between an agent and its runners: a task to run, and the closed union of how it can end. Knows no
// processes.

import type { Range } from '../../lib/range-set.ts';
import type { RunnerInfo } from '../../protocol/runner.ts';
import type { RunInit } from '../../workloads/workload.ts';

/** What a task runs over. Files are verified and cut by the agent; they are linked or copied, never moved. */
export type RunInputs =
  /** Items are their own indexes. */
  | { readonly kind: 'count' }
  /** JSON Lines, exactly one line for each item of the range. */
  | { readonly kind: 'items'; readonly file: string }
  /** The parts of an earlier stage, in item order: for a merge. */
  | { readonly kind: 'parts'; readonly parts: readonly (Range & { readonly file: string })[] };

export type RunTask = {
  /** Who signed the spec. Runners are never shared between signers. */
  readonly signer: string;
  readonly workload: string;
  readonly init: RunInit;
  readonly range: Range;
  readonly inputs: RunInputs;
  /** Without progress for so long the attempt is hung. */
  readonly idleTimeoutMs: number;
  /** Longest running time in all; none when absent. */
  readonly timeoutMs?: number;
  /** Aborted to cancel the task. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (cursor: number) => void;
  /** Already bounded in rate and bytes. */
  readonly onLog?: (level: 'info' | 'warn' | 'error', text: string) => void;
  readonly onMetric?: (name: string, value: number) => void;
  /** Called once when a runner has the task. */
  readonly onStart?: (control: RunControl) => void;
  /** Nothing from `until` on is done or will be. */
  readonly onShrunk?: (until: number) => void;
};

export type RunControl = {
  /** Takes the tail from item `until` on back; `onShrunk` answers, or the outcome's `items` says where the run ended. */
  readonly shrink: (until: number) => void;
};

/** How an attempt on a runner ended. Only `done` has a result. */
export type RunOutcome =
  | {
      readonly kind: 'done';
      /** Absolute path of a regular file that now belongs to the caller, who hashes and removes it. */
      readonly outFile?: string;
      /** JSON text of at most 256 bytes. */
      readonly inline?: string;
      /** Items done from the range's start: fewer than its length only after a shrink. */
      readonly items: number;
      /** Running time without set-up. */
      readonly durationMs: number;
      readonly info: RunnerInfo;
      readonly metrics?: { readonly [name: string]: number };
    }
  /** The workload said no. item: one item is to blame; task: the range failed; fatal: this peer cannot run the stage. */
  | {
      readonly kind: 'failed';
      readonly scope: 'item' | 'task' | 'fatal';
      readonly reason: string;
      readonly item?: number;
      readonly outOfMemory: boolean;
    }
  /** The process ended by itself. */
  | {
      readonly kind: 'crashed';
      readonly exitCode: number | null;
      readonly signal: string | null;
      readonly stderrTail: string;
      readonly outOfMemory: boolean;
    }
  /** No progress for `idleMs`, or still running after `timeoutMs`: killed. */
  | { readonly kind: 'hung'; readonly reason: string }
  /** It said what the contract does not allow: killed. */
  | { readonly kind: 'protocol-violation'; readonly reason: string }
  | { readonly kind: 'canceled' };

/** One sentence on an outcome that is not `done`, for reports and logs. */
export function describeOutcome(outcome: Exclude<RunOutcome, { kind: 'done' }>): string {
  switch (outcome.kind) {
    case 'failed':
    case 'hung':
      return outcome.reason;
    case 'protocol-violation':
      return `the runner broke its contract: ${outcome.reason}`;
    case 'crashed': {
      const how = outcome.signal === null ? `with code ${outcome.exitCode}` : `by ${outcome.signal}`;
      const memory = outcome.outOfMemory ? ', out of memory' : '';
      return `the runner process ended ${how}${memory}: ${outcome.stderrTail.slice(-1_000) || 'it printed nothing'}`;
    }
    case 'canceled':
      return 'canceled';
  }
}
