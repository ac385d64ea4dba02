// Owns one simulated peer: the production agent machine and loop, with a runner that takes virtual time, fails as the
// item or the machine's luck demands, and stores parts. Crashes lose everything it held.

import { agentStep } from '../core/agent/step.ts';
import type { AgentEffect, AgentEventBody } from '../core/agent/event.ts';
import { createAgentState, type AgentState, type TaskId } from '../core/agent/state.ts';
import type { ArtifactId, Epoch, JobId, PeerId, StageId } from '../lib/ids.ts';
import type { Prng } from '../lib/prng.ts';
import type { Range } from '../lib/range-set.ts';
import type { ToAgent } from '../protocol/to-agent.ts';
import type { Outcome, ToCoordinator } from '../protocol/to-coordinator.ts';
import { Loop } from '../runtime/loop.ts';
import { simulatedHash } from './fingerprint.ts';
import type { SimulatedLink } from './network.ts';
import type { MachineClock } from './machine-clock.ts';

export type AgentOptions = {
  readonly peer: PeerId;
  readonly clock: MachineClock;
  readonly prng: Prng;
  readonly msPerItem: number;
  readonly memoryBytes: number;
  readonly backlog: number;
  /** Chance that a task fails for no fault of its items; set to 0 in the liveness phase. */
  readonly flakiness: () => number;
  /** Chance that an outcome is reported once more, later, under the epoch it had: a ghost. */
  readonly ghostChance: () => number;
  /** Items that fail wherever they run. */
  readonly isPoison: (stage: StageId, item: number) => boolean;
  readonly checkJob: (job: JobId, envelope: string) => string | undefined;
  readonly connect: (agent: AgentNode) => SimulatedLink | undefined;
  readonly store: (part: ArtifactId) => void;
  readonly onRun: (peer: PeerId, job: JobId) => void;
  /** It lies about its progress and about how long things took. */
  readonly isLiar: boolean;
};

type SimulatedRun = Range & {
  readonly job: JobId;
  readonly stage: StageId;
  readonly msEach: number;
  readonly failAt: { readonly item: number; readonly outcome: Outcome } | undefined;
  readonly startedAt: number;
};

type Life = {
  readonly state: AgentState;
  readonly loop: Loop<AgentEventBody, AgentEffect>;
  readonly stopping: Set<TaskId>;
  readonly runs: Map<TaskId, SimulatedRun>;
  /** The epoch each running task began with. */
  readonly firstEpochs: Map<TaskId, Epoch | undefined>;
  link: SimulatedLink | undefined;
  heartbeatMs: number;
  reconnecting: boolean;
  missedPings: number;
};

/** Progress is reported at most so many times a task, as the real agent bounds it. */
const PROGRESS_STEPS = 4;

/** Heartbeats without an answer, at one a second. */
const MAX_MISSED_PINGS = 10;

export class AgentNode {
  readonly options: AgentOptions;
  #life: Life | undefined;
  /** How much slower than usual it is: heat, or a game beside. */
  #slowdown = 1;

  constructor(options: AgentOptions) {
    this.options = options;
  }

  get state(): AgentState | undefined {
    return this.#life?.state;
  }

  /** What it has not ended. */
  get tasksLeft(): number {
    return [...(this.state?.tasks.values() ?? [])].filter((task) => task.status.kind !== 'ended').length;
  }

  get isUp(): boolean {
    return this.#life !== undefined;
  }

  get link(): SimulatedLink | undefined {
    return this.#life?.link;
  }

  start(): void {
    const { peer, clock, memoryBytes, backlog } = this.options;
    const devices = [{ id: 'cpu', kind: 'cpu' as const, name: 'simulated', memoryBytes, threads: 1 }];
    const state = createAgentState({ name: peer.slice(-4), version: 'sim', devices, backlog, slots: 1 });
    const loop: Loop<AgentEventBody, AgentEffect> = new Loop({
      machine: { step: (event) => agentStep(state, event), afterBatch: { kind: 'flush' } },
      clock,
      commit: () => Promise.resolve(),
      release: (effects) => this.#release(life, effects),
      onFatal: (error) => {
        throw error;
      },
    });
    const life: Life = {
      state,
      loop,
      stopping: new Set(),
      runs: new Map(),
      firstEpochs: new Map(),
      link: undefined,
      heartbeatMs: 1_000,
      reconnecting: false,
      missedPings: 0,
    };
    this.#life = life;
    this.#connect(life);
    this.#beat(life);
  }

