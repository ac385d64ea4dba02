// Owns the decision log: on request, one line of JSON for each attempt that is over, with what was planned and what came
// of it, so that any simulator outside can referee the scheduler. Written behind the coordinator's back: a disk that
// cannot take it costs lines, which are counted and said, never a decision.

import { createWriteStream, type WriteStream } from 'node:fs';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { SwarmError } from '../protocol/errors.ts';
import type { Logger } from '../runtime/logger.ts';
import { splitStageId, type TracedAttempt } from './timeline.ts';

/** What waits for a slow disk before lines are dropped. */
const MAX_WAITING_BYTES = 8 * 1_024 * 1_024;

/** A line. Times are ms since 1970 by the coordinator's clock, durations ms. */
export type Decision = {
  readonly epoch: string;
  readonly job: string;
  readonly stage: string;
  /** Items from start up to, not including, end; `cutFrom` where a tail was taken back. */
  readonly start: number;
  readonly end: number;
  readonly cutFrom?: number;
  readonly peer: string;
  readonly why: string;
  readonly how: string;
  readonly planned: { readonly startAt: number; readonly runMs?: number };
  /** `runMs` as the peer reported it; it may have stood in the peer's queue before. */
  readonly real: { readonly endAt: number; readonly runMs?: number };
  readonly bytes?: number;
};

export class DecisionLog implements AsyncDisposable {
  readonly #stream: WriteStream;
  readonly #logger: Logger;
  #dropped = 0;
  #failed = false;

  /** Appends to `path`. Throws 'bad-input' when it cannot be written. */
  static async open(path: string, logger: Logger): Promise<DecisionLog> {
    try {
      const handle = await open(path, 'a', 0o600);
      await handle.close();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new SwarmError('bad-input', `the decision log ${path} cannot be written: ${reason}`, { cause });
    }
    return new DecisionLog(path, logger);
  }

  private constructor(path: string, logger: Logger) {
    this.#logger = logger;
    this.#stream = createWriteStream(path, { flags: 'a', mode: 0o600 });
    this.#stream.on('error', (err) => {
      this.#failed = true;
      logger.error({ err, path }, 'the decision log cannot be written any more; the swarm goes on without it');
    });
  }

  /** Must not throw: it hangs on the coordinator's loop. */
  add(attempt: TracedAttempt): void {
    if (this.#failed) return;
    if (this.#stream.writableLength > MAX_WAITING_BYTES) {
      this.#dropped++;
      return;
    }
    if (this.#dropped > 0) this.#logger.warn({ lines: this.#dropped }, 'the disk is too slow for the decision log');
    this.#dropped = 0;
    this.#stream.write(`${JSON.stringify(toDecision(attempt))}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#failed) return;
    this.#stream.end();
    await once(this.#stream, 'close');
  }
}

function toDecision({ started, end, ended }: TracedAttempt): Decision {
  const { epoch, stage, start, peer, why, at, expectedMs } = started;
  const bytes = ended?.sizeBytes;
  return {
    ...{ epoch, ...splitStageId(stage), start, end, ...(end < started.end && { cutFrom: started.end }) },
    ...{ peer, why, how: ended?.how ?? 'lost' },
    planned: { startAt: at, ...(expectedMs !== undefined && { runMs: expectedMs }) },
    real: { endAt: ended?.at ?? at, ...(ended?.durationMs !== undefined && { runMs: ended.durationMs }) },
    ...(bytes !== undefined && { bytes }),
  };
}
