// Owns Turn: one step in the making. Transition functions mutate the state's containers and add what must be written
// and what must then be done; nothing else leaves a step.

import type { PeerId } from '../lib/ids.ts';
import { err, ok } from '../lib/result.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type { ToAgent } from '../protocol/to-agent.ts';
import type { Change, StoredRecord } from './change.ts';
import type { Effect } from './effect.ts';
import type { RequestId } from './event.ts';
import type { State } from './state.ts';
import type { TraceEntry } from './trace.ts';

export type Turn = {
  readonly state: State;
  readonly at: number;
  readonly changes: Change[];
  /** Records that one step may change many times, by id: written once, at its end. */
  readonly sums: Map<string, StoredRecord>;
  readonly effects: Effect[];
};

export function put(turn: Turn, record: StoredRecord): void {
  turn.changes.push({ op: 'put', record });
}

/** Writes a record at the end of the step, as it is then. */
export function putOnce(turn: Turn, record: StoredRecord): void {
  turn.sums.set(record.id, record);
}

export function remove(turn: Turn, key: { readonly kind: string; readonly id: string }): void {
  turn.changes.push({ op: 'delete', kind: key.kind, id: key.id });
}

/** Sends to a peer over its present link; dropped when there is none, because its next hello settles everything. */
export function send(turn: Turn, peer: PeerId, message: ToAgent): void {
  const session = turn.state.sessions.get(peer);
  if (session?.connected) turn.effects.push({ kind: 'send', peer, link: session.link, message });
}

export function trace(turn: Turn, entry: TraceEntry): void {
  turn.effects.push({ kind: 'trace', entry });
}

export function reply(turn: Turn, request: RequestId, id: string, changed: boolean): void {
  turn.effects.push({ kind: 'reply', request, result: ok({ id, changed }) });
}

export function refuse(turn: Turn, request: RequestId, code: ErrorCode, message: string): void {
  turn.effects.push({ kind: 'reply', request, result: err({ code, message }) });
}
