// Owns one run: a fleet, people and jobs drawn from a seed; a safety phase in which faults come, and a liveness phase
// in which they stop, everybody comes back, and every job must end.

import { isEnded } from '../core/job.ts';
import type { Limits, State } from '../core/state.ts';
import { DEFAULT_LIMITS } from '../core/state.ts';
import type { JobId, KeyId } from '../lib/ids.ts';
import { Prng } from '../lib/prng.ts';
import { AgentNode } from './agent-node.ts';
import { Checkers, Violation } from './checkers.ts';
import { ClientNode } from './client-node.ts';
import { CoordinatorNode } from './coordinator-node.ts';
import { SimulatedDisk } from './disk.ts';
import { describeFaultMix, drawFaultMix, isPoison, switchOff, type FaultMix } from './faults.ts';
import { Fingerprint, simulatedHash } from './fingerprint.ts';
import { drawJob } from './job-draw.ts';
import { MachineClock } from './machine-clock.ts';
import { SimulatedLink } from './network.ts';
import { plantedCommit, plantedStep, type Plant } from './plant.ts';
import { openSpec } from './signature.ts';
import { Strikes, type Strike } from './strikes.ts';
import { VirtualClock } from './virtual-clock.ts';

export type RunOptions = {
  readonly seed: number;
  readonly plant?: Plant;
  /** Only these strikes happen, by name, and these faults of the mix are switched off: to find which ones matter. */
  readonly only?: ReadonlySet<string>;
  readonly off?: ReadonlySet<string>;
};

export type RunReport = {
  readonly seed: number;
  readonly violation: string | undefined;
  readonly stateHash: string;
  readonly steps: number;
  readonly virtualMs: number;
  readonly jobs: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  readonly coverage: Readonly<Record<string, number>>;
  readonly strikes: readonly Strike[];
  readonly mix: string;
};

const SAFETY_MS = 40_000;
/** After the faults end, everything must be finished within this. */
const LIVENESS_MS = 600_000;
const CHECK_EVERY_MS = 1_000;
/** A run that goes round in circles is a finding, not a hang. */
const MAX_THINGS = 400_000;

const LIMITS: Limits = {
  ...DEFAULT_LIMITS,
  heartbeatMs: 1_000,
  leaseMs: 4_000,
  retryBackoffMs: 200,
  targetTaskMs: 1_000,
};

/** Runs a seed once. A violation is reported, not thrown. */
export async function runSeed(options: RunOptions): Promise<RunReport> {
  const run = new Run(options);
  let violation: string | undefined;
  try {
    await run.play();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    violation = error instanceof Violation ? error.message : (error.stack ?? error.message);
  }
  return run.report(violation);
}

class Run {
  readonly #seed: number;
  readonly #prng: Prng;
  readonly #clock = new VirtualClock();
  readonly #mix: FaultMix;
  readonly #disk: SimulatedDisk;
  readonly #coordinator: CoordinatorNode;
  readonly #client: ClientNode;
  readonly #checkers = new Checkers();
  readonly #agents: AgentNode[] = [];
  readonly #parts = new Set<string>();
  readonly #fingerprint = new Fingerprint();
  readonly #submitters: KeyId[];
  readonly #strikes: Strikes;
  readonly #coordinatorClock: MachineClock;
  #links = 0;
  #checkedCommits = 0;
  #healed = false;
  #failure: Error | undefined;

