// Owns a fleet for the scheduling benchmark: the production core, driven by events in virtual time, with agents that run
// one task after another at speeds of their own, tell their cursors, and give up tails. No network but a delay, no store.

import type { EventBody } from '../src/core/event.ts';
import { createState, DEFAULT_LIMITS, type Limits, type State } from '../src/core/state.ts';
import { step } from '../src/core/step.ts';
import type { Epoch, JobId, KeyId, PeerId } from '../src/lib/ids.ts';
import { Prng } from '../src/lib/prng.ts';
import { jobSpecSchema } from '../src/protocol/job-spec.ts';
import type { AssignedTask, ToAgent } from '../src/protocol/to-agent.ts';
import type { Outcome } from '../src/protocol/to-coordinator.ts';

export type FleetJob = {
  readonly items: number;
  /** Which kind of work: peers differ in what they are good at. */
  readonly kind: number;
  readonly taskItems?: number;
  readonly atMs?: number;
};

export type FleetOptions = {
  readonly seed: number;
  /** By peer: real ms per item of each kind of work. */
  readonly msPerItem: readonly (readonly number[])[];
  readonly jobs: readonly FleetJob[];
  readonly limits?: Partial<Limits>;
  /** Standard deviation of ln(real time of a task). */
  readonly noise?: number;
  /** Tasks that are slowed, and how much. */
  readonly slowed?: { readonly share: number; readonly factor: number };
  /** Mean times that a peer stays and is away. */
  readonly churn?: { readonly upMs: number; readonly downMs: number };
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
  readonly msPerItem: readonly number[];
  queue: AssignedTask[];
  run: Run | undefined;
  link: number;
};

const DELAY_MS = 10;
const HEARTBEAT_MS = 1_000;
const TICK_MS = 500;
const BACKLOG = 2;
const MAX_STEPS = 5_000_000;

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
    this.#peers = options.msPerItem.map((msPerItem, i) => ({
      ...{ id: toKey(1_000 + i), msPerItem, queue: [], run: undefined, link: 0 },
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
    const devices = [{ id: 'cpu', kind: 'cpu' as const, name: 'bench', memoryBytes: 1e10, threads: 1 }];
    const hello = { type: 'hello' as const, protocol: 2, version: 'bench', name: 'bench', devices };
    const { id, link } = peer;
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
    this.#after(TICK_MS, () => this.#tick());
  }

  #submit({ items, kind, taskItems }: FleetJob, i: number): void {
    const stage = { name: 'map', workload: 'noop', params: { kind }, items: { kind: 'count', count: items } };
    const spec = jobSpecSchema.parse({
      ...{ v: 1, swarm: toKey(0), clientKey: `job-${i}`, name: 'bench' },
      stages: [{ ...stage, yieldsParts: false, ...(taskItems !== undefined && { taskItems }) }],
    });
    const [jobId, submitter] = [toJobId(i), toKey(1)];
    this.#post({ kind: 'job-submitted', request: 0, jobId, submitter, spec, envelope: '{}' });
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
    const job = this.#options.jobs[Number.parseInt(task.stage.slice(0, 16), 16)];
    const plainMs = (peer.msPerItem[job?.kind ?? 0] ?? 1) * Math.exp(noise * gaussian(this.#prng));
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
      this.#report(peer, run.epoch, { kind: 'done', durationMs, end: run.end });
      this.#startNext(peer);
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

function toJobId(i: number): JobId {
  return i.toString(16).padStart(16, '0') as JobId;
}

/** The sum of twelve uniform numbers, less six: near enough. */
function gaussian(prng: Prng): number {
  let sum = -6;
  for (let i = 0; i < 12; i++) sum += prng.float();
  return sum;
}
