// Owns the simulated network: links are ordered and reliable until they are cut, as a WebSocket is; each has a delay and a
// rate of its own. A cut may be seen by the two ends at different times, or by neither until something times out, and a
// link may die in one direction only. Frames go through the real codec.

import type { Prng } from '../lib/prng.ts';
import { decodeToAgent, decodeToCoordinator, encodeFrame } from '../protocol/codec.ts';
import type { ToAgent } from '../protocol/to-agent.ts';
import type { ToCoordinator } from '../protocol/to-coordinator.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What an end of a link is told. */
export type LinkEnd<In> = { readonly onMessages: (messages: In[]) => void; readonly onClosed: () => void };

type Direction = { deliverAt: number; freeAt: number; isOpen: boolean; isSilent: boolean };

export type LinkPace = { readonly meanDelayMs: number; readonly bytesPerMs: number };

export class SimulatedLink {
  readonly id: number;
  readonly #clock: VirtualClock;
  readonly #prng: Prng;
  readonly #pace: LinkPace;
  readonly #agentEnd: LinkEnd<ToAgent>;
  readonly #coordinatorEnd: LinkEnd<ToCoordinator>;
  /** While a direction is silent its frames are swallowed, and neither end knows. */
  readonly #toAgent: Direction = { deliverAt: 0, freeAt: 0, isOpen: true, isSilent: false };
  readonly #toCoordinator: Direction = { deliverAt: 0, freeAt: 0, isOpen: true, isSilent: false };
  /** Rewrites a frame on its way to the agent: the fault of a tampering relay. */
  tamper: ((frame: string) => string) | undefined;

  constructor(
    id: number,
    clock: VirtualClock,
    prng: Prng,
    pace: LinkPace,
    agentEnd: LinkEnd<ToAgent>,
    coordinatorEnd: LinkEnd<ToCoordinator>,
  ) {
    this.id = id;
    this.#clock = clock;
    this.#prng = prng;
    this.#pace = pace;
    this.#agentEnd = agentEnd;
    this.#coordinatorEnd = coordinatorEnd;
  }

  sendToAgent(messages: readonly ToAgent[]): void {
    const frame = encodeFrame(messages);
    this.#transmit(this.#toAgent, this.tamper?.(frame) ?? frame, (text) => {
      const decoded = decodeToAgent(text);
      if (!decoded.ok) throw new Error(`the coordinator sent what an agent cannot read: ${decoded.error}`);
      this.#agentEnd.onMessages(decoded.value);
    });
  }

  sendToCoordinator(messages: readonly ToCoordinator[]): void {
    this.#transmit(this.#toCoordinator, encodeFrame(messages), (text) => {
      const decoded = decodeToCoordinator(text);
      if (!decoded.ok) throw new Error(`an agent sent what the coordinator cannot read: ${decoded.error}`);
      this.#coordinatorEnd.onMessages(decoded.value);
    });
  }

  /** What a ping would tell after a while: it goes one way, and its answer the other. */
  get isSilent(): boolean {
    return this.#toAgent.isSilent || this.#toCoordinator.isSilent;
  }

  /** From now on frames vanish, or only those to one end; the ends find out by silence. */
  goSilent(...to: readonly ('agent' | 'coordinator')[]): void {
    for (const end of to.length === 0 ? (['agent', 'coordinator'] as const) : to) this.#direction(end).isSilent = true;
  }

  /** Cuts the link; each end learns it after a delay of its own. Frames on the way may be lost. */
  cut(): void {
    this.goSilent();
    this.closeEnd('agent', this.#prng.exponential(200));
    this.closeEnd('coordinator', this.#prng.exponential(200));
  }

  /** One end closes at once; the other learns it later. */
  closeFrom(end: 'agent' | 'coordinator'): void {
    this.#direction(end).isOpen = false;
    this.closeEnd(end === 'agent' ? 'coordinator' : 'agent', this.#prng.exponential(this.#pace.meanDelayMs));
  }

  closeEnd(end: 'agent' | 'coordinator', delayMs: number): void {
    this.#clock.after(delayMs, () => {
      const direction = this.#direction(end);
      if (!direction.isOpen) return;
      direction.isOpen = false;
      (end === 'agent' ? this.#agentEnd : this.#coordinatorEnd).onClosed();
    });
  }

  /** The direction whose receiver is `end`. */
  #direction(end: 'agent' | 'coordinator'): Direction {
    return end === 'agent' ? this.#toAgent : this.#toCoordinator;
  }

  #transmit(direction: Direction, frame: string, deliver: (frame: string) => void): void {
    if (direction.isSilent) return;
    const { meanDelayMs, bytesPerMs } = this.#pace;
    direction.freeAt = Math.max(direction.freeAt, this.#clock.now()) + frame.length / bytesPerMs;
    const arriveAt = Math.max(direction.deliverAt, direction.freeAt + this.#prng.exponential(meanDelayMs));
    direction.deliverAt = arriveAt;
    this.#clock.after(arriveAt - this.#clock.now(), () => {
      if (direction.isOpen && !direction.isSilent) deliver(frame);
    });
  }
}
