// Owns what each row of the route table does. Input has been parsed and the caller's role checked; refusals are thrown as
// SwarmErrors.

import { explain, explainRunning } from '../core/schedule/explain.ts';
import type { JobRecord, Stage, State } from '../core/state.ts';
import { defined } from '../lib/assert.ts';
import { toStageId, type JobId, type KeyId } from '../lib/ids.ts';
import type { ObjectStore } from '../objects/objects.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { ResponseOf, RouteName, ROUTES } from '../protocol/http.ts';
import { webCryptoSignatures } from '../protocol/keys.ts';
import { openSubmission, type OpenedSubmission } from '../protocol/submission.ts';
import { PROTOCOL_VERSION } from '../protocol/version.ts';
import type { z } from 'zod';
import type { Engine } from './engine.ts';
import { explainInWords, explainPlacements } from './explain-words.ts';
import type { Caller, Gatekeeper } from './gatekeeper.ts';
import type { JobLogs } from './job-logs.ts';
import type { Meter } from './meter.ts';
import type { Timeline } from './timeline.ts';
import { toQueueView } from './queue-view.ts';
import {
  listJobs,
  pageFailures,
  pageParts,
  toJobDetail,
  toJobSummary,
  toLedgerView,
  toPeerView,
  type ViewContext,
} from './views.ts';

/** What handlers work with. */
export type RouteContext = {
  readonly engine: Engine;
  readonly gatekeeper: Gatekeeper;
  readonly objects: ObjectStore;
  readonly meter: Meter;
  readonly logs: JobLogs;
  readonly timeline: Timeline;
  readonly swarm: KeyId;
  readonly adminKey: KeyId;
  readonly version: string;
  readonly startedAt: number;
  readonly isStopping: () => boolean;
  readonly toViewContext: () => ViewContext;
};

type Row<Name extends RouteName> = (typeof ROUTES)[Name];
export type Given<Name extends RouteName> = {
  readonly params: z.output<Row<Name>['params']>;
  readonly query: z.output<Row<Name>['query']>;
  readonly body: Row<Name>['body'] extends z.ZodObject ? z.output<Row<Name>['body']> : undefined;
  /** Absent on routes that anyone may call. */
  readonly caller: Caller | undefined;
};

export type Handlers = {
  readonly [Name in RouteName]: (given: Given<Name>) => ResponseOf<Name> | Promise<ResponseOf<Name>>;
};

export function createHandlers(context: RouteContext): Handlers {
  const { engine, gatekeeper, logs, meter, timeline } = context;
  const { state } = engine;

  const changeJob = (
    kind: 'job-canceled' | 'job-paused' | 'job-resumed',
    { params, caller }: { params: { job: JobId }; caller: Caller | undefined },
  ) => {
    const by = ownerOf(state, params.job, caller);
    return engine.ask({ kind, jobId: params.job, by });
  };

  return {
    health: () => ({ status: 'ok' }),
    ready: () => {
      if (context.isStopping()) throw new SwarmError('unavailable', 'the coordinator is stopping');
      return { status: 'ready' };
    },
    greet: ({ body }) => gatekeeper.greet(body),
    prove: async ({ body }) => {
      const { token, expiresInMs, role, name } = await gatekeeper.prove(body.handshake, body.proof);
      return { token, expiresInMs, role, name };
    },
    link: ({ caller }) => gatekeeper.makeLink(defined(caller, 'a caller')),
    redeem: ({ body }) => gatekeeper.redeem(body.code),
    swarm: () => toSwarmView(context),
    members: () => ({
      members: [...state.members.values()].map(({ id, name, role, joinedAt }) => ({
        ...{ id, name, role, joinedAt, weight: state.weights.get(id)?.weight ?? 1 },
      })),
    }),
    weigh: ({ params: { member }, body: { weight } }) => {
      if (!gatekeeper.find(member)) throw new SwarmError('not-found', `${member} is no member of this swarm`);
      return engine.ask({ kind: 'weight-set', submitter: member, weight });
    },
    peers: () => {
      const view = context.toViewContext();
      return { peers: [...state.peers.values()].map((peer) => toPeerView(view, peer)) };
    },
    ledger: () => toLedgerView(context.toViewContext()),
    timeline: ({ query: { from, limit, job } }) => ({
      ...{ incarnation: state.incarnation, now: engine.now() },
      ...timeline.page(from, limit, job),
    }),
    queue: () => toQueueView(context.toViewContext()),
    drain: ({ params, body }) => engine.ask({ kind: 'peer-drained', peer: params.peer, drained: body.drained }),
    submit: async ({ body, caller }) => submit(engine, context, body.submission, caller),
    jobs: ({ query: { from, limit } }) => {
      const view = context.toViewContext();
      const all = listJobs(state);
      const jobs = all.slice(from, from + limit).map((job) => toJobSummary(view, job));
      return from + limit < all.length ? { jobs, next: from + limit } : { jobs };
    },
    job: ({ params }) => toJobDetail(context.toViewContext(), findJob(state, params.job), meter.ratesOf(params.job)),
    cancel: (given) => changeJob('job-canceled', given),
    pause: (given) => changeJob('job-paused', given),
    resume: (given) => changeJob('job-resumed', given),
    prioritise: ({ params, body, caller }) => {
      ownerOf(state, params.job, caller);
      return engine.ask({ kind: 'job-priority-set', jobId: params.job, priority: body.priority });
    },
    parts: ({ params, query }) => {
      const stage = findStage(state, params);
      const finished = stage.record.status.kind === 'finished';
      return { total: stage.itemCount, finished, ...pageParts(stage, query.from, query.limit) };
    },
    failures: ({ params, query }) => pageFailures(state, findJob(state, params.job), query.from, query.limit),
    explain: ({ params }) => {
      const at = engine.now();
      const { id } = findStage(state, params);
      const explanation = explain(state, id, at) ?? { kind: 'ended' };
      const nameOf = (peer: KeyId) => state.peers.get(peer)?.name ?? peer;
      const running = explainPlacements(explainRunning(state, id, at), nameOf);
      const lines = explainInWords(explanation, nameOf, at);
      return { kind: explanation.kind, lines: running.length === 0 ? lines : [...lines, 'What runs:', ...running] };
    },
    logs: ({ params, query }) => {
      findJob(state, params.job);
      return logs.read(params.job, query.from, query.limit);
    },
  };
}

