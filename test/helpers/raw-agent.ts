// Owns an agent reduced to its WebSocket: shakes hands, sends what a test says and keeps what comes. Honest only as far
// as the test wants.

import { WebSocket } from 'ws';
import { decodeToAgent, encodeFrames } from '../../src/protocol/codec.ts';
import { proveClient, toClientHello, type ServerVerdict } from '../../src/protocol/handshake.ts';
import { drawNonce, webCryptoSignatures, type Signer } from '../../src/protocol/keys.ts';
import type { Membership } from '../../src/protocol/membership.ts';
import type { ToAgent } from '../../src/protocol/to-agent.ts';
import type { ToCoordinator } from '../../src/protocol/to-coordinator.ts';
import { PROTOCOL_VERSION } from '../../src/protocol/version.ts';
import type { KeyId } from '../../src/lib/ids.ts';
import { until } from './condition.ts';

type MessageOf<T extends ToAgent['type']> = Extract<ToAgent, { type: T }>;
export const HELLO: Extract<ToCoordinator, { type: 'hello' }> = {
  type: 'hello',
  protocol: PROTOCOL_VERSION,
  version: '0.0.0-test',
  name: 'raw',
  devices: [{ id: 'cpu', kind: 'cpu', name: 'test', memoryBytes: 8 * 1_024 ** 3, threads: 1 }],
  backlog: 64,
  attempts: [],
};

export class RawAgent implements AsyncDisposable {
  readonly socket: WebSocket;
  readonly received: ToAgent[] = [];
  verdict: ServerVerdict | undefined;
  closed: number | undefined;
  readonly #texts: string[] = [];
  #onFrames = false;

  constructor(url: string, headers: Record<string, string> = {}) {
    this.socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/agent`, { headers });
    this.socket.on('message', (data) => this.#onText((data as Buffer).toString('utf8')));
    this.socket.on('error', () => undefined);
    this.socket.on('close', (code) => (this.closed = code));
  }

  /** Connects and proves its key; the verdict is kept. */
  static async connect(
    url: string,
    swarm: KeyId,
    signer: Signer,
    membership?: Membership,
    changeHello: (hello: object) => object = (hello) => hello,
  ): Promise<RawAgent> {
    const agent = new RawAgent(url);
    await until('the socket to open', () => agent.socket.readyState === WebSocket.OPEN);
    const hello = toClientHello(signer.keyId, drawNonce(), membership);
    agent.socket.send(JSON.stringify(changeHello(hello)));
    const answer: unknown = JSON.parse(await agent.#text());
    if (typeof answer === 'object' && answer !== null && 'refusal' in answer) {
      agent.verdict = answer as ServerVerdict;
      return agent;
    }
    const channel = { purpose: 'agent', tlsPin: '' } as const;
    const proof = await proveClient(hello, answer, channel, signer, swarm, webCryptoSignatures);
    if (!proof.ok) throw new Error(proof.error);
    agent.socket.send(JSON.stringify(proof.value));
    agent.verdict = JSON.parse(await agent.#text()) as ServerVerdict;
    agent.#onFrames = true;
    for (const text of agent.#texts.splice(0)) agent.#onText(text);
    return agent;
  }

  send(...messages: ToCoordinator[]): void {
    for (const frame of encodeFrames(messages)) this.socket.send(frame);
  }

  /** The first message of a type, or the next after `skip` of them. */
  message<T extends ToAgent['type']>(type: T, skip = 0): Promise<MessageOf<T>> {
    const find = () => this.received.filter((message): message is MessageOf<T> => message.type === type)[skip];
    return until(`a ${type} message`, find, 10_000);
  }

  async ended(): Promise<number> {
    await until('the link to close', () => this.closed !== undefined, 10_000);
    return this.closed ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.terminate();
    await this.ended();
  }

  #text(): Promise<string> {
    return until('an answer', () => this.#texts.shift(), 10_000);
  }

  #onText(text: string): void {
    if (!this.#onFrames) return void this.#texts.push(text);
    const decoded = decodeToAgent(text);
    if (!decoded.ok) throw new Error(decoded.error);
    this.received.push(...decoded.value);
  }
}
