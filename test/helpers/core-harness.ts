// Owns a small stage for tests of the core: a state, people and peers that speak in events, and a store that follows
// every change. After each event the invariants are checked, so that no test can pass on a broken state.

import { expect } from 'vitest';
import type { StoredRecord } from '../../src/core/change.ts';
import type { Effect } from '../../src/core/effect.ts';
import type { EventBody } from '../../src/core/event.ts';
import { checkInvariants, checkNothingIdle } from '../../src/core/invariants.ts';
import { durableRecords, recover } from '../../src/core/recover.ts';
import { DEFAULT_LIMITS, createState, type Limits, type Stage, type State } from '../../src/core/state.ts';
import { step } from '../../src/core/step.ts';
import type { Epoch, JobId, KeyId, PeerId, StageId } from '../../src/lib/ids.ts';
import { jobSpecSchema, type JobSpec, type JobSpecInput } from '../../src/protocol/job-spec.ts';
import { PROTOCOL_VERSION } from '../../src/protocol/version.ts';
import type { AssignedTask, ToAgent } from '../../src/protocol/to-agent.ts';
import type { HeldAttempt, Outcome } from '../../src/protocol/to-coordinator.ts';

export const GIB = 1_024 ** 3;
export const SUBMITTER = key(1);
export const JOB = '00000000000000aa' as JobId;

/** A key id for tests: the number, padded. */
export function key(number: number): KeyId {
  return `ed25519:${String(number).padStart(64, '0')}` as KeyId;
}

type StageInput = Partial<JobSpecInput['stages'][number]> & { name?: string };

/** A spec with one stage of `count` no-op items, or the given stages. */
export function specOf(count: number | StageInput[], extra: Partial<JobSpecInput> = {}): JobSpec {
  const stages = typeof count === 'number' ? [{ items: { kind: 'count' as const, count } }] : count;
  return jobSpecSchema.parse({
    v: 1,
    swarm: key(0),
    clientKey: 'key-1',
    name: 'test',
    stages: stages.map((stage) => ({ name: 'map', workload: 'noop', items: { kind: 'count', count: 10 }, ...stage })),
    ...extra,
  });
}

type PeerOptions = { memoryBytes?: number; backlog?: number; labels?: string[]; owner?: KeyId };

export class CoreHarness {
  state: State;
  at = 1_000;
  readonly store = new Map<string, StoredRecord>();
  readonly #limits: Limits;
  #links = 0;
  #requests = 0;

  constructor(limits: Partial<Limits> = {}) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.state = createState(1, this.#limits);
  }

  /** Steps one event, and the scheduling that ends its batch; returns all effects. */
  send(body: EventBody): Effect[] {
    const effects = [...this.#stepOne(body), ...this.#stepOne({ kind: 'schedule' })];
    expect(checkNothingIdle(this.state, this.at)).toEqual([]);
    return effects;
  }

  #stepOne(body: EventBody): readonly Effect[] {
    const { changes, effects } = step(this.state, { ...body, at: this.at });
    for (const change of changes) {
      if (change.op === 'put')
        this.store.set(`${change.record.kind} ${change.record.id}`, structuredClone(change.record));
      else this.store.delete(`${change.kind} ${change.id}`);
    }
    expect(checkInvariants(this.state)).toEqual([]);
    expect([...durableRecords(this.state)].map((record) => `${record.kind} ${record.id}`).sort()).toEqual(
      [...this.store.keys()].sort(),
    );
    return effects;
  }

  /** Lets time pass and ticks. */
  wait(durationMs: number): Effect[] {
    this.at += durationMs;
    return this.send({ kind: 'tick' });
  }

