// Owns Effect: what the shell must do once the changes of the same step are durable.

import type { PeerId } from '../lib/ids.ts';
import type { Result } from '../lib/result.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type { ToAgent } from '../protocol/to-agent.ts';
import type { RequestId } from './event.ts';
import type { TraceEntry } from './trace.ts';

export type Refusal = { readonly code: ErrorCode; readonly message: string };

export type Effect =
  | { readonly kind: 'send'; readonly peer: PeerId; readonly link: number; readonly message: ToAgent }
  /** `retry` says whether the agent should come back. */
  | {
      readonly kind: 'close-link';
      readonly peer: PeerId;
      readonly link: number;
      readonly reason: string;
      readonly retry: boolean;
    }
  | { readonly kind: 'reply'; readonly request: RequestId; readonly result: Result<ReplyValue, Refusal> }
  /** Something to tell those who watch; carries out nothing. */
  | { readonly kind: 'trace'; readonly entry: TraceEntry };

/** What a caller learns: the id it asked about and whether this call made a difference. */
export type ReplyValue = { readonly id: string; readonly changed: boolean };
