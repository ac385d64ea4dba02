// Owns the HTTP route table: one list from which the coordinator's router, the OpenAPI document and the typed client are
// made. Artifacts and the live stream carry bytes instead of JSON; their rows say so. Knows neither server nor client.

import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from './errors.ts';
import { clientHelloSchema, clientProofSchema, serverHelloSchema } from './handshake.ts';
import { countSchema, jobIdSchema, keyIdSchema, stageNameSchema } from './names.ts';
import { roleSchema, type Role } from './roster.ts';
import { MAX_SUBMISSION_CHARS } from './submission.ts';
import {
  failureViewSchema,
  jobDetailSchema,
  jobSummarySchema,
  ledgerViewSchema,
  logLineSchema,
  memberViewSchema,
  partViewSchema,
  peerViewSchema,
  queueViewSchema,
  swarmViewSchema,
  timelineViewSchema,
} from './views.ts';

/** The most that a JSON request may have: a submission inside JSON, with room for escapes. */
export const MAX_REQUEST_BYTES = 2 * MAX_SUBMISSION_CHARS;
/** The most that a request may have whose sender is not known yet. */
export const MAX_HANDSHAKE_BYTES = 64 * 1_024;
export const MAX_PAGE = 1_000;
/** A weight may shift shares, not starve anybody. */
export const [MIN_WEIGHT, MAX_WEIGHT] = [0.1, 10];

/** Who may call: nobody in particular (health only), whoever begins a handshake, or members of these roles. */
export type Access = 'public' | 'handshake' | readonly Role[];

/** Every member. */
const MEMBERS: readonly Role[] = ['admin', 'submitter', 'peer', 'viewer'];
const READERS = MEMBERS;
const SUBMITTERS: readonly Role[] = ['admin', 'submitter'];
const ADMINS: readonly Role[] = ['admin'];

const noSchema = z.strictObject({});
const jobParams = z.strictObject({ job: jobIdSchema });
const stageParams = z.strictObject({ job: jobIdSchema, stage: stageNameSchema });
const pageSize = z.coerce.number().int().min(1).max(MAX_PAGE).default(100);
/** Things at or after this place; the answer's `next` continues. */
const pageFrom = z.coerce.number().int().min(0).max(1e12).default(0);
const changeSchema = z.strictObject({ id: z.string(), changed: z.boolean() });

type RouteShape = {
  readonly method: 'get' | 'post';
  /** Parameters in braces, as OpenAPI has them. */
  readonly path: string;
  readonly summary: string;
  readonly access: Access;
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  readonly body: z.ZodObject | undefined;
  readonly response: z.ZodType;
};

function route<
  Response extends z.ZodType,
  Params extends z.ZodObject = typeof noSchema,
  Query extends z.ZodObject = typeof noSchema,
  Body extends z.ZodObject | undefined = undefined,
>(row: {
  method: 'get' | 'post';
  path: string;
  summary: string;
  access: Access;
  params?: Params;
  query?: Query;
  body?: Body;
  response: Response;
}) {
  return {
    ...row,
    params: (row.params ?? noSchema) as Params,
    query: (row.query ?? noSchema) as Query,
    body: row.body as Body,
  };
}