  /** kill -9 and start: the state is what the store holds. */
  restart(): void {
    const recovered = recover([...this.store.values()], this.state.incarnation + 1, this.#limits);
    if (!recovered.ok) throw new Error(recovered.error.message);
    this.state = recovered.value;
  }

  enrol(peer: PeerId): void {
    this.send({
      kind: 'member-enrolled',
      request: ++this.#requests,
      key: peer,
      name: `peer ${peer.slice(-2)}`,
      role: 'peer',
    });
  }

  /** Enrols a peer and connects it. */
  join(peer: PeerId, options: PeerOptions = {}): Effect[] {
    this.enrol(peer);
    return this.connect(peer, [], options);
  }

  connect(peer: PeerId, attempts: HeldAttempt[] = [], options: PeerOptions = {}): Effect[] {
    const { memoryBytes = 8 * GIB, backlog = 2, ...extra } = options;
    const devices = [{ id: 'cpu', kind: 'cpu' as const, name: 'test', memoryBytes, threads: 1 }];
    const said = { type: 'hello' as const, protocol: PROTOCOL_VERSION, version: 'test', name: 'test' };
    const hello = { ...said, devices, backlog, attempts, ...extra };
    return this.send({ kind: 'link-opened', peer, link: ++this.#links, hello });
  }

  disconnect(peer: PeerId): void {
    this.send({ kind: 'link-closed', peer, link: this.linkOf(peer) });
  }

  linkOf(peer: PeerId): number {
    return this.state.sessions.get(peer)?.link ?? 0;
  }

  submit(spec: JobSpec, jobId: JobId = JOB, submitter: KeyId = SUBMITTER): Effect[] {
    return this.send({
      kind: 'job-submitted',
      request: ++this.#requests,
      jobId,
      submitter,
      spec,
      envelope: '{}',
    });
  }

  act(kind: 'job-canceled' | 'job-paused' | 'job-resumed', jobId: JobId = JOB): Effect[] {
    return this.send({ kind, request: ++this.#requests, jobId, by: SUBMITTER });
  }

  drain(peer: PeerId, drained: boolean): Effect[] {
    return this.send({ kind: 'peer-drained', request: ++this.#requests, peer, drained });
  }

  report(peer: PeerId, epoch: Epoch, outcome: Outcome = done()): Effect[] {
    return this.send({ kind: 'reported', peer, link: this.linkOf(peer), reports: [{ epoch, outcome }] });
  }

  /** Reports everything a peer holds as done, until nobody holds anything. */
  finishAll(): void {
    for (let rounds = 0; this.state.attempts.size > 0; rounds++) {
      if (rounds > 10_000) throw new Error('the job does not end');
      const [attempt] = this.state.attempts.values();
      if (attempt) this.report(attempt.peer, attempt.epoch);
    }
  }

  stage(name = 'map', jobId: JobId = JOB): Stage {
    const stage = this.state.stages.get(`${jobId}/${name}` as StageId);
    if (!stage) throw new Error(`there is no stage ${name}`);
    return stage;
  }

  statusOf(jobId: JobId = JOB): string {
    return this.state.jobs.get(jobId)?.status.kind ?? 'absent';
  }

  heldBy(peer: PeerId): HeldAttempt[] {
    return [...this.state.attempts.values()]
      .filter((attempt) => attempt.peer === peer)
      .map(({ epoch, stage, start, end }) => ({ epoch, stage, start, end }));
  }
}

export function done(durationMs = 10): Outcome {
  return { kind: 'done', durationMs };
}

export function failed(reason = 'it broke', item?: number): Outcome {
  return item === undefined
    ? { kind: 'failed', scope: 'task', reason }
    : { kind: 'failed', scope: 'item', item, reason };
}

/** The messages to one peer among effects. */
export function messagesTo(peer: PeerId, effects: readonly Effect[]): ToAgent[] {
  return effects.flatMap((effect) => (effect.kind === 'send' && effect.peer === peer ? [effect.message] : []));
}

export function tasksTo(peer: PeerId, effects: readonly Effect[]): AssignedTask[] {
  return messagesTo(peer, effects).flatMap((message) => (message.type === 'assign' ? message.tasks : []));
}

/** The one reply among effects: its value, or the code and message of the refusal. */
export function replyOf(effects: readonly Effect[]): unknown {
  const replies = effects.flatMap((effect) => (effect.kind === 'reply' ? [effect.result] : []));
  expect(replies).toHaveLength(1);
  return replies[0]?.ok ? replies[0].value : replies[0]?.error;
}
