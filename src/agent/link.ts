// Owns the agent's one link: every address in turn, coming back after a cut with backoff, noticing silent cuts, bounds
// on what waits to be sent. Knows frames and not what their messages mean.
//
//   away ──address answers, verdict yes──▶ up ──cut, silence, broken frame──▶ away (backoff) ──stop() or a final no──▶ over

import { setTimeout as sleep } from 'node:timers/promises';
import type { PinnedAgent } from '../identity/pinned-agent.ts';
import { decodeToAgent, encodeFrames } from '../protocol/codec.ts';
import type { ToAgent } from '../protocol/to-agent.ts';
import type { ToCoordinator } from '../protocol/to-coordinator.ts';
import type { Logger } from '../runtime/logger.ts';
import type { Endpoint } from './endpoints.ts';
import { LinkRefused, openLinkSocket, type LinkIdentity, type LinkSocket } from './link-socket.ts';

const FIRST_BACKOFF_MS = 250;
const LAST_BACKOFF_MS = 10_000;
const DEFAULT_HEARTBEAT_MS = 5_000;
/** A coordinator that lets so much pile up does not read: the link is dropped, and the next hello settles the rest. */
const MAX_BUFFERED_BYTES = 16 * 1_024 * 1_024;
const CLOSE_GRACE_MS = 2_000;
/** Trying again unchanged does not help. */
const FINAL_CODES = new Set(['forbidden', 'old-protocol', 'unauthenticated', 'bad-invite']);

export type LinkOptions = {
  readonly endpoints: readonly Endpoint[];
  readonly identity: LinkIdentity;
  /** For endpoints with a pin. */
  readonly pinnedAgent: PinnedAgent | undefined;
  readonly logger: Logger;
  readonly onUp: (endpoint: Endpoint) => void;
  readonly onDown: () => void;
  /** False when the agent cannot take more: the link is dropped. */
  readonly onMessages: (messages: readonly ToAgent[]) => boolean;
  /** The coordinator will never take this agent as it is. */
  readonly onRefused: (reason: string) => void;
};

export class AgentLink {
  readonly #options: LinkOptions;
  readonly #over = new AbortController();
  #endpoints: readonly Endpoint[];
  #link: LinkSocket | undefined;
  #failures = 0;
  #heartbeatMs = DEFAULT_HEARTBEAT_MS;
  #heardAt = 0;
  #pingedAt: number | undefined;
  #done: Promise<void> = Promise.resolve();

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#endpoints = options.endpoints;
  }

  start(): void {
    this.#done = this.#keepUp();
  }

  /** Sends messages in as few frames as the bounds allow; without a link they are lost, as they would be in a cut. */
  send(messages: readonly ToCoordinator[]): void {
    const socket = this.#link?.socket;
    if (!socket || socket.readyState !== socket.OPEN) return;
    if (socket.bufferedAmount > MAX_BUFFERED_BYTES) return this.drop('the coordinator does not read what it is sent');
    for (const frame of encodeFrames(messages)) socket.send(frame);
  }

  /** The coordinator greeted us: it is the right one and it is well. */
  onWelcome(heartbeatMs: number): void {
    this.#failures = 0;
    this.#heartbeatMs = heartbeatMs;
  }

  /** To be called once a heartbeat: asks for a sign of life after two silent ones, and hangs up when none came by the next. */
  checkAlive(): void {
    const socket = this.#link?.socket;
    if (!socket || socket.readyState !== socket.OPEN) return;
    const now = performance.now();
    if (this.#pingedAt !== undefined && this.#heardAt < this.#pingedAt) {
      if (now - this.#pingedAt >= 0.9 * this.#heartbeatMs) this.drop('the coordinator has gone silent');
    } else if (now - this.#heardAt >= 1.9 * this.#heartbeatMs) {
      this.#pingedAt = now;
      socket.ping();
    }
  }

  /** Cuts the link at once; it comes back by itself. */
  drop(reason: string): void {
    if (!this.#link) return;
    this.#options.logger.warn({ reason }, 'the link is dropped');
    this.#link.socket.terminate();
  }

  /** Ends it for good: what was sent is still written within a short time. Resolves when nothing is left. */
  async stop(): Promise<void> {
    this.#over.abort();
    const socket = this.#link?.socket;
    socket?.close(1_000);
    const timer = setTimeout(() => socket?.terminate(), CLOSE_GRACE_MS);
    await this.#done;
    clearTimeout(timer);
  }

  async #keepUp(): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      for (const endpoint of this.#endpoints) {
        const link = await this.#open(endpoint);
        if (link) {
          // The address that worked is the first to be tried next time.
          this.#endpoints = [endpoint, ...this.#endpoints.filter((other) => other !== endpoint)];
          await this.#serve(link, endpoint);
          break;
        }
        if (signal.aborted) return;
      }
      await sleep(toBackoffMs(this.#failures++), undefined, { signal }).catch(() => {});
    }
  }

  async #open(endpoint: Endpoint): Promise<LinkSocket | undefined> {
    const { identity, pinnedAgent, logger, onRefused } = this.#options;
    const agent = endpoint.tlsPin === undefined ? undefined : pinnedAgent;
    try {
      return await openLinkSocket(endpoint, identity, agent, this.#over.signal);
    } catch (error) {
      if (this.#over.signal.aborted) return undefined;
      const reason = error instanceof Error ? error.message : String(error);
      const isFinal = error instanceof LinkRefused && FINAL_CODES.has(error.code);
      // The first failure is news, those that follow are not.
      logger[this.#failures === 0 || isFinal ? 'warn' : 'debug'](
        { url: endpoint.url, reason },
        'the coordinator cannot be reached',
      );
      if (!isFinal) return undefined;
      this.#over.abort();
      onRefused(reason);
      return undefined;
    }
  }

  async #serve(link: LinkSocket, endpoint: Endpoint): Promise<void> {
    const { onUp, onDown, logger } = this.#options;
    if (this.#over.signal.aborted) return link.socket.terminate();
    this.#link = link;
    this.#heardAt = performance.now();
    this.#pingedAt = undefined;
    logger.info({ url: endpoint.url }, 'connected to the coordinator');
    onUp(endpoint);
    link.handOver(
      (text) => this.#onText(text),
      () => (this.#heardAt = performance.now()),
    );
    const reason = await link.closed;
    this.#link = undefined;
    logger.info({ url: endpoint.url, reason }, 'the link to the coordinator is down');
    onDown();
  }

  #onText(text: string): void {
    const decoded = decodeToAgent(text);
    if (!decoded.ok) return this.drop(decoded.error);
    if (!this.#options.onMessages(decoded.value)) this.drop('more came than this machine can take');
  }
}

/** Exponential with jitter, so that a swarm does not come back all at once. */
function toBackoffMs(failures: number): number {
  return Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(failures, 10)) * (0.5 + Math.random() / 2);
}
