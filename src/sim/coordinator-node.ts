// Owns one simulated coordinator machine: the production core and loop over the simulated disk and network, with
// crashes and restarts. Its shell does what the real one does, and no more.

import type { Change } from '../core/change.ts';
import type { Effect } from '../core/effect.ts';
import type { Event, EventBody } from '../core/event.ts';
import { recover } from '../core/recover.ts';
import type { Limits, State } from '../core/state.ts';
import type { Step } from '../core/step.ts';
import type { PeerId } from '../lib/ids.ts';
import type { ToAgent } from '../protocol/to-agent.ts';
import type { Report, ToCoordinator } from '../protocol/to-coordinator.ts';
import { Loop } from '../runtime/loop.ts';
import type { SimulatedDisk } from './disk.ts';
import type { SimulatedLink } from './network.ts';
import type { MachineClock } from './machine-clock.ts';

export type StepFunction = (state: State, event: Event) => Step;
type ReplyEffect = Extract<Effect, { kind: 'reply' }>;

const TICK_MS = 500;

export type CoordinatorOptions = {
  readonly clock: MachineClock;
  readonly disk: SimulatedDisk;
  readonly limits: Limits;
  readonly step: StepFunction;
  readonly commit: (changes: readonly Change[]) => Promise<void>;
  /** Whether a part's bytes are where results are kept. */
  readonly isStored: (partId: string) => boolean;
  /** Called around every step. */
  readonly onStep: (state: State, event: Event, carryOut: () => Step) => Step;
  /** A planted bug: what was read is told before it is durable. */
  readonly tellsAtOnce?: boolean;
  readonly onReply: (reply: ReplyEffect) => void;
  readonly onStarted: (state: State) => void;
  /** The process ended by itself, because a commit failed. */
  readonly onExit: (reason: unknown) => void;
};

type Life = {
  readonly state: State;
  readonly loop: Loop<EventBody, Effect>;
  readonly links: Map<number, { readonly peer: PeerId; readonly link: SimulatedLink }>;
};

export class CoordinatorNode {
  readonly #options: CoordinatorOptions;
  #life: Life | undefined;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
  }

  get state(): State | undefined {
    return this.#life?.state;
  }

  get isUp(): boolean {
    return this.#life !== undefined;
  }

  start(): void {
    const { clock, disk, limits, onStep, onStarted } = this.#options;
    const recovered = recover(disk.records(), disk.nextIncarnation(), limits);
    if (!recovered.ok) throw new Error(`recovery failed: ${recovered.error.message}`);
    const state = recovered.value;
    const step = (event: Event): Step => onStep(state, event, () => this.#options.step(state, event));
    const loop: Loop<EventBody, Effect> = new Loop({
      machine: { step, afterBatch: { kind: 'schedule' } },
      clock,
      commit: this.#options.commit,
      release: (effects) => this.#release(effects),
      onFatal: (error) => this.#exit(error),
    });
    const life: Life = { state, loop, links: new Map() };
    this.#life = life;
    this.#tick(life);
    onStarted(state);
  }

  /** Reads, and tells what was read when it is durable, as the real one answers; never, when it does not become so. */
  read<T>(look: (state: State) => T, tell: (seen: T) => void): void {
    const life = this.#life;
    if (!life) return;
    const seen = look(life.state);
    if (this.#options.tellsAtOnce === true) return tell(seen);
    life.loop.durable().then(
      () => tell(seen),
      () => undefined,
    );
  }

  /** kill -9. */
  crash(): void {
    const life = this.#life;
    if (!life) return;
    life.loop.abandon();
    this.#options.disk.crash();
    this.#life = undefined;
    for (const { link } of life.links.values()) link.closeFrom('coordinator');
  }

  post(event: EventBody): boolean {
    return this.#life?.loop.post(event) ?? false;
  }

  /** A peer's link is connected; false when nobody listens. */
  accept(peer: PeerId, link: SimulatedLink): boolean {
    this.#life?.links.set(link.id, { peer, link });
    return this.isUp;
  }

  onMessages(linkId: number, messages: readonly ToCoordinator[]): void {
    const peer = this.#life?.links.get(linkId)?.peer;
    if (!peer) return;
    for (const message of messages) this.#onMessage(peer, linkId, message);
  }

  onLinkClosed(linkId: number): void {
    const known = this.#life?.links.get(linkId);
    if (!known) return;
    this.#life?.links.delete(linkId);
    this.post({ kind: 'link-closed', peer: known.peer, link: linkId });
  }

  #onMessage(peer: PeerId, link: number, message: ToCoordinator): void {
    if (message.type === 'hello') this.post({ kind: 'link-opened', peer, link, hello: message });
    if (message.type === 'heartbeat') this.post({ kind: 'heartbeat', peer, link, cursors: message.cursors });
    if (message.type === 'shrunk') this.post({ kind: 'shrunk', peer, link, tasks: message.tasks });
    if (message.type === 'report')
      this.post({ kind: 'reported', peer, link, reports: message.reports.map((report) => this.#verify(report)) });
  }

  /** As the real shell: a part counts only when its bytes are where results are kept. */
  #verify(report: Report): Report {
    const part = report.outcome.kind === 'done' ? report.outcome.part : undefined;
    if (!part || this.#options.isStored(part.id)) return report;
    return { epoch: report.epoch, outcome: { kind: 'failed', scope: 'task', reason: `part ${part.id} is not stored` } };
  }

  #tick(life: Life): void {
    if (this.#life !== life) return;
    life.loop.post({ kind: 'tick' });
    this.#options.clock.after(TICK_MS, () => this.#tick(life));
  }

  #release(effects: readonly Effect[]): void {
    const frames = new Map<number, ToAgent[]>();
    for (const effect of effects) {
      if (effect.kind === 'reply') this.#options.onReply(effect);
      else if (effect.kind === 'send') frames.set(effect.link, [...(frames.get(effect.link) ?? []), effect.message]);
      else if (effect.kind === 'close-link') this.#closeLink(effect.link);
    }
    for (const [linkId, messages] of frames) this.#life?.links.get(linkId)?.link.sendToAgent(messages);
  }

  #closeLink(linkId: number): void {
    const known = this.#life?.links.get(linkId);
    this.#life?.links.delete(linkId);
    known?.link.closeFrom('coordinator');
  }

  #exit(error: unknown): void {
    this.crash();
    this.#options.onExit(error);
  }
}
