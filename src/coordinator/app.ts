// Owns the HTTP application: every request's guards (Host, Origin, session, role, size), the rows of the route table, and
// the few routes that carry bytes. What a row does is in routes.ts.

import { Hono, type Context, type MiddlewareHandler } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { z } from 'zod';
import { handleArtifact } from '../objects/http-handlers.ts';
import type { ObjectStore } from '../objects/objects.ts';
import { ERROR_CODES, SwarmError } from '../protocol/errors.ts';
import {
  ARTIFACTS_PATH,
  EVENTS_PATH,
  eventsQuerySchema,
  MAX_HANDSHAKE_BYTES,
  MAX_REQUEST_BYTES,
  METRICS_PATH,
  OPENAPI_PATH,
  ROUTES,
  type Access,
  type Failure,
  type RouteName,
} from '../protocol/http.ts';
import type { Logger } from '../runtime/logger.ts';
import type { Caller, Gatekeeper } from './gatekeeper.ts';
import type { DashboardFiles } from './dashboard-files.ts';
import type { HostGuard } from './host-guard.ts';
import type { LiveStreams } from './live-streams.ts';
import type { Metrics } from './metrics.ts';
import { toOpenApi } from './openapi.ts';
import { readText } from './request-body.ts';
import type { Handlers } from './routes.ts';

export type AppOptions = {
  readonly handlers: Handlers;
  /** Resolves when what the state shows now is durable. */
  readonly whenDurable: () => Promise<void>;
  readonly gatekeeper: Gatekeeper;
  readonly objects: ObjectStore;
  readonly live: LiveStreams;
  readonly metrics: Metrics;
  readonly hostGuard: HostGuard;
  readonly dashboard: DashboardFiles;
  readonly logger: Logger;
  readonly version: string;
  readonly metricsToken: string | undefined;
};

export function createApp(options: AppOptions): Hono {
  const { gatekeeper, objects, live, metrics, hostGuard, metricsToken } = options;
  const app = new Hono();
  const identify = (context: Context): Caller | undefined => gatekeeper.identify(tokenOf(context) ?? '');
  const member = (context: Context): Caller => checkAccess(identify(context), ['admin', 'submitter', 'peer', 'viewer']);

  app.use(checkHost(hostGuard));
  app.onError((error, context) => answerFailure(context, error, options.logger));
  app.notFound((context) => {
    const page = context.req.method === 'GET' ? options.dashboard.answer(context.req.path) : undefined;
    if (page) return page;
    // Strangers are not told which routes exist.
    member(context);
    throw new SwarmError('not-found', `there is no route ${context.req.method} ${context.req.path}`);
  });
  for (const name of Object.keys(ROUTES) as RouteName[]) addRow(app, name, options, identify);

  app.get(OPENAPI_PATH, (context) => {
    member(context);
    return context.json(toOpenApi(options.version));
  });
  app.get(METRICS_PATH, async (context) => {
    if (metricsToken === undefined || tokenOf(context) !== metricsToken) member(context);
    return context.text(await metrics.text(), 200, { 'content-type': metrics.contentType });
  });
  app.get(EVENTS_PATH, (context) => {
    const { key } = member(context);
    const query = parseInput(eventsQuerySchema, context.req.query(), 'query');
    // The framework answers HEAD by GET and drops the body: the stream would have no reader and no end.
    if (context.req.method === 'HEAD') return context.body(null, 405, { allow: 'GET' });
    return live.open(query.job, key);
  });
  app.on(['HEAD', 'GET', 'PUT'], `${ARTIFACTS_PATH}/:id`, (context) => {
    // A viewer sees how jobs go, not what is in them.
    const caller = checkAccess(identify(context), ['admin', 'submitter', 'peer']);
    return handleArtifact(objects, context.req.raw, context.req.param('id'), { uploader: caller.key });
  });
  return app;
}

function addRow(
  app: Hono,
  name: RouteName,
  options: Pick<AppOptions, 'handlers' | 'whenDurable'>,
  identify: (context: Context) => Caller | undefined,
): void {
  const row = ROUTES[name];
  const path = row.path.replace(/\{(\w+)\}/g, ':$1');
  // The table ties each name to its handler's types; this loop over all names cannot.
  const handle = options.handlers[name] as (given: unknown) => unknown;
  app.on(row.method.toUpperCase(), path, async (context) => {
    const caller = identify(context);
    if (Array.isArray(row.access)) checkAccess(caller, row.access);
    const params = parseInput(row.params, context.req.param(), 'path');
    const query = parseInput(row.query, context.req.query(), 'query');
    // Nothing of a body is read before its sender may send it.
    const body = row.body && (await readBody(context, name, row.body));
    const answer = await handle({ params, query, body, caller });
    // What a member is shown must outlive a crash; health and handshakes show nothing of the state.
    if (Array.isArray(row.access)) await options.whenDurable();
    return context.json(answer as object);
  });
}

/** A hello is read by the handshake itself, which can tell an old protocol from a malformed one. */
async function readBody(context: Context, name: RouteName, schema: z.ZodType): Promise<unknown> {
  const type = context.req.header('content-type') ?? '';
  // Forms and plain text can be sent by any web page without asking first.
  if (!/^application\/json\s*(;|$)/i.test(type))
    throw new SwarmError('bad-request', 'the content type must be application/json');
  const maxBytes = ROUTES[name].access === 'handshake' ? MAX_HANDSHAKE_BYTES : MAX_REQUEST_BYTES;
  const value = parseJson(await readText(context.req.raw, maxBytes));
  return name === 'greet' ? value : parseInput(schema, value, 'body');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SwarmError('bad-request', 'the body is not JSON');
  }
}

function parseInput<Schema extends z.ZodType>(schema: Schema, value: unknown, where: string): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new SwarmError('bad-request', `the ${where} is not valid: ${z.prettifyError(parsed.error).slice(0, 1_000)}`);
}

function checkAccess(caller: Caller | undefined, roles: Exclude<Access, string>): Caller {
  if (!caller)
    throw new SwarmError('unauthenticated', 'no valid session: prove your key first (POST /v1/session/hello)');
  if (roles.includes(caller.role)) return caller;
  throw new SwarmError('forbidden', `${caller.name} is a ${caller.role}; this takes a role of ${roles.join(' or ')}`);
}

function checkHost(guard: HostGuard): MiddlewareHandler {
  return async (context, next) => {
    const refusal = guard.check(context.req.header('host'), context.req.header('origin'));
    if (refusal !== undefined) throw new SwarmError('forbidden', refusal);
    await next();
    context.header('x-content-type-options', 'nosniff');
    // Artifacts never change and say so themselves.
    if (!context.res.headers.has('cache-control')) context.header('cache-control', 'no-store');
  };
}

function tokenOf(context: Context): string | undefined {
  return /^Bearer ([\w-]{1,200})$/.exec(context.req.header('authorization') ?? '')?.[1];
}

function answerFailure(context: Context, error: unknown, logger: Logger): Response {
  const known = error instanceof SwarmError ? error : undefined;
  if (!known) logger.error({ err: error, path: context.req.path }, 'a request failed');
  const code = known?.code ?? 'internal';
  const message = known?.message ?? 'the coordinator failed on this request; its log says why';
  const body: Failure = { error: { code, message: message.slice(0, 4_000) } };
  return context.json(body, ERROR_CODES[code].status as ContentfulStatusCode);
}