export const ROUTES = {
  health: route({
    method: 'get',
    path: '/healthz',
    summary: 'The process is alive.',
    access: 'public',
    response: z.strictObject({ status: z.literal('ok') }),
  }),
  ready: route({
    method: 'get',
    path: '/readyz',
    summary: 'The coordinator takes work; 503 while it stops.',
    access: 'public',
    response: z.strictObject({ status: z.literal('ready') }),
  }),
  greet: route({
    method: 'post',
    path: '/v1/session/hello',
    summary: 'Begins a session: the coordinator proves its key over the client’s nonce.',
    access: 'handshake',
    body: clientHelloSchema,
    response: z.strictObject({ handshake: z.string().max(64), answer: serverHelloSchema }),
  }),
  prove: route({
    method: 'post',
    path: '/v1/session/proof',
    summary: 'Ends the handshake: the client proves its key, enrols if it showed a membership, and gets a token.',
    access: 'handshake',
    body: z.strictObject({ handshake: z.string().max(64), proof: clientProofSchema }),
    response: z.strictObject({ token: z.string(), expiresInMs: z.number(), role: roleSchema, name: z.string() }),
  }),
  link: route({
    method: 'post',
    path: '/v1/session/link',
    summary: 'Makes a code with which a browser signs in as the caller, once and soon, to look.',
    access: MEMBERS,
    response: z.strictObject({ code: z.string(), expiresInMs: z.number() }),
  }),
  redeem: route({
    method: 'post',
    path: '/v1/session/redeem',
    summary: 'Changes a sign-in code for a token that may read.',
    access: 'handshake',
    body: z.strictObject({ code: z.string().max(64) }),
    response: z.strictObject({ token: z.string(), expiresInMs: z.number(), role: roleSchema, name: z.string() }),
  }),
  swarm: route({
    method: 'get',
    path: '/v1/swarm',
    summary: 'The swarm at a glance.',
    access: READERS,
    response: swarmViewSchema,
  }),
  members: route({
    method: 'get',
    path: '/v1/members',
    summary: 'Who belongs to the swarm.',
    access: READERS,
    response: z.strictObject({ members: z.array(memberViewSchema) }),
  }),
  weigh: route({
    method: 'post',
    path: '/v1/members/{member}/weight',
    summary: 'Changes how much of the swarm a member, or the admin, gets beside the others; 1 unless set.',
    access: ADMINS,
    params: z.strictObject({ member: keyIdSchema }),
    body: z.strictObject({ weight: z.number().min(MIN_WEIGHT).max(MAX_WEIGHT) }),
    response: changeSchema,
  }),
  peers: route({
    method: 'get',
    path: '/v1/peers',
    summary: 'The machines of the swarm.',
    access: READERS,
    response: z.strictObject({ peers: z.array(peerViewSchema) }),
  }),
  ledger: route({
    method: 'get',
    path: '/v1/ledger',
    summary: 'Who gave device time to whom, by week, the newest first.',
    access: READERS,
    response: ledgerViewSchema,
  }),
  timeline: route({
    method: 'get',
    path: '/v1/timeline',
    summary: 'What became of attempts of late: those that changed after a place, of one job or of all.',
    access: READERS,
    query: z.strictObject({ from: pageFrom, limit: pageSize, job: jobIdSchema.optional() }),
    response: timelineViewSchema,
  }),
  queue: route({
    method: 'get',
    path: '/v1/queue',
    summary: 'What waits, and how fast each connected peer is believed to do it.',
    access: READERS,
    response: queueViewSchema,
  }),
  drain: route({
    method: 'post',
    path: '/v1/peers/{peer}/drain',
    summary: 'Gives a peer no new work, or gives it work again.',
    access: ADMINS,
    params: z.strictObject({ peer: keyIdSchema }),
    body: z.strictObject({ drained: z.boolean() }),
    response: changeSchema,
  }),
  submit: route({
    method: 'post',
    path: '/v1/jobs',
    summary: 'Submits a signed job. The same submission again is the same job.',
    access: SUBMITTERS,
    /** The submission as text, so that the bytes that agents check are the ones that were signed. */
    body: z.strictObject({ submission: z.string().max(MAX_SUBMISSION_CHARS) }),
    response: changeSchema,
  }),
  jobs: route({
    method: 'get',
    path: '/v1/jobs',
    summary: 'Jobs, the newest first.',
    access: READERS,
    query: z.strictObject({ from: pageFrom, limit: pageSize }),
    response: z.strictObject({ jobs: z.array(jobSummarySchema), next: countSchema.optional() }),
  }),
  job: route({
    method: 'get',
    path: '/v1/jobs/{job}',
    summary: 'One job with its stages, who works on it, how fast, and for how long still.',
    access: READERS,
    params: jobParams,
    response: jobDetailSchema,
  }),
  cancel: route({
    method: 'post',
    path: '/v1/jobs/{job}/cancel',
    summary: 'Ends a job; what runs is stopped.',
    access: SUBMITTERS,
    params: jobParams,
    response: changeSchema,
  }),
  pause: route({
    method: 'post',
    path: '/v1/jobs/{job}/pause',
    summary: 'Starts nothing new of a job; what runs is finished.',
    access: SUBMITTERS,
    params: jobParams,
    response: changeSchema,
  }),
  resume: route({
    method: 'post',
    path: '/v1/jobs/{job}/resume',
    summary: 'Goes on with a paused job.',
    access: SUBMITTERS,
    params: jobParams,
    response: changeSchema,
  }),
  prioritise: route({
    method: 'post',
    path: '/v1/jobs/{job}/priority',
    summary: 'Changes the priority of a job: higher runs first.',
    access: SUBMITTERS,
    params: jobParams,
    body: z.strictObject({ priority: z.int().min(-100).max(100) }),
    response: changeSchema,
  }),
  parts: route({
    method: 'get',
    path: '/v1/jobs/{job}/stages/{stage}/parts',
    summary: 'The result parts of a stage in item order, from an item index on.',
    access: MEMBERS,
    params: stageParams,
    query: z.strictObject({ from: pageFrom, limit: pageSize }),
    response: z.strictObject({
      /** Items of the stage. */
      total: countSchema,
      finished: z.boolean(),
      parts: z.array(partViewSchema),
      next: countSchema.optional(),
    }),
  }),
  failures: route({
    method: 'get',
    path: '/v1/jobs/{job}/failures',
    summary: 'Items that failed for good, with the reason.',
    access: READERS,
    params: jobParams,
    query: z.strictObject({ from: pageFrom, limit: pageSize }),
    response: z.strictObject({ failures: z.array(failureViewSchema), next: countSchema.optional() }),
  }),
  explain: route({
    method: 'get',
    path: '/v1/jobs/{job}/stages/{stage}/explain',
    summary: 'Why a stage’s items are not running, from the scheduler itself.',
    access: READERS,
    params: stageParams,
    response: z.strictObject({ kind: z.string(), lines: z.array(z.string()) }),
  }),
  logs: route({
    method: 'get',
    path: '/v1/jobs/{job}/logs',
    summary: 'The last lines that a job’s runners wrote.',
    access: READERS,
    params: jobParams,
    query: z.strictObject({ from: pageFrom, limit: pageSize }),
    response: z.strictObject({ lines: z.array(logLineSchema), next: countSchema }),
  }),
} as const satisfies Record<string, RouteShape>;

