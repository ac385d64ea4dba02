// Owns TraceEntry: the life of attempts as the core sees it, told as it happens. For timelines, decision logs and
// replays; never journaled, and nothing is decided by it.

import type { Epoch, PeerId, StageId } from '../lib/ids.ts';

/** Why a range was handed out. */
export type StartReason = 'fresh' | 'retry' | 'stolen' | 'backup' | 'adopted';

/** What became of an attempt. `stopped`: it was asked to; `returned`: it gave the range back; `lost`: its peer is gone. */
export type AttemptEnd = 'accepted' | 'duplicate' | 'failed' | 'returned' | 'stopped' | 'lost';

export type TraceEntry =
  | {
      readonly kind: 'started';
      readonly at: number;
      readonly epoch: Epoch;
      readonly stage: StageId;
      readonly peer: PeerId;
      readonly start: number;
      readonly end: number;
      readonly why: StartReason;
      /** What the plan expected when it handed the range out; absent where nothing was known. */
      readonly expectedMs?: number;
    }
  /** The tail from `end` on was taken back. */
  | { readonly kind: 'shrunk'; readonly at: number; readonly epoch: Epoch; readonly end: number }
  | {
      readonly kind: 'ended';
      readonly at: number;
      readonly epoch: Epoch;
      readonly how: AttemptEnd;
      /** Running time as the peer reported it. */
      readonly durationMs?: number;
      readonly sizeBytes?: number;
      readonly reason?: string;
    };
