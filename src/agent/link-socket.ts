// Owns one WebSocket to a coordinator up to the verdict: connecting by the pinned key, the handshake, and texts in
// order. Does not reconnect and does not know what the frames mean that follow.

import { WebSocket, type RawData } from 'ws';
import type { PinnedAgent } from '../identity/pinned-agent.ts';
import type { KeyId } from '../lib/ids.ts';
import { MAX_FRAME_BYTES } from '../protocol/codec.ts';
import { SwarmError } from '../protocol/errors.ts';
import { proveClient, serverVerdictSchema, toClientHello, type ServerVerdict } from '../protocol/handshake.ts';
import { AGENT_PATH } from '../protocol/http.ts';
import { drawNonce, webCryptoSignatures, type Signer } from '../protocol/keys.ts';
import type { Membership } from '../protocol/membership.ts';
import type { Endpoint } from './endpoints.ts';
import { parseJson } from '../lib/json.ts';

/** Connecting and shaking hands together. */
const OPEN_MS = 15_000;
/** Texts that may wait for a reader: during the handshake there is never more than one. */
const MAX_WAITING = 16;

export type LinkIdentity = {
  readonly signer: Signer;
  readonly swarm: KeyId;
  readonly membership: Membership | undefined;
};

/** The coordinator proved itself and said no. */
export class LinkRefused extends Error {
  override readonly name = 'LinkRefused';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Connects and shakes hands. Throws LinkRefused for the coordinator's no, and whatever else was in the way. */
export async function openLinkSocket(
  endpoint: Endpoint,
  identity: LinkIdentity,
  agent: PinnedAgent | undefined,
  signal: AbortSignal,
): Promise<LinkSocket> {
  const link = new LinkSocket(endpoint, agent);
  const giveUp = () => link.socket.terminate();
  const timer = setTimeout(giveUp, OPEN_MS);
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    await link.opened;
    await shakeHands(link, endpoint, identity);
    return link;
  } catch (error) {
    giveUp();
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', giveUp);
  }
}

async function shakeHands(link: LinkSocket, { tlsPin = '' }: Endpoint, identity: LinkIdentity): Promise<void> {
  const { signer, swarm, membership } = identity;
  const hello = toClientHello(signer.keyId, drawNonce(), membership);
  link.socket.send(JSON.stringify(hello));
  const answer = parseJson(await link.next());
  throwIfRefused(toVerdict(answer));
  const proof = await proveClient(hello, answer, { purpose: 'agent', tlsPin }, signer, swarm, webCryptoSignatures);
  if (!proof.ok) throw new SwarmError('unauthenticated', proof.error);
  link.socket.send(JSON.stringify(proof.value));
  const verdict = toVerdict(parseJson(await link.next()));
  if (!verdict) throw new SwarmError('unavailable', 'the coordinator did not end the handshake');
  throwIfRefused(verdict);
}

function throwIfRefused(verdict: ServerVerdict | undefined): void {
  if (verdict?.refusal) throw new LinkRefused(verdict.refusal.code, verdict.refusal.message);
}

function toVerdict(value: unknown): ServerVerdict | undefined {
  return serverVerdictSchema.safeParse(value).data;
}

/** A WebSocket whose texts are taken one by one, and later all by one listener, those that came meanwhile first. */
export class LinkSocket {
  readonly socket: WebSocket;
  readonly opened: Promise<void>;
  /** Resolves when it is gone, with what was in the way if anything was. */
  readonly closed: Promise<string>;
  #texts: string[] = [];
  #waiting: { resolve: (text: string) => void; reject: (error: Error) => void } | undefined;
  #listener: ((text: string) => void) | undefined;
  #onHeard: () => void = () => {};

  constructor({ url }: Endpoint, agent: PinnedAgent | undefined) {
    this.socket = new WebSocket(`${url.replace(/^http/, 'ws')}${AGENT_PATH}`, {
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
      handshakeTimeout: OPEN_MS,
      ...(agent && { agent }),
    });
    this.opened = new Promise((resolve, reject) => {
      this.socket.once('open', resolve);
      this.socket.once('error', reject);
    });
    this.opened.catch(() => {});
    this.closed = this.#awaitClose(url);
    this.socket.on('message', (data, isBinary) => this.#onMessage(data, isBinary));
    this.socket.on('pong', () => this.#onHeard());
    this.socket.on('ping', () => this.#onHeard());
  }

  next(): Promise<string> {
    const text = this.#texts.shift();
    if (text !== undefined) return Promise.resolve(text);
    if (this.socket.readyState !== this.socket.OPEN) return Promise.reject(new SwarmError('unavailable', 'it hung up'));
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** `onHeard` is called for every sign of life. */
  handOver(listener: (text: string) => void, onHeard: () => void): void {
    this.#listener = listener;
    this.#onHeard = onHeard;
    for (const text of this.#texts.splice(0)) listener(text);
  }

  #awaitClose(url: string): Promise<string> {
    let trouble = '';
    this.socket.on('error', (error) => (trouble ||= error.message));
    return new Promise((resolve) => {
      this.socket.once('close', (code) => {
        const reason = trouble || `the connection to ${url} ended (${code})`;
        this.#waiting?.reject(new SwarmError('unavailable', reason));
        resolve(reason);
      });
    });
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    this.#onHeard();
    if (isBinary || !Buffer.isBuffer(data) || this.#texts.length >= MAX_WAITING) return this.socket.terminate();
    const text = data.toString('utf8');
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (this.#listener) this.#listener(text);
    else if (waiting) waiting.resolve(text);
    else this.#texts.push(text);
  }
}