export type RouteName = keyof typeof ROUTES;
type Row<Name extends RouteName> = (typeof ROUTES)[Name];

/** What a caller gives: parameters, query and body together, as the table names them. */
export type RequestOf<Name extends RouteName> = z.input<Row<Name>['params']> &
  Partial<z.input<Row<Name>['query']>> &
  (Row<Name>['body'] extends z.ZodObject ? { readonly body: z.input<Row<Name>['body']> } : object);
export type ResponseOf<Name extends RouteName> = z.output<Row<Name>['response']>;

/** Routes that speak bytes: described in the OpenAPI document, handled apart. */
export const EVENTS_PATH = '/v1/events';
export const ARTIFACTS_PATH = '/v1/artifacts';
export const AGENT_PATH = '/v1/agent';
export const METRICS_PATH = '/metrics';
export const OPENAPI_PATH = '/openapi.json';

/** What the live stream takes: one job, or the whole swarm. */
export const eventsQuerySchema = z.strictObject({ job: jobIdSchema.optional() });

const errorCodeSchema = z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]);

/** The body of every answer that is no success. */
export const failureSchema = z.object({ error: z.object({ code: errorCodeSchema, message: z.string().max(4_000) }) });
export type Failure = z.infer<typeof failureSchema>;

/** Carries a session's token. */
export function toAuthorization(token: string): string {
  return `Bearer ${token}`;
}
