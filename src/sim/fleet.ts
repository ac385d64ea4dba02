// Owns a fleet in virtual time, for benchmarks and for what-if questions: the production core, driven by events, with
// agents that run one task after another at speeds of their own, send results over their uplinks, tell their cursors,
// and give up tails. No network but a delay, no store, and no fault but peers that come and go.

import type { EventBody } from '../core/event.ts';
import { learnSpeed } from '../core/schedule/estimate.ts';
import { createState, DEFAULT_LIMITS, type Limits, type Stage, type State } from '../core/state.ts';
import { step } from '../core/step.ts';
import { toStageId, type Epoch, type JobId, type KeyId, type PeerId } from '../lib/ids.ts';
import { Prng } from '../lib/prng.ts';
import type { Device } from '../protocol/device.ts';
import { jobSpecSchema } from '../protocol/job-spec.ts';
import type { AssignedTask, ToAgent } from '../protocol/to-agent.ts';
import type { Outcome } from '../protocol/to-coordinator.ts';

export type FleetStage = {
  readonly items: number;
  /** Which kind of work: peers differ in what they are good at. */
  readonly kind: number;
  readonly taskItems?: number;
  /** Places of earlier stages in the job. */
  readonly needs?: readonly number[];
  readonly memoryBytes?: number;
  readonly labels?: readonly string[];
  /** Of the result. */
  readonly bytesPerItem?: number;
};

export type FleetJob = {
  readonly stages: readonly FleetStage[];
  readonly atMs?: number;
  readonly submitter?: KeyId;
  readonly priority?: number;
};

export type FleetPeer = {
  /** Real ms per item of each kind of work; Infinity for what it cannot do. */
  readonly msPerItem: readonly number[];
  readonly devices?: readonly Device[];
  readonly labels?: readonly string[];
  readonly owner?: KeyId;
  /** Absent: sending takes no time. */
  readonly uplinkBytesPerMs?: number;
};

export type FleetOptions = {
  readonly seed: number;
  readonly peers: readonly FleetPeer[];
  readonly jobs: readonly FleetJob[];
  readonly limits?: Partial<Limits>;
  /** Standard deviation of ln(real time of a task). */
  readonly noise?: number;
  /** Tasks that are slowed, and how much. */
  readonly slowed?: { readonly share: number; readonly factor: number };
  /** Mean times that a peer stays and is away. */
  readonly churn?: { readonly upMs: number; readonly downMs: number };
  /** The scheduler knows the speeds from the start, as one that has worked for a while does. */
  readonly speedsKnown?: boolean;
  /** Shown the state at every tick. */
  readonly watch?: (state: State, at: number) => void;
};

export type FleetResult = {
  readonly makespanMs: number;
  /** By job, from its submission. */
  readonly jobMs: readonly number[];
  readonly counters: State['counters'];
};

type Run = AssignedTask & { end: number; msEach: number; startedAt: number; version: number };
type Peer = {
  readonly id: PeerId;
  readonly is: FleetPeer;
  uplinkFreeAt: number;
  queue: AssignedTask[];
  run: Run | undefined;
  link: number;
};

const DELAY_MS = 10;
const HEARTBEAT_MS = 1_000;
const TICK_MS = 500;
const BACKLOG = 2;
const MAX_STEPS = 5_000_000;
/** So many observations make an estimate that is believed. */
const KNOWN_BY = 4;
const DEVICE: Device = { id: 'cpu', kind: 'cpu', name: 'bench', memoryBytes: 1e10, threads: 1 };

/** Plays all jobs to their end. Throws when they do not end. */
export function playFleet(options: FleetOptions): FleetResult {
  return new Fleet(options).play();
}

