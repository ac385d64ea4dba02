// Owns the machine of a running coordinator: recovery, the incarnation, the loop over the core, and callers that wait for
// a reply. Knows no sockets: what agents are sent goes out through a port.

import type { Effect, ReplyValue } from '../core/effect.ts';
import type { EventBody } from '../core/event.ts';
import { recover } from '../core/recover.ts';
import { DEFAULT_LIMITS, type Limits, type State } from '../core/state.ts';
import { step } from '../core/step.ts';
import type { TraceEntry } from '../core/trace.ts';
import type { KeyId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { CancelTimer, Clock } from '../runtime/clock.ts';
import { Loop } from '../runtime/loop.ts';
import type { Store, StoredRecord } from '../store/store.ts';
import { readIdentity, toIdentityRecord, type SwarmIdentity } from './identity-record.ts';

const TICK_MS = 500;

/** An event that asks for something; the engine numbers the request. */
export type RequestBody = DistributiveOmit<Extract<EventBody, { request: number }>, 'request'>;
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

export type LinkEffect = Exclude<Effect, { kind: 'reply' | 'trace' }>;

export type EngineOptions = {
  readonly store: Store;
  readonly clock: Clock;
  readonly limits: Partial<Limits>;
  /** Written at the first start and compared at each later one. */
  readonly swarm: KeyId;
  readonly adminKey: KeyId;
  /** Carries out what concerns agents' links, in order. Must not throw. */
  readonly release: (effects: readonly LinkEffect[]) => void;
  /** Told what became of attempts, once it is durable. Must not throw. */
  readonly onTrace: (entry: TraceEntry) => void;
  readonly onCommit: (durationMs: number, changes: number) => void;
  /** Memory may be ahead of the store: the process must end. */
  readonly onFatal: (error: unknown) => void;
};

type Waiter = { readonly resolve: (value: ReplyValue) => void; readonly reject: (error: SwarmError) => void };

export class Engine {
  /** Read freely, between events; changed by the loop alone. */
  readonly state: State;
  readonly clock: Clock;
  readonly #options: EngineOptions;
  readonly #loop: Loop<EventBody, Effect>;
  readonly #waiters = new Map<number, Waiter>();
  #requests = 0;
  #cancelTick: CancelTimer = () => undefined;

  /** Recovers the state and takes a new incarnation, durably. Throws 'store-newer', 'store-corrupt' or 'conflict'. */
  static async open(options: EngineOptions): Promise<Engine> {
    const records: StoredRecord[] = [];
    let identity: SwarmIdentity | undefined;
    for await (const record of options.store.load())
      if (record.kind === 'meta') identity = readIdentity(record, options);
      else records.push(record);
    const incarnation = (identity?.incarnation ?? 0) + 1;
    const recovered = recover(records, incarnation, { ...DEFAULT_LIMITS, ...options.limits });
    if (!recovered.ok) {
      const { code, message } = recovered.error;
      const remedy = code === 'store-newer' ? 'update Backyard Swarm' : 'restore a backup';
      throw new SwarmError(code, `the state cannot be read: ${message}; ${remedy}`);
    }
    const { swarm, adminKey } = options;
    const record = toIdentityRecord({ incarnation, swarm, adminKey });
    await options.store.commit([{ op: 'put', record }]);
    return new Engine(options, recovered.value);
  }

  private constructor(options: EngineOptions, state: State) {
    this.#options = options;
    this.state = state;
    this.clock = options.clock;
    this.#loop = new Loop<EventBody, Effect>({
      machine: { step: (event) => step(state, event), afterBatch: { kind: 'schedule' } },
      clock: options.clock,
      commit: (changes) => this.#commit(changes),
      release: (effects) => this.#release(effects),
      onFatal: (error) => this.#onFatal(error),
    });
    this.#tick();
  }

  /** Events waiting for their step. */
  get queueLength(): number {
    return this.#loop.queueLength;
  }

  /** The coordinator's time, ms since 1970; never goes back. */
  now(): number {
    return Math.max(this.#loop.lastAt, this.clock.now());
  }

  /** Adds an event; false when the coordinator has more to do than it can, or is stopping. */
  post(event: EventBody): boolean {
    return this.#loop.post(event);
  }

  /** Adds an event and waits until what it changed is durable. Throws what the core refused, or 'unavailable'. */
  ask(body: RequestBody): Promise<ReplyValue> {
    const request = ++this.#requests;
    const { promise, resolve, reject } = Promise.withResolvers<ReplyValue>();
    this.#waiters.set(request, { resolve, reject });
    if (!this.post({ ...body, request })) {
      this.#waiters.delete(request);
      reject(new SwarmError('unavailable', 'the coordinator is stopping or has too much to do; try again'));
    }
    return promise;
  }

  /**
   * Resolves when all that the state shows now is durable. Whoever shows it to a client looks first and then waits for
   * this, so that no crash takes back what somebody has seen. Throws 'unavailable'.
   */
  async durable(): Promise<void> {
    try {
      await this.#loop.durable();
    } catch (cause) {
      throw new SwarmError('unavailable', 'the coordinator had to end; try again when it runs', { cause });
    }
  }

  /** Finishes what was posted, and takes no more. The store is the caller's to close. */
  async stop(): Promise<void> {
    this.#cancelTick();
    await this.#loop.stop();
    this.#rejectAll('the coordinator was stopped; try again when it runs');
  }

  #tick(): void {
    this.post({ kind: 'tick' });
    this.#cancelTick = this.clock.after(TICK_MS, () => this.#tick());
  }

  async #commit(changes: Parameters<Store['commit']>[0]): Promise<void> {
    const startedAt = performance.now();
    await this.#options.store.commit(changes);
    this.#options.onCommit(performance.now() - startedAt, changes.length);
  }

  #release(effects: readonly Effect[]): void {
    const forLinks: LinkEffect[] = [];
    for (const effect of effects)
      if (effect.kind === 'reply') this.#reply(effect);
      else if (effect.kind === 'trace') this.#options.onTrace(effect.entry);
      else forLinks.push(effect);
    if (forLinks.length > 0) this.#options.release(forLinks);
  }

  #reply({ request, result }: Extract<Effect, { kind: 'reply' }>): void {
    const waiter = this.#waiters.get(request);
    this.#waiters.delete(request);
    if (result.ok) waiter?.resolve(result.value);
    else waiter?.reject(new SwarmError(result.error.code, result.error.message));
  }

  #onFatal(error: unknown): void {
    this.#cancelTick();
    this.#rejectAll('the coordinator had to end');
    this.#options.onFatal(error);
  }

  #rejectAll(message: string): void {
    for (const { reject } of this.#waiters.values()) reject(new SwarmError('unavailable', message));
    this.#waiters.clear();
  }
}