/** Accepts a signed submission: its signer must be the caller, and be a member who may submit. */
async function submit(
  engine: Engine,
  { swarm, gatekeeper }: RouteContext,
  text: string,
  caller: Caller | undefined,
): Promise<{ id: string; changed: boolean }> {
  const opened = await openSubmission(text, webCryptoSignatures);
  if (!opened.ok) throw new SwarmError('bad-signature', `the job was not accepted: ${opened.error}`);
  const { jobId, spec, signer } = opened.value;
  if (spec.swarm !== swarm)
    throw new SwarmError('bad-input', `the job was signed for swarm ${spec.swarm}; this is ${swarm}`);
  checkSigner(opened.value, gatekeeper.find(signer), caller);
  return engine.ask({ kind: 'job-submitted', jobId, submitter: signer, spec, envelope: text });
}

function checkSigner({ signer }: OpenedSubmission, member: Caller | undefined, caller: Caller | undefined): void {
  if (!member) throw new SwarmError('forbidden', `the job is signed by ${signer}, who is not a member of this swarm`);
  if (member.role !== 'admin' && member.role !== 'submitter')
    throw new SwarmError('forbidden', `${member.name} is a ${member.role} and may not submit jobs`);
  if (signer !== caller?.key)
    throw new SwarmError('forbidden', `the job is signed by ${signer}, but sent by ${caller?.key ?? 'nobody'}`);
}

/** Whoever may change a job: its submitter and admins. */
function ownerOf(state: State, id: JobId, caller: Caller | undefined): KeyId {
  const job = findJob(state, id);
  if (caller && (caller.role === 'admin' || caller.key === job.submitter)) return caller.key;
  throw new SwarmError('forbidden', `job ${id} was submitted by someone else: only they and admins may change it`);
}

export function findJob(state: State, id: JobId): JobRecord {
  const job = state.jobs.get(id);
  if (!job) throw new SwarmError('not-found', `there is no job ${id}; swarm jobs lists them`);
  return job;
}

function findStage(state: State, { job, stage }: { job: JobId; stage: string }): Stage {
  findJob(state, job);
  const found = state.stages.get(toStageId(job, stage));
  if (!found) throw new SwarmError('not-found', `job ${job} has no stage "${stage}"; swarm show ${job} lists them`);
  return found;
}

async function toSwarmView(context: RouteContext): Promise<ResponseOf<'swarm'>> {
  const { engine, objects, swarm, adminKey, version, startedAt } = context;
  const { state } = engine;
  return {
    swarm,
    admin: adminKey,
    version,
    protocol: PROTOCOL_VERSION,
    uptimeMs: engine.now() - startedAt,
    peers: { known: state.peers.size, connected: [...state.sessions.values()].filter((s) => s.connected).length },
    jobs: { known: state.jobs.size, active: state.activeJobs.size },
    artifacts: await objects.usage(),
    counters: { ...state.counters },
  };
}
