// Owns a coordinator reduced to the WebSocket of agents: it shakes hands, keeps what agents send, and says what a test
// says, garbage included. Knows no scheduling.

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import type { JobId, KeyId } from '../../src/lib/ids.ts';
import { decodeToCoordinator, encodeFrames } from '../../src/protocol/codec.ts';
import { signEnvelope } from '../../src/protocol/dsse.ts';
import { acceptProof, answerHello, clientHelloSchema } from '../../src/protocol/handshake.ts';
import { JOB_SPEC_TYPE, jobSpecSchema, type JobSpecInput } from '../../src/protocol/job-spec.ts';
import { drawNonce, generateKey, webCryptoSignatures, type Signer } from '../../src/protocol/keys.ts';
import { openSubmission } from '../../src/protocol/submission.ts';
import type { AssignedTask, ToAgent, Verdict } from '../../src/protocol/to-agent.ts';
import type { Outcome, ToCoordinator } from '../../src/protocol/to-coordinator.ts';
import { until } from './condition.ts';

type MessageOf<T extends ToCoordinator['type']> = Extract<ToCoordinator, { type: T }>;
export type Refusal = { readonly code: string; readonly message: string; readonly atHello?: boolean };

export class FakeLink {
  readonly socket: WebSocket;
  readonly received: ToCoordinator[] = [];
  closed = false;
  /** Plays dead: pings stay without an answer. */
  isDeaf = false;
  pings = 0;
  peer: KeyId | undefined;
  /** Set once the handshake is over. */
  onFrames = false;
  readonly texts: string[] = [];

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('close', () => (this.closed = true));
    socket.on('ping', () => {
      this.pings++;
      if (!this.isDeaf) socket.pong();
    });
    socket.on('message', (data) => this.#onText((data as Buffer).toString('utf8')));
  }

  send(...messages: ToAgent[]): void {
    for (const frame of encodeFrames(messages)) this.socket.send(frame);
  }

  welcome(heartbeatMs = 5_000, verdicts: Verdict[] = []): void {
    this.send({ type: 'welcome', protocol: 1, heartbeatMs, leaseMs: 60_000, verdicts });
  }

  assign(...tasks: AssignedTask[]): void {
    this.send({ type: 'assign', tasks });
  }

  /** The first message of a type, or the next after `skip` of them. */
  message<T extends ToCoordinator['type']>(type: T, skip = 0): Promise<MessageOf<T>> {
    return until(`a ${type} message`, () => this.#of(type)[skip], 20_000);
  }

  /** What became of an attempt. */
  outcome(epoch: string): Promise<Outcome> {
    const find = () => this.#of('report').flatMap(({ reports }) => reports.filter((report) => report.epoch === epoch));
    return until(`a report of ${epoch}`, () => find()[0]?.outcome, 30_000);
  }

  async ended(): Promise<void> {
    await until('the link to end', () => this.closed, 20_000);
  }

  async text(): Promise<unknown> {
    return JSON.parse(await until('a text', () => this.texts.shift(), 10_000));
  }

  #of<T extends ToCoordinator['type']>(type: T): MessageOf<T>[] {
    return this.received.filter((message): message is MessageOf<T> => message.type === type);
  }

  #onText(text: string): void {
    if (!this.onFrames) return void this.texts.push(text);
    const decoded = decodeToCoordinator(text);
    if (!decoded.ok) throw new Error(decoded.error);
    this.received.push(...decoded.value);
  }
}

export class FakeCoordinator implements AsyncDisposable {
  readonly admin: Signer;
  readonly links: FakeLink[] = [];
  /** Said to agents that connect from now on. */
  refusal: Refusal | undefined;
  readonly #key: Signer;
  readonly #server: Server;
  #jobs = 0;

  private constructor(admin: Signer, key: Signer, server: Server) {
    this.admin = admin;
    this.#key = key;
    this.#server = server;
    const sockets = new WebSocketServer({ server, path: '/v1/agent', autoPong: false });
    sockets.on('connection', (socket) => void this.#receive(new FakeLink(socket)).catch(() => socket.terminate()));
  }

  static async start(): Promise<FakeCoordinator> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new FakeCoordinator((await generateKey()).signer, (await generateKey()).signer, server);
  }

  get swarm(): KeyId {
    return this.#key.keyId;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The agent's n-th link, once it said hello. */
  async link(index = 0): Promise<FakeLink> {
    const link = await until(`link ${index}`, () => this.links[index], 20_000);
    await link.message('hello');
    return link;
  }

  /** A job of one stage, signed by the admin unless told otherwise. */
  async job(
    stage: Partial<JobSpecInput['stages'][number]>,
    signer = this.admin,
    swarm = this.swarm,
  ): Promise<{
    message: Extract<ToAgent, { type: 'job' }>;
    task: (epoch: string, start: number, end: number) => AssignedTask;
  }> {
    const stages = [{ name: 'map', workload: 'noop', items: { kind: 'count', count: 1_000 }, ...stage }];
    const spec = jobSpecSchema.parse({ v: 1, swarm, clientKey: `key-${++this.#jobs}`, name: 'test', stages });
    const envelope = JSON.stringify({ envelope: await signEnvelope(JOB_SPEC_TYPE, spec, signer) });
    const opened = await openSubmission(envelope, webCryptoSignatures);
    if (!opened.ok) throw new Error(opened.error);
    const job: JobId = opened.value.jobId;
    const task = (epoch: string, start: number, end: number) =>
      ({ epoch, stage: `${job}/map`, start, end }) as AssignedTask;
    return { message: { type: 'job', job, envelope }, task };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.links) socket.terminate();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #receive(link: FakeLink): Promise<void> {
    this.links.push(link);
    const refused = this.refusal && JSON.stringify({ v: 1, refusal: { ...this.refusal, atHello: undefined } });
    const hello = clientHelloSchema.parse(await link.text());
    if (refused !== undefined && this.refusal?.atHello) return link.socket.send(refused);
    const channel = { purpose: 'agent', tlsPin: '' } as const;
    const { answer, pending } = await answerHello(hello, channel, this.#key, drawNonce(), webCryptoSignatures);
    link.socket.send(JSON.stringify(answer));
    const proven = await acceptProof(pending, await link.text(), webCryptoSignatures);
    if (!proven.ok) throw new Error(proven.error);
    link.peer = proven.value.clientKey;
    link.onFrames = true;
    link.socket.send(refused ?? JSON.stringify({ v: 1 }));
  }
}
