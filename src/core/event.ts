// Owns Event: everything that can happen to the coordinator. Ids, keys and checks of signatures come in with it;
// `at` is set by the loop and never goes back.

import type { JobId, KeyId, PeerId } from '../lib/ids.ts';
import type { Telemetry } from '../protocol/device.ts';
import type { JobSpec } from '../protocol/job-spec.ts';
import type { HeldAttempt, Hello, Report } from '../protocol/to-coordinator.ts';
import type { Role } from '../protocol/roster.ts';

/** Names the caller who waits for a reply. */
export type RequestId = number;

export type EventBody =
  | { readonly kind: 'tick' }
  /** Comes after the last event of a batch: hand out work. */
  | { readonly kind: 'schedule' }
  /** An admin's signature was checked: this key has this role. */
  | {
      readonly kind: 'member-enrolled';
      readonly request: RequestId;
      readonly key: KeyId;
      readonly name: string;
      readonly role: Role;
      readonly invite?: { readonly id: KeyId; readonly maxUses: number; readonly expiresAt: number };
    }
  /** How much of the swarm somebody gets beside the others; 1 unless set. */
  | { readonly kind: 'weight-set'; readonly request: RequestId; readonly submitter: KeyId; readonly weight: number }
  | { readonly kind: 'peer-drained'; readonly request: RequestId; readonly peer: PeerId; readonly drained: boolean }
  | { readonly kind: 'link-opened'; readonly peer: PeerId; readonly link: number; readonly hello: Hello }
  | { readonly kind: 'link-closed'; readonly peer: PeerId; readonly link: number }
  | {
      readonly kind: 'heartbeat';
      readonly peer: PeerId;
      readonly link: number;
      readonly cursors: readonly { readonly epoch: HeldAttempt['epoch']; readonly cursor: number }[];
      readonly telemetry?: Telemetry | undefined;
    }
  | {
      readonly kind: 'shrunk';
      readonly peer: PeerId;
      readonly link: number;
      readonly tasks: readonly { readonly epoch: HeldAttempt['epoch']; readonly end: number }[];
    }
  | { readonly kind: 'reported'; readonly peer: PeerId; readonly link: number; readonly reports: readonly Report[] }
  | {
      readonly kind: 'job-submitted';
      readonly request: RequestId;
      readonly jobId: JobId;
      readonly submitter: KeyId;
      readonly spec: JobSpec;
      readonly envelope: string;
    }
  | { readonly kind: 'job-canceled'; readonly request: RequestId; readonly jobId: JobId; readonly by: KeyId }
  | { readonly kind: 'job-paused'; readonly request: RequestId; readonly jobId: JobId; readonly by: KeyId }
  | { readonly kind: 'job-resumed'; readonly request: RequestId; readonly jobId: JobId; readonly by: KeyId }
  | {
      readonly kind: 'job-priority-set';
      readonly request: RequestId;
      readonly jobId: JobId;
      readonly priority: number;
    };

export type Event = EventBody & { readonly at: number };
