// Owns members and the use of invites. That the admin signed the invite, and the invite's key the joiner, was checked
// before the event; here stand the rules that need memory: how often an invite was used, and until when it holds.

import type { EventBody } from './event.ts';
import { toRecord } from './record.ts';
import type { InviteRecord } from './state.ts';
import { put, refuse, reply, type Turn } from './turn.ts';

type Enrolment = Extract<EventBody, { kind: 'member-enrolled' }>;

/** Enrols a key. Repeating an enrolment changes nothing, so that a joiner who lost the answer may ask again. */
export function onMemberEnrolled(turn: Turn, event: Enrolment): void {
  const { state, at } = turn;
  const known = state.members.get(event.key);
  if (known && known.role === event.role) return reply(turn, event.request, event.key, false);
  const isNewPeer = event.role === 'peer' && !state.peers.has(event.key);
  if (isNewPeer && state.peers.size >= state.limits.maxPeers)
    return refuse(turn, event.request, 'quota-exceeded', `the swarm has its ${state.limits.maxPeers} peers`);
  if (event.invite) {
    const refusal = useInvite(turn, event.invite, event.key);
    if (refusal) return refuse(turn, event.request, 'bad-invite', refusal);
  }
  const member = { id: event.key, name: event.name, role: event.role, joinedAt: at };
  state.members.set(member.id, member);
  put(turn, toRecord('member', member));
  if (isNewPeer) addPeer(turn, event);
  reply(turn, event.request, event.key, true);
}

/** Changes what somebody's share weighs. That it is a member, or the admin, was checked before. */
export function onWeightSet(
  turn: Turn,
  { submitter, weight, request }: Extract<EventBody, { kind: 'weight-set' }>,
): void {
  const { weights } = turn.state;
  const isChanged = (weights.get(submitter)?.weight ?? 1) !== weight;
  if (isChanged) {
    const record = { id: submitter, weight };
    weights.set(submitter, record);
    put(turn, toRecord('weight', record));
  }
  reply(turn, request, submitter, isChanged);
}

function addPeer(turn: Turn, event: Enrolment): void {
  const peer = { id: event.key, name: event.name, joinedAt: turn.at, drained: false };
  turn.state.peers.set(peer.id, peer);
  put(turn, toRecord('peer', peer));
}

/** Counts one use, or says why the invite no longer holds. */
function useInvite(turn: Turn, invite: NonNullable<Enrolment['invite']>, key: Enrolment['key']): string | undefined {
  const used: InviteRecord = turn.state.invites.get(invite.id) ?? { ...invite, usedBy: [] };
  if (turn.at > invite.expiresAt) return 'the invite has expired; ask for a new one (swarm invite)';
  // Else whoever was given another role since could go back to the one before.
  if (used.usedBy.includes(key)) return 'this key has used the invite before; ask for a new one (swarm invite)';
  if (used.usedBy.length >= invite.maxUses)
    return `the invite has been used ${used.usedBy.length} of ${invite.maxUses} times; ask for a new one (swarm invite)`;
  const record = { ...used, usedBy: [...used.usedBy, key] };
  turn.state.invites.set(record.id, record);
  put(turn, toRecord('invite', record));
  return undefined;
}
