// Owns the WebSockets of agents: the handshake on each, frames in and out, and cutting off who floods us or does not
// read. What a message means is the core's; who may connect is the gatekeeper's.

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer, type RawData } from 'ws';
import type { PeerId } from '../lib/ids.ts';
import { decodeToCoordinator, encodeFrames, MAX_FRAME_BYTES } from '../protocol/codec.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { Telemetry } from '../protocol/device.ts';
import type { ServerVerdict } from '../protocol/handshake.ts';
import type { ToAgent } from '../protocol/to-agent.ts';
import type { ToCoordinator } from '../protocol/to-coordinator.ts';
import type { Logger } from '../runtime/logger.ts';
import type { Engine, LinkEffect } from './engine.ts';
import type { Gatekeeper } from './gatekeeper.ts';
import type { JobLogs } from './job-logs.ts';
import { AgentReports } from './agent-reports.ts';
import type { PartCheck } from './part-check.ts';
import { parseJson } from '../lib/json.ts';

const HANDSHAKE_MS = 10_000;
/** Connections that have not proved a key. One more ends the oldest, so that idle ones cannot keep agents out. */
const MAX_STRANGERS = 64;
/** What a stranger may send in all: the socket's own bound is for agents. */
const MAX_STRANGER_BYTES = 128 * 1_024;
/** An agent that lets so much pile up does not read: it is cut off, and its next hello settles what it missed. */
const MAX_BUFFERED_BYTES = 16 * 1_024 * 1_024;
const CLOSE_GRACE_MS = 2_000;

type Link = {
  readonly id: number;
  readonly peer: PeerId;
  readonly socket: WebSocket;
  readonly reports: AgentReports;
  outbox: ToAgent[];
  greeted: boolean;
  /** What still comes until the socket is down is not listened to. */
  closing: boolean;
};

export type AgentLinksOptions = {
  readonly logger: Logger;
  readonly logs: JobLogs;
};

export class AgentLinks {
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_FRAME_BYTES,
    perMessageDeflate: false,
    autoPong: false,
  });
  readonly #options: AgentLinksOptions;
  readonly #links = new Map<number, Link>();
  readonly #telemetry = new Map<PeerId, Telemetry>();
  readonly #strangers = new Set<Duplex>();
  #counter = 0;
  #stopping = false;

  constructor(options: AgentLinksOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#links.size;
  }

  /** What a peer last told of itself. */
  telemetryOf(peer: PeerId): Telemetry | undefined {
    return this.#telemetry.get(peer);
  }

  /** Takes an upgrade whose Host, Origin and path were checked. */
  accept(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    parts: { engine: Engine; gatekeeper: Gatekeeper; partCheck: PartCheck },
  ): void {
    if (this.#stopping) return void socket.destroy();
    const [oldest] = this.#strangers;
    if (oldest && this.#strangers.size >= MAX_STRANGERS) {
      oldest.destroy();
      this.#strangers.delete(oldest);
    }
    this.#strangers.add(socket);
    socket.once('close', () => this.#strangers.delete(socket));
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      const uncount = limitBytes(socket);
      void this.#receive(webSocket, parts).finally(() => {
        this.#strangers.delete(socket);
        uncount();
      });
    });
  }

  /** Carries out what the core decided about links; messages released together share a frame. */
  release(effects: readonly LinkEffect[]): void {
    const touched = new Set<Link>();
    for (const effect of effects) {
      const link = this.#links.get(effect.link);
      if (!link) continue;
      if (effect.kind === 'send') link.outbox.push(effect.message);
      else link.outbox.push({ type: 'goodbye', reason: effect.reason, retry: effect.retry });
      touched.add(link);
      if (effect.kind === 'close-link') this.#close(link);
    }
    for (const link of touched) this.#flush(link);
  }

  /** Says goodbye to all agents; they come back by themselves. Who has not proved a key is cut off. */
  stop(): void {
    this.#stopping = true;
    for (const socket of this.#strangers) socket.destroy();
    for (const link of this.#links.values()) {
      link.outbox.push({ type: 'goodbye', reason: 'the coordinator is stopping', retry: true });
      this.#close(link);
    }
    this.#server.close();
  }

  async #receive(
    socket: WebSocket,
    parts: { engine: Engine; gatekeeper: Gatekeeper; partCheck: PartCheck },
  ): Promise<void> {
    const texts = new TextQueue(socket);
    const timer = setTimeout(() => socket.terminate(), HANDSHAKE_MS);
    try {
      const peer = await shakeHands(socket, texts, parts);
      if (socket.readyState === WebSocket.OPEN) this.#open(socket, peer, texts, parts);
    } catch (error) {
      refuse(socket, error);
      this.#options.logger.warn({ reason: String(error) }, 'an agent was refused');
    } finally {
      clearTimeout(timer);
    }
  }

  #open(
    socket: WebSocket,
    peer: PeerId,
    texts: TextQueue,
    { engine, partCheck }: { engine: Engine; partCheck: PartCheck },
  ): void {
    const id = ++this.#counter;
    const reports = new AgentReports(peer, id, engine, partCheck, () =>
      this.#drop(link, 'the coordinator has too much to do'),
    );
    const link: Link = { id, peer, socket, reports, outbox: [], greeted: false, closing: false };
    this.#links.set(id, link);
    this.#options.logger.info({ peer, link: id }, 'an agent connected');
    socket.once('close', (code) => {
      this.#links.delete(id);
      engine.post({ kind: 'link-closed', peer, link: id });
      this.#options.logger.info({ peer, link: id, code }, 'an agent’s link closed');
    });
    texts.handOver((text) => this.#onText(engine, link, text));
  }

  #onText(engine: Engine, link: Link, text: string): void {
    if (link.closing) return;
    const decoded = decodeToCoordinator(text);
    if (!decoded.ok) return this.#drop(link, decoded.error);
    for (const message of decoded.value) if (!link.closing) this.#onMessage(engine, link, message);
  }

  #onMessage(engine: Engine, link: Link, message: ToCoordinator): void {
    const { peer, id } = link;
    if (link.greeted === (message.type === 'hello')) return this.#drop(link, `${message.type} came out of order`);
    let taken = true;
    switch (message.type) {
      case 'hello':
        link.greeted = true;
        taken = engine.post({ kind: 'link-opened', peer, link: id, hello: message });
        break;
      case 'heartbeat':
        if (message.telemetry) this.#telemetry.set(peer, message.telemetry);
        taken = engine.post({
          kind: 'heartbeat',
          peer,
          link: id,
          cursors: message.cursors,
          telemetry: message.telemetry,
        });
        break;
      case 'shrunk':
        taken = engine.post({ kind: 'shrunk', peer, link: id, tasks: message.tasks });
        break;
      case 'report':
        link.reports.take(message.reports);
        break;
      case 'log':
        this.#options.logs.append(engine, peer, message);
        break;
    }
    if (!taken) this.#drop(link, 'the coordinator has too much to do');
  }

  #flush(link: Link): void {
    const { socket, outbox } = link;
    link.outbox = [];
    if (socket.readyState !== WebSocket.OPEN || outbox.length === 0) return;
    if (socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      this.#options.logger.warn({ peer: link.peer, link: link.id }, 'an agent does not read what it is sent: cut off');
      return socket.terminate();
    }
    for (const frame of encodeFrames(outbox)) socket.send(frame);
  }

  /** The agent broke the protocol or the bounds: it is told and may come back. */
  #drop(link: Link, reason: string): void {
    if (link.closing) return;
    this.#options.logger.warn({ peer: link.peer, link: link.id, reason }, 'an agent’s link is dropped');
    link.outbox.push({ type: 'goodbye', reason: reason.slice(0, 2_000), retry: true });
    this.#close(link);
  }

  #close(link: Link): void {
    link.closing = true;
    this.#flush(link);
    this.#links.delete(link.id);
    link.socket.close(1_000);
    setTimeout(() => link.socket.terminate(), CLOSE_GRACE_MS).unref();
  }
}

