// Owns one agent from start to stop: it carries out what the core decides and tells the core what happened. Decides
// nothing itself; how the parts are made is in assembly.ts.

import type { AgentEffect, AgentEventBody } from '../core/agent/event.ts';
import { createAgentState, type AgentState } from '../core/agent/state.ts';
import { agentStep } from '../core/agent/step.ts';
import { assertNever } from '../lib/assert.ts';
import type { JobId } from '../lib/ids.ts';
import type { ToCoordinator } from '../protocol/to-coordinator.ts';
import { systemClock } from '../runtime/clock.ts';
import { Loop } from '../runtime/loop.ts';
import { assemble, type Parts } from './assembly.ts';
import type { AgentConfig } from './config.ts';
import type { Logger } from '../runtime/logger.ts';
import { AgentLink } from './link.ts';
import { LogOutbox } from './log-outbox.ts';
import { releaseMemory } from './memory-release.ts';
import { Outbox } from './outbox.ts';
import { Tasks } from './tasks.ts';

/** Until the coordinator says otherwise. */
const DEFAULT_HEARTBEAT_MS = 5_000;
/** While something runs: by its cursor others see that it is slow. */
const BUSY_HEARTBEAT_MS = 1_000;
/** Warm runners hold a model in memory: without work for so long they are ended. */
const KEEP_WARM_MS = 120_000;
/** Without work for so long the agent gives back what memory it does not need to wait. */
const RELEASE_MS = 8_000;
/** How long tasks may take to stop, and what they report to be sent, before the agent ends anyway. */
const STOP_MS = 3_000;

export type Agent = AsyncDisposable & {
  /** Hands all work back, ends the runners and closes the link. */
  stop(): Promise<void>;
  /** Resolves when the agent has ended, because it was stopped or because the coordinator will not have it again. */
  readonly ended: Promise<{ readonly reason: string }>;
};

/**
 * Starts an agent, which connects by itself and comes back after every cut. Throws SwarmError when this machine has not
 * joined a swarm, its files are not sound, or the wished sandbox does not work here.
 */
export async function startAgent(config: AgentConfig, deps: { readonly logger: Logger }): Promise<Agent> {
  const agent = new RunningAgent(await assemble(config, deps.logger), deps.logger);
  agent.start();
  return agent;
}

class RunningAgent implements Agent {
  readonly ended: Promise<{ readonly reason: string }>;
  readonly #parts: Parts;
  readonly #logger: Logger;
  readonly #state: AgentState;
  readonly #loop: Loop<AgentEventBody, AgentEffect>;
  readonly #link: AgentLink;
  readonly #outbox: Outbox;
  readonly #logs: LogOutbox;
  readonly #tasks: Tasks;
  readonly #end = Promise.withResolvers<{ readonly reason: string }>();
  #heartbeat: NodeJS.Timeout | undefined;
  #heartbeatMs = DEFAULT_HEARTBEAT_MS;
  /** Something runs, whose progress is of interest. */
  #beatsOften = false;
  #busyAt = performance.now();
  #isReleased = false;
  #stopping: Promise<void> | undefined;

