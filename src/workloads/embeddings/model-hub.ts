// Owns fetching a sentence encoder's files from a hub (Hugging Face's HTTP layout) into a folder, whole or not at all.
// Only files with known names are asked for; whatever else the repository holds is never downloaded.

import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { SwarmError } from '../../protocol/errors.ts';
import { MODEL_FILE_NAMES, ONNX_NAMES } from './model-folder.ts';
import type { Precision } from './use-lite/graph.ts';

export const DEFAULT_HUB = 'https://huggingface.co';

const ANSWER_TIMEOUT_MS = 30_000;
const MAX_FILE_BYTES = 8 * 1_024 * 1_024 * 1_024;
const MAX_LISTING_BYTES = 4 * 1_024 * 1_024;
const HUB_ID = /^([\w][\w.-]{0,95})\/([\w][\w.-]{0,95})(?:@([0-9a-f]{40}))?$/;

const listingSchema = z.looseObject({
  sha: z.string().regex(/^[0-9a-f]{40}$/),
  siblings: z.array(z.looseObject({ rfilename: z.string() })).max(10_000),
});

type HubId = { readonly owner: string; readonly name: string; readonly commit: string | undefined };

/** `owner/name` or `owner/name@<40 hex digits>`; undefined for anything else (a path). */
export function parseHubId(text: string): HubId | undefined {
  const [, owner, name, commit] = HUB_ID.exec(text) ?? [];
  if (owner === undefined || name === undefined || owner.startsWith('.') || name.startsWith('.')) return undefined;
  return { owner, name, commit };
}

/** The folder of the model, downloaded now or before. Throws `unavailable` (offline) or `not-found`. */
export async function fetchHubModel(id: HubId, cacheDir: string, precision: Precision, hub: string): Promise<string> {
  const known = id.commit === undefined ? undefined : folderOf(id, id.commit, cacheDir, precision);
  if (known !== undefined && (await isThere(known))) return known;
  const listing = await readListing(id, hub);
  const dir = folderOf(id, listing.sha, cacheDir, precision);
  if (await isThere(dir)) return dir;
  const partial = `${dir}.${randomUUID()}.partial`;
  try {
    for (const name of chooseFiles(listing.names, precision)) {
      await download(`${hub}/${id.owner}/${id.name}/resolve/${listing.sha}/${name}`, join(partial, name), id);
    }
    await rename(partial, dir).catch(async (error: unknown) => {
      // Another process was first: its files are of the same commit.
      if (!(await isThere(dir))) throw error;
    });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  return dir;
}

function folderOf(id: HubId, commit: string, cacheDir: string, precision: Precision): string {
  return join(cacheDir, 'hub', `${id.owner}--${id.name}@${commit}-${precision}`);
}

async function isThere(dir: string): Promise<boolean> {
  return (await stat(dir).catch(() => undefined))?.isDirectory() === true;
}

async function readListing(id: HubId, hub: string): Promise<{ sha: string; names: ReadonlySet<string> }> {
  const response = await request(`${hub}/api/models/${id.owner}/${id.name}/revision/${id.commit ?? 'main'}`, id);
  const parsed = listingSchema.safeParse(await readBoundedJson(response));
  if (!parsed.success) {
    throw new SwarmError(
      'bad-input',
      `${hub} does not answer like a model hub; check HF_ENDPOINT or give a local folder`,
    );
  }
  return { sha: parsed.data.sha, names: new Set(parsed.data.siblings.map((sibling) => sibling.rfilename)) };
}

/** Undefined for what is too long or no JSON: no listing is either. */
async function readBoundedJson(response: Response): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > MAX_LISTING_BYTES) return undefined;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    return undefined;
  }
}

/** The known files that the repository has, of networks only the first of the precision, with its weights file. */
function chooseFiles(present: ReadonlySet<string>, precision: Precision): string[] {
  const networks = new Set(Object.values(ONNX_NAMES).flat());
  const network = ONNX_NAMES[precision].find((name) => present.has(name));
  const wanted = ['README.md', ...MODEL_FILE_NAMES.filter((name) => !networks.has(name))];
  if (network !== undefined) wanted.push(network, `${network}_data`, `${network}.data`);
  return wanted.filter((name) => present.has(name));
}

async function download(url: string, path: string, id: HubId): Promise<void> {
  const response = await request(url, id);
  if (response.body === null) throw new SwarmError('unavailable', `${url} answered without a body; try again`);
  await mkdir(dirname(path), { recursive: true });
  let sizeBytes = 0;
  const bound = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      sizeBytes += chunk.byteLength;
      done(sizeBytes > MAX_FILE_BYTES ? new SwarmError('too-large', `${url} is larger than 8 GiB`) : null, chunk);
    },
  });
  await pipeline(Readable.from(response.body), bound, createWriteStream(path, { flags: 'wx' })).catch(
    (cause: unknown) => {
      // fetch reports a cut connection as a TypeError; a full disk keeps its own error.
      if (!(cause instanceof TypeError)) throw cause;
      throw new SwarmError('unavailable', `${url} broke off after ${sizeBytes} bytes; try again`, { cause });
    },
  );
  const announced = response.headers.get('content-length');
  if (announced === null || response.headers.has('content-encoding') || Number(announced) === sizeBytes) return;
  throw new SwarmError('unavailable', `${url} broke off after ${sizeBytes} of ${announced} bytes; try again`);
}

async function request(url: string, id: HubId): Promise<Response> {
  const label = `${id.owner}/${id.name}`;
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), ANSWER_TIMEOUT_MS);
  const response = await fetch(url, { signal: controller.signal })
    .catch((cause: unknown) => {
      throw new SwarmError(
        'unavailable',
        `cannot reach ${new URL(url).origin} for the model ${label}: a hub id resolves only online; give a local folder, or use-lite`,
        { cause },
      );
    })
    .finally(() => clearTimeout(timer));
  if (response.ok) return response;
  await response.body?.cancel();
  if (response.status >= 500 || response.status === 429) {
    throw new SwarmError('unavailable', `${url} answered ${response.status}; try again later`);
  }
  throw new SwarmError(
    'not-found',
    `${url} answered ${response.status}: there is no public model ${label}; check the id`,
  );
}