  /** From now on runs take so many times as long as this peer usually needs. */
  throttle(slowdown: number): void {
    this.#slowdown = slowdown;
  }

  /** kill -9, or the power is gone. */
  crash(): void {
    const life = this.#life;
    this.#life = undefined;
    life?.loop.abandon();
    life?.link?.closeFrom('agent');
  }

  onMessages(link: SimulatedLink, messages: readonly ToAgent[]): void {
    const life = this.#life;
    if (life?.link !== link) return;
    for (const message of messages) life.loop.post({ kind: 'received', message });
  }

  onLinkClosed(link: SimulatedLink): void {
    const life = this.#life;
    if (life?.link !== link) return;
    this.#dropLink(life);
  }

  #dropLink(life: Life): void {
    life.link = undefined;
    life.loop.post({ kind: 'link-down' });
    this.#reconnectLater(life);
  }

  #connect(life: Life): void {
    if (this.#life !== life || life.link) return;
    life.link = this.options.connect(this);
    if (!life.link) return this.#reconnectLater(life);
    life.loop.post({ kind: 'link-up' });
  }

  #reconnectLater(life: Life): void {
    if (life.reconnecting) return;
    life.reconnecting = true;
    this.options.clock.after(this.options.prng.int(100, 2_000), () => {
      life.reconnecting = false;
      this.#connect(life);
    });
  }

  #beat(life: Life): void {
    if (this.#life !== life) return;
    life.loop.post({ kind: 'heartbeat-due' });
    this.#checkAlive(life);
    this.options.clock.after(life.heartbeatMs, () => this.#beat(life));
  }

  /** As the real agent's pings: a link on which nothing comes through is given up, later than the lease is over. */
  #checkAlive(life: Life): void {
    life.missedPings = life.link?.isSilent ? life.missedPings + 1 : 0;
    if (life.missedPings < MAX_MISSED_PINGS) return;
    life.link?.closeFrom('agent');
    this.#dropLink(life);
  }

  #release(life: Life, effects: readonly AgentEffect[]): void {
    if (this.#life !== life) return;
    const frame: ToCoordinator[] = [];
    for (const effect of effects) {
      if (effect.kind === 'send') frame.push(effect.message);
      else this.#perform(life, effect);
    }
    if (frame.length > 0) life.link?.sendToCoordinator(frame);
  }

  #perform(life: Life, effect: Exclude<AgentEffect, { kind: 'send' }>): void {
    const { clock, checkJob } = this.options;
    switch (effect.kind) {
      case 'check-job': {
        const refusal = checkJob(effect.job, effect.envelope);
        clock.after(1, () =>
          life.loop.post({ kind: 'job-checked', job: effect.job, ...(refusal !== undefined && { refusal }) }),
        );
        return;
      }
      case 'run-task':
        return this.#run(life, effect.task, effect.job, effect.stage, effect.range);
      case 'shrink-task':
        return this.#shrink(life, effect.task, effect.until);
      case 'stop-task':
        life.stopping.add(effect.task);
        return;
      case 'close-link':
        life.link?.closeFrom('agent');
        return this.#dropLink(life);
      case 'set-heartbeat':
        life.heartbeatMs = effect.heartbeatMs;
        return;
      case 'forget-job':
        return;
    }
  }

  #run(life: Life, task: TaskId, job: JobId, stage: StageId, range: Range): void {
    const { clock, prng, msPerItem, flakiness, onRun, peer } = this.options;
    onRun(peer, job);
    life.firstEpochs.set(task, life.state.tasks.get(task)?.epoch);
    const items = range.end - range.start;
    const failAt = this.#failure(stage, range, prng.chance(flakiness()));
    const msEach = msPerItem * this.#slowdown * (0.5 + prng.float());
    const run: SimulatedRun = {
      job,
      stage,
      start: range.start,
      end: range.end,
      msEach,
      failAt,
      startedAt: clock.uptimeMs(),
    };
    life.runs.set(task, run);
    for (let i = 1; i <= Math.min(PROGRESS_STEPS, items); i++) {
      const cursor = range.start + Math.floor((items * i) / PROGRESS_STEPS);
      clock.after(msEach * (cursor - range.start), () => {
        const now = life.runs.get(task);
        if (now && cursor <= Math.min(now.end, failAt?.item ?? now.end))
          life.loop.post({ kind: 'task-progressed', task, cursor: this.#tellCursor(cursor, range) });
      });
    }
    this.#finishLater(life, task, run);
  }

  /** A run that was cut meanwhile has a later call of this; the earlier one finds another run and does nothing. */
  #finishLater(life: Life, task: TaskId, run: SimulatedRun): void {
    const { clock } = this.options;
    const { stage, start, end, msEach, failAt, startedAt } = run;
    const failure = failAt && failAt.item < end ? failAt : undefined;
    const atMs = startedAt + msEach * Math.max((failure?.item ?? end) - start, 0.1);
    clock.after(Math.max(0, atMs - clock.uptimeMs()), () => {
      if (this.#life !== life || life.runs.get(task) !== run) return;
      life.runs.delete(task);
      if (life.stopping.has(task)) return this.#end(life, task, { kind: 'stopped' });
      if (failure) return this.#end(life, task, failure.outcome);
      life.loop.post({ kind: 'task-computed', task });
      this.#storePart(life, task, stage, { start, end }, msEach * (end - start));
    });
  }

  /** Keeps to a boundary behind what it has begun. */
  #shrink(life: Life, task: TaskId, until: number): void {
    const run = life.runs.get(task);
    if (!run) return;
    const begun = run.start + Math.floor((this.options.clock.uptimeMs() - run.startedAt) / run.msEach) + 1;
    const end = Math.min(run.end, Math.max(until, begun));
    const shorter = { ...run, end };
    life.runs.set(task, shorter);
    life.loop.post({ kind: 'task-shrunk', task, end });
    this.#finishLater(life, task, shorter);
  }

  #storePart(life: Life, task: TaskId, stage: StageId, range: Range, durationMs: number): void {
    const id: ArtifactId = `sha256:${simulatedHash(`${stage}[${range.start},${range.end})`)}` as ArtifactId;
    this.options.clock.after(this.options.prng.exponential(30), () => {
      if (this.#life !== life) return;
      if (life.stopping.has(task)) return this.#end(life, task, { kind: 'stopped' });
      this.options.store(id);
      this.#end(life, task, {
        kind: 'done',
        part: { id, sizeBytes: 1, signature: 'simulated' },
        durationMs: this.#tellDuration(durationMs),
        end: range.end,
      });
    });
  }

  #tellCursor(cursor: number, { start, end }: Range): number {
    const { isLiar, prng } = this.options;
    return isLiar ? prng.int(start, end) : cursor;
  }

  #tellDuration(durationMs: number): number {
    const { isLiar, prng } = this.options;
    return isLiar ? prng.pick([0, durationMs, 1_000 * durationMs, 1e12]) : durationMs;
  }

  #end(life: Life, task: TaskId, outcome: Outcome): void {
    life.stopping.delete(task);
    life.loop.post({ kind: 'task-ended', task, outcome });
    const epoch = life.firstEpochs.get(task);
    life.firstEpochs.delete(task);
    if (epoch && this.options.prng.chance(this.options.ghostChance())) this.#haunt(epoch, outcome);
  }

  /** Reports an outcome once more, past the machine, whatever has become of the task since. */
  #haunt(epoch: Epoch, outcome: Outcome): void {
    this.options.clock.after(this.options.prng.int(0, 12_000), () => {
      if (this.#life?.state.link.kind === 'up')
        this.#life.link?.sendToCoordinator([{ type: 'report', reports: [{ epoch, outcome }] }]);
    });
  }

  #failure(stage: StageId, range: Range, flaky: boolean): { item: number; outcome: Outcome } | undefined {
    for (let item = range.start; item < range.end; item++) {
      if (!this.options.isPoison(stage, item)) continue;
      // A runner may name the item, or only crash.
      const named = this.options.prng.chance(0.5);
      const outcome: Outcome = named
        ? { kind: 'failed', scope: 'item', item, reason: 'the item is poison' }
        : { kind: 'failed', scope: 'task', reason: 'the runner crashed' };
      return { item, outcome };
    }
    if (!flaky) return undefined;
    return { item: range.start, outcome: { kind: 'failed', scope: 'task', reason: 'bad luck' } };
  }
}
