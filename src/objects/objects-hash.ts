// Owns the naming of bytes: SHA-256 as an ArtifactId, of bytes in memory and of files of any size.

import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { ArtifactId } from '../lib/ids.ts';
import type { StoredObject } from './objects.ts';

const READ_BYTES = 1_048_576;

/** A running SHA-256; `toArtifactId` ends it. */
export function startHash(): Hash {
  return createHash('sha256');
}

/** The name of what `hash` has seen. The hash cannot be used afterwards. */
export function toArtifactId(hash: Hash): ArtifactId {
  return `sha256:${hash.digest('hex')}` as ArtifactId;
}

/** The name of bytes in memory. */
export function hashBytes(bytes: Uint8Array): ArtifactId {
  return toArtifactId(startHash().update(bytes));
}

/** The name and size of a file, read as a stream. Throws Node's error when it cannot be read. */
export async function hashFile(path: string): Promise<StoredObject> {
  const { hash, sizeBytes } = await hashPrefix(path);
  return { id: toArtifactId(hash), sizeBytes };
}

/** A running hash over a file's bytes, ready for the bytes that will be added to it. */
export async function hashPrefix(path: string): Promise<{ hash: Hash; sizeBytes: number }> {
  const hash = startHash();
  let sizeBytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES }) as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
    sizeBytes += chunk.byteLength;
  }
  return { hash, sizeBytes };
}