  constructor({ seed, plant, only, off }: RunOptions) {
    this.#seed = seed;
    this.#prng = new Prng(seed);
    this.#mix = switchOff(drawFaultMix(this.#prng), off);
    this.#coordinatorClock = new MachineClock(this.#clock);
    this.#disk = new SimulatedDisk(this.#clock, this.#prng.fork());
    this.#disk.failureChance = this.#mix.diskFailureChance;
    this.#submitters = [toKey('submitter-1'), toKey('submitter-2')];
    this.#coordinator = new CoordinatorNode({
      clock: this.#coordinatorClock,
      disk: this.#disk,
      limits: LIMITS,
      step: plantedStep(plant),
      commit: plantedCommit(plant, this.#disk),
      tellsAtOnce: plant === 'shows-what-is-not-durable',
      isStored: (part) => this.#parts.has(part),
      onStep: (state, event, carryOut) => {
        const before = this.#checkers.before(state, event);
        const stepped = carryOut();
        if (event.kind === 'reported' || event.kind === 'job-submitted') this.#client.onChanged();
        this.#fingerprint.add(`${event.at}${event.kind}${state.attemptCounter}`);
        this.#checkers.onStepped(state, event, stepped.effects, before);
        return stepped;
      },
      onReply: (reply) => this.#client.onReply(reply),
      onStarted: (state) => this.#checkers.onRecovered(state, this.#disk.records()),
      onExit: (reason) => {
        // Only a failed commit may end the process; a violation inside a step must surface.
        if (reason instanceof Error && reason.name === 'SwarmError') this.#onDiskFailed();
        else this.#failure = reason instanceof Error ? reason : new Error(String(reason));
      },
    });
    this.#client = new ClientNode(
      this.#clock,
      this.#prng.fork(),
      this.#checkers,
      (event) => this.#coordinator.post(event),
      (job, tell) => this.#coordinator.read((state) => state.jobs.get(job)?.status, this.#guard(tell)),
    );
    this.#strikes = new Strikes({
      ...{ clock: this.#clock, prng: this.#prng.fork(), ...(only && { only }) },
      isOver: () => this.#healed,
      state: () => this.#coordinator.state,
      circumstances: () => ({
        'commit under way': !this.#disk.isQuiet,
        'report unacknowledged': this.#agents.some(({ state }) =>
          [...(state?.tasks.values() ?? [])].some(({ status }) => status.kind === 'ended'),
        ),
        'machine asleep': this.#agents.some(({ options }) => options.clock.isAsleep),
      }),
    });
  }

  async play(): Promise<void> {
    this.#coordinator.start();
    this.#createFleet();
    this.#createJobs();
    this.#planFaults();
    await this.#playUntil(SAFETY_MS, () => false);
    this.#heal();
    await this.#playUntil(SAFETY_MS + LIVENESS_MS, () => this.#isSettled());
    this.#checkEnd();
  }

  report(violation: string | undefined): RunReport {
    const state = this.#coordinator.state;
    this.#fingerprint.add(JSON.stringify(this.#disk.records()));
    const jobs: Record<string, number> = {};
    for (const job of state?.jobs.values() ?? []) jobs[job.status.kind] = (jobs[job.status.kind] ?? 0) + 1;
    return {
      seed: this.#seed,
      violation,
      stateHash: this.#fingerprint.value,
      steps: this.#checkers.steps,
      virtualMs: this.#clock.elapsedMs,
      jobs,
      faults: this.#strikes.counts(),
      coverage: this.#strikes.coverage,
      strikes: this.#strikes.happened,
      mix: describeFaultMix(this.#mix),
    };
  }

  #createFleet(): void {
    for (const key of this.#submitters) this.#client.enrol(key, 'submitter');
    const count = this.#prng.int(2, 5);
    for (let i = 0; i < count; i++) this.#createAgent(i);
  }

  #createAgent(i: number): void {
    const prng = this.#prng.fork();
    const peer = toKey(`peer-${i}`);
    // At least one peer is behind a clean relay, so that every job can end somewhere.
    const tampered = i > 0 && prng.chance(this.#mix.tamperChance);
    const accepted = new Set<JobId>();
    const agent = new AgentNode({
      peer,
      clock: new MachineClock(this.#clock, this.#mix.clockSkewMs * (prng.float() - 0.5)),
      isLiar: prng.chance(this.#mix.liarChance),
      prng,
      msPerItem: prng.pick([2, 10, 40, 100]),
      // One peer has room for every stage, so that every job can end.
      memoryBytes: (i === 0 ? 24 : prng.pick([4, 8, 24])) * 1_024 ** 3,
      backlog: prng.pick([1, 2, 8]),
      flakiness: () => (this.#healed ? 0 : this.#mix.flakiness),
      ghostChance: () => (this.#healed ? 0 : this.#mix.ghostChance),
      isPoison: (stage, item) => isPoison(stage, item, this.#mix.poisonChance),
      checkJob: (job, envelope) => {
        const opened = openSpec(envelope, job, new Set(this.#submitters));
        if (!opened.ok) return opened.error;
        accepted.add(job);
        return undefined;
      },
      connect: (node) => this.#connect(node, tampered && !this.#healed),
      store: (part) => void this.#parts.add(part),
      onRun: (runner, job) => this.#checkers.onRun(runner, job, accepted.has(job)),
    });
    this.#agents.push(agent);
    this.#client.enrol(peer, 'peer');
    this.#clock.after(prng.int(0, 3_000), () => agent.start());
  }

  #connect(agent: AgentNode, tampered: boolean): SimulatedLink | undefined {
    // As the real shell: only an enrolled peer gets in.
    if (!this.#coordinator.state?.peers.has(agent.options.peer)) return undefined;
    const id = ++this.#links;
    const link: SimulatedLink = new SimulatedLink(
      id,
      this.#clock,
      this.#prng.fork(),
      { meanDelayMs: this.#mix.meanDelayMs, bytesPerMs: this.#mix.linkBytesPerMs },
      {
        onMessages: (messages) => {
          for (const message of messages) if (message.type === 'ack') this.#noteAcknowledged(agent, message.epochs);
          agent.onMessages(link, messages);
        },
        onClosed: () => agent.onLinkClosed(link),
      },
      {
        onMessages: (messages) => this.#coordinator.onMessages(id, messages),
        onClosed: () => this.#coordinator.onLinkClosed(id),
      },
    );
    if (tampered) link.tamper = (frame) => frame.replace(String.raw`priority\\\":0`, String.raw`priority\\\":9`);
    return this.#coordinator.accept(agent.options.peer, link) ? link : undefined;
  }

  /** The coordinator dropped stale reports too, so only what it accepted counts as told. */
  #noteAcknowledged(agent: AgentNode, epochs: readonly string[]): void {
    const state = this.#coordinator.state;
    for (const task of agent.state?.tasks.values() ?? []) {
      if (!epochs.includes(task.epoch) || task.status.kind !== 'ended' || task.status.outcome.kind !== 'done') continue;
      if (state?.stages.get(task.stage)?.finished.covers(task)) this.#checkers.onResultAcknowledged(task.stage, task);
    }
  }

  #createJobs(): void {
    const count = this.#prng.int(1, 4);
    for (let i = 0; i < count; i++) {
      const submitter = this.#prng.pick(this.#submitters);
      const spec = drawJob(this.#prng.fork(), toKey('swarm'), i);
      this.#clock.after(this.#prng.int(0, 15_000), () =>
        this.#client.submit(spec, submitter, (job) => {
          if (this.#prng.chance(0.2)) this.#strikes.once('cancel', 10_000, () => this.#client.cancel(job, submitter));
          if (this.#prng.chance(0.2))
            this.#strikes.once('pause', 5_000, () => this.#client.pauseFor(job, submitter, 4_000));
        }),
      );
    }
  }

  #planFaults(): void {
    const { mix, strikes } = { mix: this.#mix, strikes: this.#strikes };
    const agent = (prng: Prng) => prng.pick(this.#agents);
    strikes.recur('coordinator-crash', mix.coordinatorCrashMs, (prng) =>
      prng.chance(0.5) ? this.#crashCoordinator(prng) : this.#crashAtNextCommit(prng),
    );
    strikes.recur('agent-crash', mix.agentCrashMs, (prng) => this.#crashAgent(prng));
    strikes.recur('link-cut', mix.linkCutMs, (prng) => agent(prng).link?.cut());
    strikes.recur('link-silent', mix.linkSilentMs, (prng) => agent(prng).link?.goSilent());
    strikes.recur('link-one-way', mix.linkOneWayMs, (prng) =>
      agent(prng).link?.goSilent(prng.pick(['agent', 'coordinator'])),
    );
    strikes.recur('slow-disk', mix.slowDiskMs, (prng) => this.#disk.slowDown(prng.int(500, 5_000)));
    strikes.recur('sleep', mix.sleepMs, (prng) => agent(prng).options.clock.sleep(prng.int(500, 15_000)));
    strikes.recur('throttle', mix.throttleMs, (prng) => agent(prng).throttle(prng.pick([1, 3, 10])));
    strikes.recur('clock-jump', mix.clockJumpMs, (prng) => this.#jumpClock(prng));
    strikes.recur('drain', 20_000, (prng) => this.#client.drainFor(agent(prng).options.peer, 5_000));
  }

  #jumpClock(prng: Prng): void {
    const clocks = [this.#coordinatorClock, ...this.#agents.map(({ options }) => options.clock)];
    prng.pick(clocks).jump(prng.pick([-60_000, -2_000, 2_000, 60_000]));
  }

  /** What a promise's callback throws must end the run, as what a step throws does. */
  #guard<T>(act: (value: T) => void): (value: T) => void {
    return (value) => {
      try {
        act(value);
      } catch (error) {
        this.#failure = error instanceof Error ? error : new Error(String(error));
      }
    };
  }

  /** In the middle of things rather than at any time: most of the time nothing is being written. */
  #crashAtNextCommit(prng: Prng): void {
    this.#clock.after(1, () => {
      if (this.#healed) return;
      if (this.#disk.isQuiet) this.#crashAtNextCommit(prng);
      else this.#clock.after(prng.exponential(3), () => this.#healed || this.#crashCoordinator(prng));
    });
  }

  #crashCoordinator(prng: Prng): void {
    this.#coordinator.crash();
    this.#restartCoordinatorLater(prng);
  }

  #onDiskFailed(): void {
    this.#strikes.note('disk-failed');
    this.#restartCoordinatorLater(this.#prng);
  }

  #restartCoordinatorLater(prng: Prng): void {
    this.#clock.after(prng.int(50, 6_000), () => {
      if (!this.#coordinator.isUp) this.#coordinator.start();
    });
  }

  #crashAgent(prng: Prng): void {
    const agent = prng.pick(this.#agents);
    agent.crash();
    this.#clock.after(prng.int(50, 10_000), () => {
      if (!agent.isUp) agent.start();
    });
  }

  #heal(): void {
    this.#healed = true;
    this.#disk.failureChance = 0;
    if (!this.#coordinator.isUp) this.#coordinator.start();
    for (const agent of this.#agents) {
      agent.throttle(1);
      if (!agent.isUp) agent.start();
    }
  }

  /** Runs until `done` or a virtual time, letting promises settle after each thing. */
  async #playUntil(untilMs: number, done: () => boolean): Promise<void> {
    let things = 0;
    let nextCheckMs = this.#clock.elapsedMs;
    while (this.#clock.elapsedMs < untilMs && this.#clock.runNext()) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (this.#failure) throw this.#failure;
      this.#checkStore();
      if (++things > MAX_THINGS) throw new Violation(`liveness: ${MAX_THINGS} things happened and the run is not over`);
      if (this.#clock.elapsedMs < nextCheckMs) continue;
      nextCheckMs = this.#clock.elapsedMs + CHECK_EVERY_MS;
      if (done()) return;
    }
  }

  /** Whenever nothing is being written, store and memory must agree. */
  #checkStore(): void {
    const state = this.#coordinator.state;
    if (!state || !this.#disk.isQuiet || this.#disk.commits === this.#checkedCommits) return;
    this.#checkedCommits = this.#disk.commits;
    this.#checkers.checkStore(state, this.#disk.records());
  }

  #isSettled(): boolean {
    const state = this.#coordinator.state;
    if (!state || this.#client.isWaiting || !this.#disk.isQuiet) return false;
    const isOver = [...state.jobs.values()].every((job) => isEnded(job.status)) && state.attempts.size === 0;
    // A peer that was out of reach when its work was canceled learns it when it is back.
    return isOver && this.#agents.every((agent) => agent.tasksLeft === 0);
  }

  #describeWorkers(): string {
    return this.#agents
      .filter((agent) => agent.tasksLeft > 0)
      .map((agent) => `; ${agent.options.peer} still works on ${agent.tasksLeft} tasks (INV-8)`)
      .join('');
  }

  #checkEnd(): void {
    const state = this.#coordinator.state;
    if (!state) throw new Violation('liveness: the coordinator is down at the end');
    if (!this.#isSettled())
      throw new Violation(`liveness: not everything ended: ${describeOpen(state)}${this.#describeWorkers()}`);
    this.#checkers.onRecovered(state, this.#disk.records());
  }
}

function describeOpen(state: State): string {
  const jobs = [...state.jobs.values()]
    .filter((job) => !isEnded(job.status))
    .map((job) => `${job.id} ${job.status.kind}`);
  return `jobs [${jobs.join(', ')}], ${state.attempts.size} attempts`;
}

function toKey(name: string): KeyId {
  return `ed25519:${simulatedHash(name)}` as KeyId;
}
