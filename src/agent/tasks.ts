// Owns the tasks under way: each is begun once, can be stopped until it has ended, and ends with exactly one outcome.
// How a task is carried out is task-run's.

import type { AgentEffect, AgentEventBody } from '../core/agent/event.ts';
import type { TaskId } from '../core/agent/state.ts';
import type { Outcome } from '../protocol/to-coordinator.ts';
import type { JobBook } from './jobs.ts';
import { carryOutTask, type Tail, type TaskTools } from './task-run.ts';

/** Durations are of use only when they are more than nothing. */
const LEAST_DURATION_MS = 0.001;

export class Tasks {
  readonly #jobs: JobBook;
  readonly #tools: TaskTools;
  readonly #post: (event: AgentEventBody) => void;
  readonly #stops = new Map<TaskId, AbortController>();
  readonly #tails = new Map<TaskId, Tail>();
  readonly #running = new Set<Promise<void>>();

  constructor(jobs: JobBook, tools: TaskTools, post: (event: AgentEventBody) => void) {
    this.#jobs = jobs;
    this.#tools = tools;
    this.#post = post;
  }

  run({ task, stage: stageId, range }: Extract<AgentEffect, { kind: 'run-task' }>): void {
    const startedAt = performance.now();
    const stage = this.#jobs.get(stageId);
    if (stage === undefined)
      return this.#end(task, { kind: 'failed', scope: 'task', reason: `the spec of ${stageId} is not here any more` });
    if (stage.isInstant) {
      const durationMs = Math.max(LEAST_DURATION_MS, performance.now() - startedAt);
      return this.#end(task, { kind: 'done', durationMs, provider: 'cpu' });
    }
    const stop = new AbortController();
    this.#stops.set(task, stop);
    const onComputed = () => this.#post({ kind: 'task-computed', task });
    const onProgress = (cursor: number) => this.#post({ kind: 'task-progressed', task, cursor });
    const onShrunk = (end: number) => this.#post({ kind: 'task-shrunk', task, end });
    const tail: Tail = { end: range.end, shrink: undefined, begun: false };
    if (stage.spec.items.kind !== 'parts') this.#tails.set(task, tail);
    const order = { task, stage, range, tail, signal: stop.signal, onComputed, onProgress, onShrunk };
    const running = carryOutTask(order, this.#tools).then((outcome) => {
      this.#running.delete(running);
      this.#end(task, outcome);
    });
    this.#running.add(running);
  }

  /** Asks a task to stop; it still ends with an outcome. */
  stop(task: TaskId): void {
    this.#stops.get(task)?.abort();
  }

  /** Takes the tail of a task back, as far as it has not begun; the core is told where it stops. */
  shrink(task: TaskId, until: number): void {
    const tail = this.#tails.get(task);
    if (!tail || until >= tail.end) return;
    if (tail.begun) return tail.shrink?.(until);
    tail.end = until;
    this.#post({ kind: 'task-shrunk', task, end: until });
  }

  /** Stops all and resolves when the last has ended. */
  async close(): Promise<void> {
    for (const stop of this.#stops.values()) stop.abort();
    await Promise.all(this.#running);
  }

  #end(task: TaskId, outcome: Outcome): void {
    this.#stops.delete(task);
    this.#tails.delete(task);
    this.#post({ kind: 'task-ended', task, outcome });
  }
}
