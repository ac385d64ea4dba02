// Owns artifacts over HTTP, the server's side, as functions from web Request to Response: knows no framework, no socket
// and no authentication (the route decides who may ask and names the uploader). src/objects/transfer*.ts is the client.
//
//   HEAD /v1/artifacts/:id   200 with Content-Length when it is stored; 404 with Upload-Offset, where an upload goes on
//   GET  /v1/artifacts/:id   200 whole, 206 for `Range: bytes=…` (one range), 416 with `Content-Range: bytes */size`
//   PUT  /v1/artifacts/:id   body: the bytes from `Upload-Offset: n` on, of `Upload-Length: total` in all
//                            201 stored now, 200 stored before, 409 with Upload-Offset where the upload really stands
//   Failures carry JSON {error: {code, message}} (src/protocol/errors.ts); HEAD has no body, so only the status.

import type { ArtifactId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import { ERROR_CODES, SwarmError } from '../protocol/errors.ts';
import { withStallLimit } from './objects-stream.ts';
import { incomplete, notFound, parseArtifactId, type ObjectStore, type UploadKey } from './objects.ts';

/** A sender that is silent for so long is cut off; what arrived is kept. */
const STALL_MS = 60_000;

export type ArtifactContext = {
  /** Who asks: uploads of different uploaders never meet before they are verified. */
  readonly uploader: string;
  /** The largest artifact that is taken; only the quota bounds it unless told. */
  readonly maxBytes?: number;
};

/** Answers HEAD, GET or PUT of the artifact that the path names as `rawId`. Only bugs and broken disks make it throw. */
export async function handleArtifact(
  store: ObjectStore,
  request: Request,
  rawId: string,
  context: ArtifactContext,
): Promise<Response> {
  try {
    const id = parseArtifactId(rawId);
    if (!id.ok) throw new SwarmError('bad-request', id.error);
    return await dispatch(store, request, id.value, context);
  } catch (error) {
    if (error instanceof SwarmError) return failureResponse(error, request.method);
    throw error;
  }
}

async function dispatch(
  store: ObjectStore,
  request: Request,
  id: ArtifactId,
  context: ArtifactContext,
): Promise<Response> {
  switch (request.method) {
    case 'HEAD':
      return await onHead(store, { id, uploader: context.uploader });
    case 'GET':
      return await onGet(store, request, id);
    case 'PUT':
      return await onPut(store, request, { id, uploader: context.uploader }, context.maxBytes);
    default:
      return new Response(null, { status: 405, headers: { Allow: 'HEAD, GET, PUT' } });
  }
}

async function onHead(store: ObjectStore, key: UploadKey): Promise<Response> {
  const stats = await store.stat(key.id);
  if (stats) return new Response(null, { headers: contentHeaders(key.id, stats.sizeBytes) });
  return new Response(null, { status: 404, headers: await offsetHeader(store, key) });
}

async function onGet(store: ObjectStore, request: Request, id: ArtifactId): Promise<Response> {
  const stats = await store.stat(id);
  if (!stats) throw notFound(id);
  const { sizeBytes } = stats;
  const range = parseRange(request.headers.get('range'), sizeBytes);
  if (range === 'whole') return new Response(await store.open(id), { headers: contentHeaders(id, sizeBytes) });
  if (range === 'outside')
    return new Response(null, { status: 416, headers: { 'Content-Range': `bytes */${sizeBytes}` } });
  const headers = contentHeaders(id, range.end - range.start);
  headers['Content-Range'] = `bytes ${range.start}-${range.end - 1}/${sizeBytes}`;
  return new Response(await store.open(id, range), { status: 206, headers });
}

async function onPut(
  store: ObjectStore,
  request: Request,
  key: UploadKey,
  maxBytes: number | undefined,
): Promise<Response> {
  const totalBytes = parseCount(request, 'upload-length');
  const offset = parseCount(request, 'upload-offset');
  if (maxBytes !== undefined && totalBytes > maxBytes)
    throw new SwarmError('too-large', `artifact ${key.id} has ${totalBytes} bytes; at most ${maxBytes} are taken`);
  const stored = await store.stat(key.id);
  if (stored) return putResponse(key.id, stored.sizeBytes, 200);
  try {
    const body = request.body ? withStallLimit(request.body, STALL_MS) : new Uint8Array();
    const end = await store.append(key, offset, body, { totalBytes, signal: request.signal });
    if (end !== totalBytes) throw incomplete(key.id, end, totalBytes);
    const { existed, sizeBytes } = await store.finish(key, totalBytes);
    return putResponse(key.id, sizeBytes, existed ? 200 : 201);
  } catch (error) {
    if (!(error instanceof SwarmError) || error.code !== 'conflict') throw error;
    return failureResponse(error, request.method, await offsetHeader(store, key));
  }
}

function putResponse(id: ArtifactId, sizeBytes: number, status: number): Response {
  return Response.json({ id, sizeBytes }, { status });
}

async function offsetHeader(store: ObjectStore, key: UploadKey): Promise<Record<string, string>> {
  return { 'Upload-Offset': String(await store.uploadedBytes(key)) };
}

/** An artifact is somebody's bytes: a browser must neither guess a type for them nor show them as this origin's page. */
function contentHeaders(id: ArtifactId, lengthBytes: number): Record<string, string> {
  return {
    'Content-Type': 'application/octet-stream',
    'Content-Length': String(lengthBytes),
    'Content-Disposition': 'attachment',
    'Content-Security-Policy': "sandbox; default-src 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'private, max-age=31536000, immutable',
    'Accept-Ranges': 'bytes',
    ETag: `"${id}"`,
  };
}

function failureResponse(error: SwarmError, method: string, headers: Record<string, string> = {}): Response {
  const { status } = ERROR_CODES[error.code];
  if (method === 'HEAD') return new Response(null, { status, headers });
  return Response.json({ error: { code: error.code, message: error.message } }, { status, headers });
}

function parseCount(request: Request, header: string): number {
  const text = request.headers.get(header) ?? '';
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new SwarmError(
    'bad-request',
    `the header ${header} must be a number of bytes, not ${JSON.stringify(text.slice(0, 40))}`,
  );
}

/** One range as RFC 9110 has it. A header that is not understood is ignored, as it says: the whole is sent. */
function parseRange(header: string | null, sizeBytes: number): Range | 'whole' | 'outside' {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '');
  const [first, last] = [match?.[1] ?? '', match?.[2] ?? ''];
  if (first === '' && last === '') return 'whole';
  const start = first === '' ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === '' || last === '' ? sizeBytes : Math.min(sizeBytes, Number(last) + 1);
  if (first !== '' && last !== '' && Number(last) < Number(first)) return 'whole';
  return start < end ? { start, end } : 'outside';
}
