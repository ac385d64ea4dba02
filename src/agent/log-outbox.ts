// Owns the lines of runners on their way to the coordinator: gathered for a moment, bounded, and counted where they had
// to be dropped because the link was down.

import type { JobId } from '../lib/ids.ts';
import { MAX_LOG_LINES, type ToCoordinator } from '../protocol/to-coordinator.ts';

const GATHER_MS = 300;
/** Lines that wait, of all jobs together. */
const MAX_WAITING = 1_000;
const MAX_LINE_CHARS = 1_000;

type LogMessage = Extract<ToCoordinator, { type: 'log' }>;
type Waiting = { readonly job: JobId; readonly stage: string; lines: string[]; dropped: number };

export class LogOutbox {
  readonly #send: (message: LogMessage) => void;
  readonly #isUp: () => boolean;
  readonly #byStage = new Map<string, Waiting>();
  #lines = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(send: (message: LogMessage) => void, isUp: () => boolean) {
    this.#send = send;
    this.#isUp = isUp;
  }

  add(job: JobId, stage: string, level: 'info' | 'warn' | 'error', text: string): void {
    const key = `${job}/${stage}`;
    const waiting = this.#byStage.get(key) ?? { job, stage, lines: [], dropped: 0 };
    this.#byStage.set(key, waiting);
    if (this.#lines >= MAX_WAITING) waiting.dropped++;
    else {
      this.#lines++;
      waiting.lines.push((level === 'info' ? text : `${level}: ${text}`).slice(0, MAX_LINE_CHARS));
    }
    this.#timer ??= setTimeout(() => this.flush(), GATHER_MS).unref();
  }

  /** Sends what waits if the link is up; to be called when it comes up. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#isUp()) return;
    for (const waiting of this.#byStage.values()) this.#sendLines(waiting);
    this.#byStage.clear();
    this.#lines = 0;
  }

  #sendLines({ job, stage, lines, dropped }: Waiting): void {
    if (dropped > 0) lines.push(`${dropped} lines were dropped while the coordinator was out of reach`);
    for (let i = 0; i < lines.length; i += MAX_LOG_LINES)
      this.#send({ type: 'log', job, stage, lines: lines.slice(i, i + MAX_LOG_LINES) });
  }
}
