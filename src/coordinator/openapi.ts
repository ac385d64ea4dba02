// Owns the OpenAPI 3.1 document, made from the route table.

import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import { ARTIFACTS_PATH, EVENTS_PATH, failureSchema, METRICS_PATH, ROUTES } from '../protocol/http.ts';

const BYTES = z.string().openapi({ format: 'binary' });
const FAILURE = { description: 'Refused.', content: { 'application/json': { schema: failureSchema } } };

let cached: { version: string; document: object } | undefined;

/** The document for this release; made once. */
export function toOpenApi(version: string): object {
  if (cached?.version !== version) cached = { version, document: build(version) };
  return cached.document;
}

function build(version: string): object {
  const app = new OpenAPIHono();
  app.openAPIRegistry.registerComponent('securitySchemes', 'session', { type: 'http', scheme: 'bearer' });
  for (const [operationId, row] of Object.entries(ROUTES)) {
    const isOpen = row.access === 'public' || row.access === 'handshake';
    app.openAPIRegistry.registerPath(
      createRoute({
        operationId,
        method: row.method,
        path: row.path,
        summary: row.summary,
        ...(!isOpen && { security: [{ session: [] }] }),
        request: {
          params: row.params,
          query: row.query,
          ...(row.body && { body: { required: true, content: { 'application/json': { schema: row.body } } } }),
        },
        responses: {
          200: { description: row.summary, content: { 'application/json': { schema: row.response } } },
          default: FAILURE,
        },
      }),
    );
  }
  registerByteRoutes(app);
  const info = { title: 'Backyard Swarm coordinator', version };
  return app.getOpenAPI31Document({ openapi: '3.1.0', info });
}

function registerByteRoutes(app: OpenAPIHono): void {
  const security = [{ session: [] }];
  const answer = (description: string, type: string) => ({
    200: { description, content: { [type]: { schema: BYTES } } },
    default: FAILURE,
  });
  const artifact = z.object({ id: z.string().regex(/^sha256:[0-9a-f]{64}$/) });
  app.openAPIRegistry.registerPath({
    operationId: 'getArtifact',
    method: 'get',
    path: `${ARTIFACTS_PATH}/{id}`,
    summary: 'The bytes of an artifact; ranges are understood.',
    security,
    request: { params: artifact },
    responses: answer('The bytes.', 'application/octet-stream'),
  });
  app.openAPIRegistry.registerPath({
    operationId: 'putArtifact',
    method: 'put',
    path: `${ARTIFACTS_PATH}/{id}`,
    summary: 'Uploads an artifact, or goes on with an upload at Upload-Offset.',
    security,
    request: { params: artifact, body: { content: { 'application/octet-stream': { schema: BYTES } } } },
    responses: { 200: { description: 'Stored before.' }, 201: { description: 'Stored now.' }, default: FAILURE },
  });
  app.openAPIRegistry.registerPath({
    operationId: 'events',
    method: 'get',
    path: EVENTS_PATH,
    summary: 'The live stream of one job, or of the whole swarm.',
    security,
    request: { query: z.object({ job: z.string().optional() }) },
    responses: answer('Server-sent events.', 'text/event-stream'),
  });
  app.openAPIRegistry.registerPath({
    operationId: 'metrics',
    method: 'get',
    path: METRICS_PATH,
    summary: 'Prometheus metrics.',
    security,
    responses: answer('Metrics.', 'text/plain'),
  });
}
