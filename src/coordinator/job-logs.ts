// Owns the last lines that runners wrote, by job. In memory only: bounded in lines, in jobs and in all, gone after a
// restart.

import type { JobId, PeerId } from '../lib/ids.ts';
import type { ToCoordinator } from '../protocol/to-coordinator.ts';
import type { LogLine } from '../protocol/views.ts';
import type { Engine } from './engine.ts';

const MAX_LINES = 1_000;
const MAX_JOBS = 200;
const MAX_CHARS = 16 * 1_024 * 1_024;
/** What a line takes besides its text, about. */
const LINE_CHARS = 100;

type LogMessage = Extract<ToCoordinator, { type: 'log' }>;
type Kept = { readonly lines: LogLine[]; next: number; chars: number };

export class JobLogs {
  /** The job that wrote last stands at the end. */
  readonly #jobs = new Map<JobId, Kept>();
  #chars = 0;

  append(engine: Engine, peer: PeerId, { job, stage, lines }: LogMessage): void {
    const { state } = engine;
    if (!state.jobs.has(job)) return;
    const kept = this.#jobs.get(job) ?? { lines: [], next: 0, chars: 0 };
    this.#jobs.delete(job);
    this.#jobs.set(job, kept);
    const name = state.peers.get(peer)?.name ?? 'unknown';
    const at = engine.now();
    for (const text of lines) kept.lines.push({ seq: kept.next++, at, peer, name, stage, text });
    const forgotten = kept.lines.splice(0, kept.lines.length - MAX_LINES);
    const grownChars = sumChars(lines) - sumChars(forgotten.map(({ text }) => text));
    kept.chars += grownChars;
    this.#chars += grownChars;
    this.#forgetOldest();
  }

  #forgetOldest(): void {
    for (const [oldest, { chars }] of this.#jobs) {
      if (this.#jobs.size <= MAX_JOBS && this.#chars <= MAX_CHARS) return;
      this.#jobs.delete(oldest);
      this.#chars -= chars;
    }
  }

  /** Lines from a sequence number on, and where to go on. A number beyond the last is from before a restart. */
  read(job: JobId, from: number, limit: number): { lines: LogLine[]; next: number } {
    const { lines: all, next } = this.#jobs.get(job) ?? { lines: [], next: 0 };
    const lines = all.filter(({ seq }) => from > next || seq >= from).slice(0, limit);
    return { lines, next: (lines.at(-1)?.seq ?? next - 1) + 1 };
  }
}

function sumChars(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + text.length + LINE_CHARS, 0);
}