class Fleet {
  readonly #options: FleetOptions;
  readonly #prng: Prng;
  readonly #state: State;
  readonly #peers: Peer[];
  readonly #endedAt = new Map<JobId, number>();
  #agenda: { readonly at: number; readonly act: () => void }[] = [];
  #now = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#prng = new Prng(options.seed);
    this.#state = createState(1, { ...DEFAULT_LIMITS, ...options.limits });
    this.#peers = options.peers.map((is, i) => ({
      ...{ id: toKey(1_000 + i), is, uplinkFreeAt: 0, queue: [], run: undefined, link: 0 },
    }));
  }

  play(): FleetResult {
    for (const peer of this.#peers) this.#join(peer);
    this.#tick();
    for (const [i, job] of this.#options.jobs.entries()) this.#after(job.atMs ?? 0, () => this.#submit(job, i));
    for (let steps = 0; this.#endedAt.size < this.#options.jobs.length; steps++) {
      const next = this.#agenda.shift();
      if (!next || steps > MAX_STEPS) throw new Error('the jobs do not end');
      this.#now = next.at;
      next.act();
    }
    const jobMs = this.#options.jobs.map(({ atMs = 0 }, i) => (this.#endedAt.get(toJobId(i)) ?? 0) - atMs);
    return { makespanMs: Math.max(...this.#endedAt.values()), jobMs, counters: this.#state.counters };
  }

  #after(delayMs: number, act: () => void): void {
    const at = this.#now + delayMs;
    let place = this.#agenda.length;
    while (place > 0 && (this.#agenda[place - 1]?.at ?? 0) > at) place--;
    this.#agenda.splice(place, 0, { at, act });
  }

  #post(body: EventBody): void {
    for (const event of [body, { kind: 'schedule' } as const])
      for (const effect of step(this.#state, { ...event, at: this.#now }).effects)
        if (effect.kind === 'send') this.#deliver(effect.peer, effect.link, effect.message);
    for (const [id, { status }] of this.#state.jobs)
      if (status.kind !== 'running' && !this.#endedAt.has(id)) this.#endedAt.set(id, this.#now);
  }

  #deliver(to: PeerId, link: number, message: ToAgent): void {
    const peer = this.#peers.find(({ id }) => id === to);
    if (!peer) return;
    this.#after(DELAY_MS, () => {
      if (peer.link === link) this.#onMessage(peer, message);
    });
  }

  #tell(peer: Peer, body: (at: { peer: PeerId; link: number }) => EventBody): void {
    const { id, link } = peer;
    this.#after(DELAY_MS, () => {
      if (peer.link === link) this.#post(body({ peer: id, link }));
    });
  }

  #report(peer: Peer, epoch: Epoch, outcome: Outcome): void {
    this.#tell(peer, (at) => ({ kind: 'reported', ...at, reports: [{ epoch, outcome }] }));
  }

  #join(peer: Peer): void {
    this.#post({ kind: 'member-enrolled', request: 0, key: peer.id, name: 'peer', role: 'peer' });
    this.#connect(peer);
    this.#after(HEARTBEAT_MS * this.#prng.float(), () => this.#beat(peer));
    this.#leaveLater(peer);
  }

  #connect(peer: Peer): void {
    peer.link = Math.abs(peer.link) + 1;
    const { id, link, is } = peer;
    const hello = {
      ...{
        type: 'hello' as const,
        protocol: 2,
        version: 'bench',
        name: 'bench',
        devices: [...(is.devices ?? [DEVICE])],
      },
      ...(is.labels && { labels: [...is.labels] }),
      ...(is.owner && { owner: is.owner }),
    };
    this.#post({ kind: 'link-opened', peer: id, link, hello: { ...hello, backlog: BACKLOG, attempts: [] } });
  }

  /** Leaves without a word, loses what it had, and comes back. */
  #leaveLater(peer: Peer): void {
    const { churn } = this.#options;
    if (!churn) return;
    this.#after(this.#prng.exponential(churn.upMs), () => {
      const { id, link } = peer;
      Object.assign(peer, { queue: [], run: undefined, link: -link });
      this.#after(DELAY_MS, () => this.#post({ kind: 'link-closed', peer: id, link }));
      this.#after(this.#prng.exponential(churn.downMs), () => {
        this.#connect(peer);
        this.#leaveLater(peer);
      });
    });
  }

  #beat(peer: Peer): void {
    const { run } = peer;
    const cursors = run ? [{ epoch: run.epoch, cursor: Math.floor(this.#cursorOf(run)) }] : [];
    if (peer.link > 0) this.#tell(peer, (at) => ({ kind: 'heartbeat', ...at, cursors }));
    this.#after(HEARTBEAT_MS * (0.9 + 0.2 * this.#prng.float()), () => this.#beat(peer));
  }

  #tick(): void {
    this.#post({ kind: 'tick' });
    this.#options.watch?.(this.#state, this.#now);
    this.#after(TICK_MS, () => this.#tick());
  }

  #submit({ stages, submitter = toKey(1), priority = 0 }: FleetJob, i: number): void {
    const spec = jobSpecSchema.parse({
      ...{ v: 1, swarm: toKey(0), clientKey: `job-${i}`, name: 'bench', priority },
      stages: stages.map(({ items, kind, needs = [], taskItems, memoryBytes = 0, labels = [] }, place) => ({
        ...{ name: toStageName(place), workload: 'noop', params: { kind }, needs: needs.map(toStageName) },
        ...{ items: { kind: 'count', count: items }, yieldsParts: false, memoryBytes, labels },
        ...(taskItems !== undefined && { taskItems }),
      })),
    });
    const jobId = toJobId(i);
    this.#post({ kind: 'job-submitted', request: 0, jobId, submitter, spec, envelope: '{}' });
    if (this.#options.speedsKnown === true)
      for (const [place, { kind }] of stages.entries()) {
        const stage = this.#state.stages.get(toStageId(jobId, toStageName(place)));
        if (stage) this.#teach(stage, kind);
      }
  }

  /** Puts into the book what peers would have shown by now. */
  #teach({ workClass, family }: Stage, kind: number): void {
    for (const { id, is } of this.#peers) {
      const msPerItem = is.msPerItem[kind] ?? Infinity;
      const logSlowness = this.#state.sessions.get(id)?.logSlowness ?? 0;
      if (!Number.isFinite(msPerItem) || this.#state.estimates.pairs.get(workClass)?.has(id)) continue;
      const seen = { workClass, family, peer: id, logSlowness, at: this.#now };
      for (let i = 0; i < KNOWN_BY; i++) learnSpeed(this.#state.estimates, seen, msPerItem);
    }
  }

  #stageOf(task: AssignedTask): FleetStage | undefined {
    const job = this.#options.jobs[Number.parseInt(task.stage.slice(0, 16), 16)];
    return job?.stages[Number(task.stage.slice(task.stage.lastIndexOf('-') + 1))];
  }

  #onMessage(peer: Peer, message: ToAgent): void {
    if (message.type === 'assign') peer.queue.push(...message.tasks);
    if (message.type === 'shrink') for (const { epoch, until } of message.tasks) this.#shrink(peer, epoch, until);
    if (message.type === 'cancel') for (const epoch of message.epochs) this.#cancel(peer, epoch);
    this.#startNext(peer);
  }

  #startNext(peer: Peer): void {
    const task = peer.run ? undefined : peer.queue.shift();
    if (!task) return;
    const { noise = 0.15, slowed } = this.#options;
    const plainMs = (peer.is.msPerItem[this.#stageOf(task)?.kind ?? 0] ?? 1) * Math.exp(noise * gaussian(this.#prng));
    const msEach = slowed && this.#prng.chance(slowed.share) ? plainMs * slowed.factor : plainMs;
    peer.run = { ...task, msEach, startedAt: this.#now, version: 0 };
    this.#finishLater(peer, peer.run);
  }

  #cursorOf({ start, end, startedAt, msEach }: Run): number {
    return Math.min(end, start + (this.#now - startedAt) / msEach);
  }

  #finishLater(peer: Peer, run: Run): void {
    const version = ++run.version;
    this.#after(run.startedAt + (run.end - run.start) * run.msEach - this.#now, () => {
      if (peer.run !== run || run.version !== version) return;
      peer.run = undefined;
      const durationMs = this.#now - run.startedAt;
      this.#startNext(peer);
      this.#send(peer, run, () => this.#report(peer, run.epoch, { kind: 'done', durationMs, end: run.end }));
    });
  }

  /** A result goes out when those before it are through; the device works on meanwhile. */
  #send(peer: Peer, run: Run, done: () => void): void {
    const { bytesPerItem = 0 } = this.#stageOf(run) ?? {};
    const sendMs = ((run.end - run.start) * bytesPerItem) / (peer.is.uplinkBytesPerMs ?? Infinity);
    if (sendMs === 0) return done();
    peer.uplinkFreeAt = Math.max(this.#now, peer.uplinkFreeAt) + sendMs;
    const { link } = peer;
    this.#after(peer.uplinkFreeAt - this.#now, () => {
      if (peer.link === link) done();
    });
  }

  #shrink(peer: Peer, epoch: Epoch, until: number): void {
    const { run } = peer;
    const waiting = peer.queue.find((task) => task.epoch === epoch);
    if (run?.epoch === epoch) {
      run.end = Math.min(run.end, Math.max(until, Math.ceil(this.#cursorOf(run)), run.start + 1));
      this.#finishLater(peer, run);
      this.#tell(peer, (at) => ({ kind: 'shrunk', ...at, tasks: [{ epoch, end: run.end }] }));
    } else if (waiting && until <= waiting.start) this.#cancel(peer, epoch);
    else if (waiting) {
      const end = Math.min(waiting.end, until);
      peer.queue = peer.queue.map((task) => (task === waiting ? { ...task, end } : task));
      this.#tell(peer, (at) => ({ kind: 'shrunk', ...at, tasks: [{ epoch, end }] }));
    }
  }

  #cancel(peer: Peer, epoch: Epoch): void {
    const held = peer.run?.epoch === epoch || peer.queue.some((task) => task.epoch === epoch);
    if (!held) return;
    if (peer.run?.epoch === epoch) peer.run = undefined;
    peer.queue = peer.queue.filter((task) => task.epoch !== epoch);
    this.#report(peer, epoch, { kind: 'stopped' });
  }
}

function toKey(number: number): KeyId {
  return `ed25519:${String(number).padStart(64, '0')}` as KeyId;
}

function toStageName(place: number): string {
  return `stage-${place}`;
}

function toJobId(i: number): JobId {
  return i.toString(16).padStart(16, '0') as JobId;
}

/** The sum of twelve uniform numbers, less six: near enough. */
function gaussian(prng: Prng): number {
  let sum = -6;
  for (let i = 0; i < 12; i++) sum += prng.float();
  return sum;
}
