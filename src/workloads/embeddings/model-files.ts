// Owns a model's files as a set: their hashes and the identity that follows from them. Does not know what they hold.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, relative, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { SwarmError } from '../../protocol/errors.ts';

/** `name` is relative to the model's folder, with forward slashes. */
export type ModelFile = { readonly name: string; readonly sha256: string; readonly sizeBytes: number };

/** The bytes' SHA-256 in hexadecimal. */
export function toSha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A model's identity, 64 hex digits: the SHA-256 over its files' sorted hashes, one a line. */
export function toModelId(files: readonly ModelFile[]): string {
  const hashes = files.map((file) => file.sha256).toSorted();
  return toSha256(hashes.map((hash) => `${hash}\n`).join(''));
}

/** Hashes the named files of a folder, sorted by name. */
export async function hashModelFiles(dir: string, names: readonly string[]): Promise<ModelFile[]> {
  const files: ModelFile[] = [];
  for (const name of names.toSorted()) files.push(await hashModelFile(dir, name));
  return files;
}

async function hashModelFile(dir: string, name: string): Promise<ModelFile> {
  const path = join(dir, name);
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return { name, sha256: hash.digest('hex'), sizeBytes: (await stat(path)).size };
}

/** Whether the folder has a regular file of that name. Throws `bad-input` when it is a link that leads out of the folder. */
export async function hasModelFile(dir: string, name: string): Promise<boolean> {
  const path = join(dir, name);
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() !== true) return false;
  const inside = relative(await realpath(dir), await realpath(path));
  if (inside.startsWith(`..${sep}`) || isAbsolute(inside)) {
    throw new SwarmError(
      'bad-input',
      `${path} is a link that leads out of the model's folder; put the file itself there`,
    );
  }
  return true;
}
