// Owns peers and their links: hello, heartbeat, silence, drain. A link that breaks loses nothing at once: the lease
// runs on, and the peer's next hello says what it still holds. Knows nothing of sockets.

import type { Verdict } from '../protocol/to-agent.ts';
import { PROTOCOL_VERSION } from '../protocol/version.ts';
import { adoptAttempt, loseAttempt } from './attempt.ts';
import type { EventBody } from './event.ts';
import { toRecord } from './record.ts';
import { moveCursor, touchSession } from './session.ts';
import type { Session } from './state.ts';
import { put, refuse, reply, send, type Turn } from './turn.ts';

type EventOf<K extends EventBody['kind']> = Extract<EventBody, { kind: K }>;

/** A peer came, or came back: what it holds is kept, adopted or fenced, and what it no longer holds is given up. */
export function onLinkOpened(turn: Turn, event: EventOf<'link-opened'>): void {
  const { state, at } = turn;
  const { peer, link, hello } = event;
  const before = state.sessions.get(peer);
  if (before?.connected) closeLink(turn, before, 'another agent connected with the key of this machine', false);
  const session: Session = {
    peer,
    link,
    devices: hello.devices,
    backlog: hello.backlog,
    version: hello.version,
    ...(hello.sandbox !== undefined && { sandbox: hello.sandbox }),
    lastSeenAt: at,
    connected: true,
    attempts: before?.attempts ?? new Set(),
    load: before?.load ?? new Map(),
    knownJobs: new Set(),
  };
  state.sessions.set(peer, session);
  const held = new Set(hello.attempts.map((attempt) => attempt.epoch));
  for (const epoch of session.attempts) if (!held.has(epoch)) loseAttempt(turn, epoch);
  const verdicts = hello.attempts.map((attempt): Verdict => {
    const known = state.attempts.get(attempt.epoch);
    if (known?.peer === peer)
      return known.canceled ? { kind: 'drop', epoch: attempt.epoch } : { kind: 'keep', epoch: attempt.epoch };
    return adoptAttempt(turn, peer, attempt);
  });
  for (const verdict of verdicts) if (verdict.kind === 'drop') loseAttempt(turn, verdict.epoch, peer);
  const { heartbeatMs, leaseMs } = state.limits;
  send(turn, peer, { type: 'welcome', protocol: PROTOCOL_VERSION, heartbeatMs, leaseMs, verdicts });
}

/** The connection is down; the lease runs on from when the peer was last heard. */
export function onLinkClosed(turn: Turn, event: EventOf<'link-closed'>): void {
  const session = turn.state.sessions.get(event.peer);
  if (session?.link !== event.link) return;
  turn.state.sessions.set(event.peer, { ...session, connected: false });
}

export function onHeartbeat(turn: Turn, event: EventOf<'heartbeat'>): void {
  if (!touchSession(turn, event.peer, event.link)) return;
  for (const { epoch, cursor } of event.cursors) moveCursor(turn, event.peer, epoch, cursor);
}

/** Gives up the work of peers that have been silent for a lease. */
export function onTick(turn: Turn): void {
  for (const session of turn.state.sessions.values()) {
    if (turn.at - session.lastSeenAt <= turn.state.limits.leaseMs) continue;
    for (const epoch of session.attempts) loseAttempt(turn, epoch);
    if (session.connected) closeLink(turn, session, `nothing was heard for ${turn.state.limits.leaseMs} ms`, true);
    turn.state.sessions.delete(session.peer);
  }
}

export function onPeerDrained(turn: Turn, event: EventOf<'peer-drained'>): void {
  const peer = turn.state.peers.get(event.peer);
  if (!peer) return refuse(turn, event.request, 'not-found', `there is no peer ${event.peer}; swarm peers lists them`);
  const changed = peer.drained !== event.drained;
  if (changed) {
    const record = { ...peer, drained: event.drained };
    turn.state.peers.set(peer.id, record);
    put(turn, toRecord('peer', record));
  }
  reply(turn, event.request, peer.id, changed);
}

function closeLink(turn: Turn, session: Session, reason: string, retry: boolean): void {
  turn.effects.push({ kind: 'close-link', peer: session.peer, link: session.link, reason, retry });
}
