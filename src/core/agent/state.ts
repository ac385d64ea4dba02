// Owns the shape of an agent's state: what it holds, how far each attempt is, and which specs it has checked.
// None of it is durable: after a crash the agent says hello with nothing, and its ranges are handed out again.

import type { Epoch, JobId, KeyId, StageId } from '../../lib/ids.ts';
import type { Range } from '../../lib/range-set.ts';
import type { Device } from '../../protocol/device.ts';
import type { Outcome } from '../../protocol/to-coordinator.ts';

export type AttemptStatus =
  /** Waits for its turn, or for the check of its job's spec. */
  | { readonly kind: 'queued' }
  | { readonly kind: 'running' }
  /** Computed; its part is on the way to where results are kept. The device is free for the next. */
  | { readonly kind: 'storing' }
  /** `sent` over the present link and not yet acknowledged. */
  | { readonly kind: 'ended'; readonly outcome: Outcome; readonly sent: boolean };

/** `id` never changes and names the work to the shell; `epoch` is what the coordinator calls it, and may. */
export type HeldTask = Range & {
  readonly id: TaskId;
  readonly epoch: Epoch;
  readonly stage: StageId;
  readonly jobId: JobId;
  readonly cursor: number;
  /** The coordinator no longer wants it: its shell has been asked to stop. */
  readonly stopping: boolean;
  readonly status: AttemptStatus;
};

/** The agent's own counter. */
export type TaskId = number;

export type JobCheck =
  | { readonly kind: 'checking' }
  | { readonly kind: 'accepted' }
  | { readonly kind: 'refused'; readonly reason: string };

export type AgentLink =
  | { readonly kind: 'down' }
  /** Connected; hello is sent, the welcome is not here. */
  | { readonly kind: 'greeting' }
  | { readonly kind: 'up' };

export type AgentConfig = {
  readonly name: string;
  readonly version: string;
  /** What holds the runners, shown in `swarm peers`. */
  readonly sandbox?: string;
  readonly devices: readonly Device[];
  /** What its owner says of it, and the key of that person. */
  readonly labels?: readonly string[];
  readonly owner?: KeyId;
  readonly backlog: number;
  /** Tasks that may run at once: compute, or be made ready to. */
  readonly slots: number;
};

export type AgentState = {
  readonly config: AgentConfig;
  link: AgentLink;
  /** The process is about to end: no task starts any more, and what comes is handed back. */
  stopping: boolean;
  taskCounter: TaskId;
  /** In the order in which they came. */
  readonly tasks: Map<TaskId, HeldTask>;
  readonly byEpoch: Map<Epoch, TaskId>;
  /** Queued, in order; looked at from the front. */
  readonly queue: Set<TaskId>;
  readonly running: Set<TaskId>;
  /** Ended and not sent over the present link. */
  readonly unsent: Set<TaskId>;
  /** Tasks whose cursor moved since the last heartbeat. */
  readonly moved: Set<TaskId>;
  readonly jobs: Map<JobId, JobCheck>;
};

export function createAgentState(config: AgentConfig): AgentState {
  return {
    config,
    link: { kind: 'down' },
    stopping: false,
    taskCounter: 0,
    tasks: new Map(),
    byEpoch: new Map(),
    queue: new Set(),
    running: new Set(),
    unsent: new Set(),
    moved: new Set(),
    jobs: new Map(),
  };
}