  constructor(parts: Parts, logger: Logger) {
    const { access, endpoints, identity, pinnedAgent, jobs } = parts;
    this.ended = this.#end.promise;
    this.#parts = parts;
    this.#logger = logger;
    const state = createAgentState(parts.coreConfig);
    this.#state = state;
    this.#loop = new Loop<AgentEventBody, AgentEffect>({
      machine: { step: (event) => agentStep(state, event), afterBatch: { kind: 'flush' } },
      clock: systemClock,
      commit: () => Promise.resolve(),
      release: (effects) => this.#release(effects),
      onFatal: (error) => this.#onFatal(error),
    });
    this.#link = new AgentLink({
      ...{ endpoints, identity, pinnedAgent, logger },
      onUp: (endpoint) => {
        access.onUp(endpoint);
        this.#post({ kind: 'link-up' });
      },
      onDown: () => {
        this.#outbox.clear();
        this.#post({ kind: 'link-down' });
      },
      onMessages: (messages) => messages.every((message) => this.#loop.post({ kind: 'received', message })),
      onRefused: (reason) => void this.#finish(reason),
    });
    const isBusy = () => this.#loop.queueLength > 0;
    this.#outbox = new Outbox((messages) => this.#link.send(messages), isBusy);
    this.#logs = new LogOutbox(
      (message: ToCoordinator) => this.#outbox.add(message),
      () => state.link.kind === 'up',
    );
    this.#tasks = new Tasks(jobs, { ...parts.tools, logs: this.#logs }, (event) => this.#post(event));
  }

  start(): void {
    this.#link.start();
    this.#beatLater();
  }

  stop(): Promise<void> {
    return this.#finish('it was stopped');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #post(event: AgentEventBody): void {
    if (!this.#loop.post(event)) this.#logger.debug({ event: event.kind }, 'an event came too late');
  }

  #release(effects: readonly AgentEffect[]): void {
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: AgentEffect): void {
    switch (effect.kind) {
      case 'send':
        return this.#outbox.add(effect.message);
      case 'close-link':
        if (effect.retry) this.#link.drop(effect.reason);
        else void this.#finish(effect.reason);
        return;
      case 'check-job':
        return void this.#checkJob(effect.job, effect.envelope);
      case 'forget-job':
        return this.#parts.jobs.forget(effect.job);
      case 'run-task':
        this.#tasks.run(effect);
        if (!this.#beatsOften) this.#beatLater();
        return;
      case 'stop-task':
        return this.#tasks.stop(effect.task);
      case 'shrink-task':
        return this.#tasks.shrink(effect.task, effect.until);
      case 'set-heartbeat':
        return this.#onWelcome(effect.heartbeatMs);
      default:
        return assertNever(effect);
    }
  }

  async #checkJob(job: JobId, envelope: string): Promise<void> {
    const refusal = await this.#parts.jobs.check(job, envelope);
    if (refusal === undefined) this.#logger.info({ job }, 'a job was checked and may run here');
    else this.#logger.warn({ job, refusal }, 'a job was refused');
    this.#post({ kind: 'job-checked', job, ...(refusal !== undefined && { refusal }) });
  }

  #onWelcome(heartbeatMs: number): void {
    this.#heartbeatMs = heartbeatMs;
    this.#link.onWelcome(heartbeatMs);
    this.#logs.flush();
    this.#beatLater();
  }

  /** The one timer that keeps the process alive while the link is down. */
  #beatLater(): void {
    clearTimeout(this.#heartbeat);
    if (this.#stopping) return;
    this.#beatsOften = this.#state.running.size > 0;
    this.#heartbeat = setTimeout(
      () => {
        this.#post({ kind: 'heartbeat-due', telemetry: this.#parts.meter.read() });
        this.#link.checkAlive();
        this.#coolDown();
        this.#beatLater();
      },
      this.#beatsOften ? Math.min(BUSY_HEARTBEAT_MS, this.#heartbeatMs) : this.#heartbeatMs,
    );
  }

  /** An idle agent should cost its owner nothing that he would notice. */
  #coolDown(): void {
    const now = performance.now();
    if (this.#state.tasks.size > 0) {
      this.#busyAt = now;
      this.#isReleased = false;
      return;
    }
    if (now - this.#busyAt > KEEP_WARM_MS) void this.#parts.tools.pool.stopIdle();
    if (this.#isReleased || now - this.#busyAt < RELEASE_MS) return;
    this.#isReleased = true;
    releaseMemory();
  }

  #onFatal(error: unknown): void {
    this.#logger.error({ error: error instanceof Error ? error.stack : String(error) }, 'the agent has failed: a bug');
    void this.#finish('the agent failed: see its log');
  }

  #finish(reason: string): Promise<void> {
    this.#stopping ??= this.#shutDown(reason);
    return this.#stopping;
  }

  /** Work is handed back first, so that others need not wait until the lease is over. */
  async #shutDown(reason: string): Promise<void> {
    const { tools, pinnedAgent } = this.#parts;
    this.#logger.info({ reason }, 'the agent ends');
    clearTimeout(this.#heartbeat);
    this.#loop.post({ kind: 'stop' });
    await within(STOP_MS, this.#tasks.close());
    await within(STOP_MS, this.#loop.stop());
    this.#outbox.flush();
    await Promise.all([this.#link.stop(), tools.pool.close()]);
    pinnedAgent?.destroy();
    this.#end.resolve({ reason });
  }
}

async function within(limitMs: number, work: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, limitMs);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}
