// Owns the table of everything that can happen to the coordinator. Each line is one kind of event; the function it
// calls lives with the record that it changes. Pure and synchronous: the same state and event give the same result.

import { assertNever } from '../lib/assert.ts';
import type { Change } from './change.ts';
import type { Effect } from './effect.ts';
import type { Event } from './event.ts';
import { onTasksCalledFor } from './dispatch.ts';
import { onJobCanceled, onJobPaused, onJobPrioritySet, onJobResumed, onJobSubmitted } from './job.ts';
import { onMemberEnrolled, onWeightSet } from './member.ts';
import { onHeartbeat, onLinkClosed, onLinkOpened, onPeerDrained, onShrunk, onTick } from './peer.ts';
import { onReported } from './report.ts';
import type { State } from './state.ts';
import { put, type Turn } from './turn.ts';

export type Step = { readonly changes: readonly Change[]; readonly effects: readonly Effect[] };

export function step(state: State, event: Event): Step {
  const turn: Turn = { state, at: event.at, changes: [], sums: new Map(), effects: [] };
  dispatch(turn, event);
  for (const record of turn.sums.values()) put(turn, record);
  return turn;
}

function dispatch(turn: Turn, event: Event): void {
  switch (event.kind) {
    case 'tick':
      return onTick(turn);
    case 'schedule':
      return onTasksCalledFor(turn);
    case 'member-enrolled':
      return onMemberEnrolled(turn, event);
    case 'weight-set':
      return onWeightSet(turn, event);
    case 'peer-drained':
      return onPeerDrained(turn, event);
    case 'link-opened':
      return onLinkOpened(turn, event);
    case 'link-closed':
      return onLinkClosed(turn, event);
    case 'heartbeat':
      return onHeartbeat(turn, event);
    case 'shrunk':
      return onShrunk(turn, event);
    case 'reported':
      return onReported(turn, event);
    case 'job-submitted':
      return onJobSubmitted(turn, event);
    case 'job-canceled':
      return onJobCanceled(turn, event);
    case 'job-paused':
      return onJobPaused(turn, event);
    case 'job-resumed':
      return onJobResumed(turn, event);
    case 'job-priority-set':
      return onJobPrioritySet(turn, event);
    default:
      return assertNever(event);
  }
}
