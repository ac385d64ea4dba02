// Owns peers and their links: hello, heartbeat, silence, drain. A link that breaks loses nothing at once: the lease
// runs on, and the peer's next hello says what it still holds. Knows nothing of sockets.

import type { Telemetry } from '../protocol/device.ts';
import type { Verdict } from '../protocol/to-agent.ts';
import { PROTOCOL_VERSION } from '../protocol/version.ts';
import { adoptAttempt, loseAttempt, setAttempt } from './attempt.ts';
import type { EventBody } from './event.ts';
import { toRecord } from './record.ts';
import { noteLeave, notePresence } from './presence.ts';
import { deviceLogSlowness } from './schedule/device-table.ts';
import { keepAttempt, moveCursor, takeBoundary, touchSession } from './session.ts';
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
    protocol: hello.protocol,
    labels: hello.labels ?? [],
    ...(hello.owner !== undefined && { owner: hello.owner }),
    logSlowness: Math.min(...hello.devices.map(deviceLogSlowness)),
    warm: before?.warm ?? new Map(),
    headSince: before?.headSince ?? at,
    presentSince: before?.presentSince ?? at,
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
      return { kind: keepAttempt(turn, attempt.epoch, attempt.end) ? 'keep' : 'drop', epoch: attempt.epoch };
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
  const session = touchSession(turn, event.peer, event.link);
  if (!session) return;
  for (const { epoch, cursor } of event.cursors) moveCursor(turn, event.peer, epoch, cursor);
  if (event.telemetry) turn.state.sessions.set(event.peer, { ...session, ...toRoom(session, event.telemetry) });
}

/** What is free on the device with the most memory, and on the disk, as far as the peer tells. */
function toRoom({ devices }: Session, telemetry: Telemetry): Pick<Session, 'freeMemoryBytes' | 'freeDiskBytes'> {
  const [largest] = devices.toSorted((a, b) => b.memoryBytes - a.memoryBytes);
  const usedBytes = telemetry.devices.find(({ id }) => id === largest?.id)?.usedMemoryBytes;
  const ofDevice = largest && usedBytes !== undefined ? Math.max(0, largest.memoryBytes - usedBytes) : undefined;
  const freeMemoryBytes = largest?.kind === 'cpu' ? telemetry.freeMemoryBytes : ofDevice;
  const { freeDiskBytes } = telemetry;
  return {
    ...(freeMemoryBytes !== undefined && { freeMemoryBytes }),
    ...(freeDiskBytes !== undefined && { freeDiskBytes }),
  };
}

/** A peer keeps to a boundary: what lies behind it is free for others. */
export function onShrunk(turn: Turn, event: EventOf<'shrunk'>): void {
  if (!touchSession(turn, event.peer, event.link)) return;
  for (const { epoch, end } of event.tasks) takeBoundary(turn, event.peer, epoch, end);
}

/** Gives up the work of peers that have been silent for a lease, and on answers that do not come. */
export function onTick(turn: Turn): void {
  forgetUnanswered(turn);
  for (const session of turn.state.sessions.values()) {
    if (turn.at - session.lastSeenAt <= turn.state.limits.leaseMs) {
      notePresence(turn, session);
      continue;
    }
    noteLeave(turn, session);
    for (const epoch of session.attempts) loseAttempt(turn, epoch);
    if (session.connected) closeLink(turn, session, `nothing was heard for ${turn.state.limits.leaseMs} ms`, true);
    turn.state.sessions.delete(session.peer);
  }
}

/** A request to shrink that is not answered may be made again. */
function forgetUnanswered({ state, at }: Turn): void {
  for (const epoch of state.shrinking) {
    const attempt = state.attempts.get(epoch);
    if (attempt?.shrink && at - attempt.shrink.at <= state.limits.leaseMs) continue;
    state.shrinking.delete(epoch);
    if (!attempt) continue;
    const { shrink: _, ...kept } = attempt;
    setAttempt(state, kept);
  }
}

/** Drains a peer or gives it work again; by hand, which also ends a quarantine. */
export function onPeerDrained(turn: Turn, event: EventOf<'peer-drained'>): void {
  const peer = turn.state.peers.get(event.peer);
  if (!peer) return refuse(turn, event.request, 'not-found', `there is no peer ${event.peer}; swarm peers lists them`);
  const isReleased = !event.drained && turn.state.health.delete(peer.id);
  const isSwitched = peer.drained !== event.drained;
  if (isSwitched) {
    const record = { ...peer, drained: event.drained };
    turn.state.peers.set(peer.id, record);
    put(turn, toRecord('peer', record));
  }
  reply(turn, event.request, peer.id, isSwitched || isReleased);
}

function closeLink(turn: Turn, session: Session, reason: string, retry: boolean): void {
  turn.effects.push({ kind: 'close-link', peer: session.peer, link: session.link, reason, retry });
}
