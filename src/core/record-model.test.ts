// The small record machines, jobs, members, invites and drained peers, against a model of a few lines each: whatever is
// asked in whatever order, with restarts between, the answers and the records are the model's (fast-check's commands).

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CoreHarness, key, specOf } from '../../test/helpers/core-harness.ts';
import type { JobId, KeyId } from '../lib/ids.ts';
import type { EventBody } from './event.ts';

type JobStatus = 'running' | 'paused' | 'canceled';
type Role = 'peer' | 'submitter';
type Model = {
  readonly jobs: Map<JobId, { status: JobStatus; priority: number }>;
  readonly members: Map<KeyId, Role>;
  readonly peers: Set<KeyId>;
  readonly drained: Set<KeyId>;
  /** By invite: who used it. Each may be used twice, until it expires. */
  readonly used: Map<KeyId, KeyId[]>;
};
type Answer = 'changed' | 'same' | 'bad-invite' | 'conflict' | 'not-found';
type Command = fc.Command<Model, CoreHarness>;

const [MAX_USES, EXPIRES_AT] = [2, 60_000];
const KEYS = [11, 12, 13].map(key);
const INVITES = [21, 22].map(key);
const jobIdOf = (number: number) => number.toString(16).padStart(16, '0') as JobId;

type Asking = Extract<EventBody, { request: number }>;
type WithoutRequest<T> = T extends unknown ? Omit<T, 'request'> : never;

function ask(harness: CoreHarness, event: WithoutRequest<Asking>): Answer {
  const reply = harness.send({ ...event, request: 7 }).find((effect) => effect.kind === 'reply');
  if (!reply) throw new Error('no reply');
  if (!reply.result.ok) return reply.result.error.code as Answer;
  return reply.result.value.changed ? 'changed' : 'same';
}

/** Asks, and expects what the model says; then the records are compared. */
function command(
  name: string,
  carryOut: (harness: CoreHarness) => Answer | undefined,
  expected: (model: Model, at: number) => Answer | undefined,
): Command {
  return {
    check: () => true,
    run(model, harness) {
      const wanted = expected(model, harness.at);
      expect([name, carryOut(harness)]).toEqual([name, wanted]);
      compare(model, harness);
    },
    toString: () => name,
  };
}

function compare(model: Model, { state }: CoreHarness): void {
  const jobs = [...state.jobs.values()].map(({ id, status, priority }) => [id, { status: status.kind, priority }]);
  expect(new Map(jobs as [JobId, object][])).toEqual(model.jobs);
  expect(new Map([...state.members].map(([id, { role }]) => [id, role]))).toEqual(model.members);
  expect(new Set([...state.peers.values()].filter(({ drained }) => drained).map(({ id }) => id))).toEqual(
    model.drained,
  );
  expect(new Set(state.peers.keys())).toEqual(model.peers);
  expect(new Map([...state.invites].map(([id, { usedBy }]) => [id, [...usedBy]]))).toEqual(model.used);
}

const submit = (number: number): Command =>
  command(
    `submit ${number}`,
    (harness) => {
      const spec = specOf(5, { clientKey: `key-${number}` });
      return ask(harness, { kind: 'job-submitted', jobId: jobIdOf(number), submitter: key(1), spec, envelope: '{}' });
    },
    ({ jobs }) => {
      if (jobs.has(jobIdOf(number))) return 'same';
      jobs.set(jobIdOf(number), { status: 'running', priority: 0 });
      return 'changed';
    },
  );

const STATUS_AFTER = { 'job-canceled': 'canceled', 'job-paused': 'paused', 'job-resumed': 'running' } as const;

const change = (kind: keyof typeof STATUS_AFTER, number: number): Command =>
  command(
    `${kind} ${number}`,
    (harness) => ask(harness, { kind, jobId: jobIdOf(number), by: key(1) }),
    ({ jobs }) => {
      const job = jobs.get(jobIdOf(number));
      if (!job) return 'not-found';
      if (job.status === 'canceled') return kind === 'job-canceled' ? 'same' : 'conflict';
      if (job.status === STATUS_AFTER[kind]) return 'same';
      job.status = STATUS_AFTER[kind];
      return 'changed';
    },
  );

const prioritise = (number: number, priority: number): Command =>
  command(
    `priority ${number} ${priority}`,
    (harness) => ask(harness, { kind: 'job-priority-set', jobId: jobIdOf(number), priority }),
    ({ jobs }) => {
      const job = jobs.get(jobIdOf(number));
      if (!job) return 'not-found';
      if (job.status === 'canceled') return 'conflict';
      if (job.priority === priority) return 'same';
      job.priority = priority;
      return 'changed';
    },
  );

const enrol = (member: KeyId, role: Role, inviteId: KeyId): Command =>
  command(
    `enrol ${member.slice(-2)} as ${role} by ${inviteId.slice(-2)}`,
    (harness) => {
      const invite = { id: inviteId, maxUses: MAX_USES, expiresAt: EXPIRES_AT };
      return ask(harness, { kind: 'member-enrolled', key: member, name: 'somebody', role, invite });
    },
    ({ members, peers, used }, at) => {
      if (members.get(member) === role) return 'same';
      const usedBy = used.get(inviteId) ?? [];
      if (at > EXPIRES_AT || usedBy.includes(member) || usedBy.length >= MAX_USES) return 'bad-invite';
      used.set(inviteId, [...usedBy, member]);
      members.set(member, role);
      if (role === 'peer') peers.add(member);
      return 'changed';
    },
  );

const drain = (peer: KeyId, drained: boolean): Command =>
  command(
    `${drained ? 'drain' : 'undrain'} ${peer.slice(-2)}`,
    (harness) => ask(harness, { kind: 'peer-drained', peer, drained }),
    ({ peers, drained: all }) => {
      if (!peers.has(peer)) return 'not-found';
      if (all.has(peer) === drained) return 'same';
      if (drained) all.add(peer);
      else all.delete(peer);
      return 'changed';
    },
  );

const wait = (ms: number): Command =>
  command(
    `wait ${ms}`,
    (harness) => void harness.wait(ms),
    () => undefined,
  );
const restart = (): Command =>
  command(
    'restart',
    (harness) => harness.restart() as undefined,
    () => undefined,
  );

const number = fc.integer({ min: 1, max: 3 });
const commands = fc.commands(
  [
    number.map(submit),
    fc
      .tuple(fc.constantFrom(...(Object.keys(STATUS_AFTER) as (keyof typeof STATUS_AFTER)[])), number)
      .map((drawn) => change(...drawn)),
    fc.tuple(number, fc.integer({ min: -1, max: 1 })).map((drawn) => prioritise(...drawn)),
    fc
      .tuple(fc.constantFrom(...KEYS), fc.constantFrom<Role>('peer', 'submitter'), fc.constantFrom(...INVITES))
      .map((drawn) => enrol(...drawn)),
    fc.tuple(fc.constantFrom(...KEYS), fc.boolean()).map((drawn) => drain(...drawn)),
    fc.constantFrom(1_000, 40_000).map(wait),
    fc.constant(restart()),
  ],
  { maxCommands: 60, size: 'max' },
);

test('jobs, members, invites and drained peers are what their models say, restarts included', () => {
  const setup = () => ({
    model: { jobs: new Map(), members: new Map(), peers: new Set(), drained: new Set(), used: new Map() } as Model,
    real: new CoreHarness(),
  });
  fc.assert(
    fc.property(commands, (drawn) => fc.modelRun(setup, drawn)),
    { numRuns: 300 },
  );
});