/** hello → answer → proof → verdict; the proven peer. Throws why not. */
async function shakeHands(
  socket: WebSocket,
  texts: TextQueue,
  { engine, gatekeeper }: { engine: Engine; gatekeeper: Gatekeeper },
): Promise<PeerId> {
  const { answer, pending } = await gatekeeper.answer(parseJson(await texts.next()), 'agent');
  socket.send(JSON.stringify(answer));
  const caller = await gatekeeper.admit(pending, parseJson(await texts.next()));
  if (!engine.state.peers.has(caller.key))
    throw new SwarmError(
      'forbidden',
      `${caller.key} joined as ${caller.role}, not as a peer: ask for an invite with --role peer`,
    );
  const verdict: ServerVerdict = { v: 1 };
  socket.send(JSON.stringify(verdict));
  return caller.key;
}

function refuse(socket: WebSocket, error: unknown): void {
  const known = error instanceof SwarmError ? error : new SwarmError('internal', 'the handshake failed');
  const verdict: ServerVerdict = { v: 1, refusal: { code: known.code, message: known.message.slice(0, 4_000) } };
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(verdict));
  socket.close(1_008);
  setTimeout(() => socket.terminate(), CLOSE_GRACE_MS).unref();
}

/** Ends a socket that brings too much; returns what lifts the limit. */
function limitBytes(socket: Duplex): () => void {
  let receivedBytes = 0;
  const onData = (chunk: Buffer) => {
    receivedBytes += chunk.length;
    if (receivedBytes > MAX_STRANGER_BYTES) socket.destroy();
  };
  socket.on('data', onData);
  return () => socket.off('data', onData);
}

/** A stranger's texts one by one, bounded; afterwards all go to one listener, those that came meanwhile first. */
class TextQueue {
  readonly #socket: WebSocket;
  #texts: string[] = [];
  #waiting: { resolve: (text: string) => void; reject: (error: Error) => void } | undefined;
  #listener: ((text: string) => void) | undefined;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data, isBinary) => this.#onMessage(data, isBinary));
    socket.on('error', () => socket.terminate());
    // Answers to pings pile up like all else that is not read.
    socket.on('ping', (data) => {
      if (socket.bufferedAmount > MAX_BUFFERED_BYTES) socket.terminate();
      else if (socket.readyState === WebSocket.OPEN) socket.pong(data);
    });
    socket.once('close', () => this.#waiting?.reject(new SwarmError('unavailable', 'the agent hung up')));
  }

  next(): Promise<string> {
    const text = this.#texts.shift();
    if (text !== undefined) return Promise.resolve(text);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  handOver(listener: (text: string) => void): void {
    this.#listener = listener;
    for (const text of this.#texts.splice(0)) listener(text);
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    const isBuffer = Buffer.isBuffer(data);
    if (isBinary || !isBuffer || (!this.#listener && (data.length > MAX_HANDSHAKE_BYTES || this.#texts.length >= 16)))
      return this.#socket.terminate();
    const text = data.toString('utf8');
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (this.#listener) this.#listener(text);
    else if (waiting) waiting.resolve(text);
    else this.#texts.push(text);
  }
}

const MAX_HANDSHAKE_BYTES = 64 * 1_024;
