// Owns what can happen to an agent, and what its shell must do about it.

import type { JobId, StageId } from '../../lib/ids.ts';
import type { Range } from '../../lib/range-set.ts';
import type { Telemetry } from '../../protocol/device.ts';
import type { ToAgent } from '../../protocol/to-agent.ts';
import type { Outcome, ToCoordinator } from '../../protocol/to-coordinator.ts';
import type { TaskId } from './state.ts';

export type AgentEventBody =
  /** The link is connected and authenticated. */
  | { readonly kind: 'link-up' }
  | { readonly kind: 'link-down' }
  | { readonly kind: 'received'; readonly message: ToAgent }
  /** The shell checked a spec: signature, signer's trust, models, limits. A refusal says why in plain words. */
  | { readonly kind: 'job-checked'; readonly job: JobId; readonly refusal?: string }
  | { readonly kind: 'task-progressed'; readonly task: TaskId; readonly cursor: number }
  /** A task that was asked for its tail does nothing from `end` on. */
  | { readonly kind: 'task-shrunk'; readonly task: TaskId; readonly end: number }
  /** The device is done with a task; its part is being stored. */
  | { readonly kind: 'task-computed'; readonly task: TaskId }
  | { readonly kind: 'task-ended'; readonly task: TaskId; readonly outcome: Outcome }
  | { readonly kind: 'heartbeat-due'; readonly telemetry?: Telemetry }
  /** The process is about to end: hand everything back, so that others need not wait until the lease is over. */
  | { readonly kind: 'stop' }
  /** Comes after the last event of a batch: start what can start, send what is to be sent. */
  | { readonly kind: 'flush' };

export type AgentEvent = AgentEventBody & { readonly at: number };

export type AgentEffect =
  | { readonly kind: 'send'; readonly message: ToCoordinator }
  | { readonly kind: 'close-link'; readonly retry: boolean; readonly reason: string }
  | { readonly kind: 'check-job'; readonly job: JobId; readonly envelope: string }
  /** No task of it is held, and a coordinator that has one will send the spec again. */
  | { readonly kind: 'forget-job'; readonly job: JobId }
  | {
      readonly kind: 'run-task';
      readonly task: TaskId;
      readonly job: JobId;
      readonly stage: StageId;
      readonly range: Range;
    }
  /** Stop a running or storing task; it still ends with an outcome. */
  | { readonly kind: 'stop-task'; readonly task: TaskId }
  /** Take the tail from `until` on back; answered by `task-shrunk` where that can be. */
  | { readonly kind: 'shrink-task'; readonly task: TaskId; readonly until: number }
  /** The coordinator said how often to send heartbeats. */
  | { readonly kind: 'set-heartbeat'; readonly heartbeatMs: number };
