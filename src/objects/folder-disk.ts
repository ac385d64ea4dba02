// Owns the folder's dealings with the disk: writing whole chunks, making names durable, and naming what went wrong.

import { open, rm, stat, statfs, type FileHandle } from 'node:fs/promises';
import { formatByteSize } from '../lib/byte-sizes.ts';
import { SwarmError } from '../protocol/errors.ts';

/** Codes of a disk, a disk quota or a file size limit that is exhausted. */
const FULL_CODES: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/** The SwarmError for a failed write under `folder`; other errors come back unchanged. */
export function toDiskError(error: unknown, folder: string): unknown {
  if (!FULL_CODES.has(codeOf(error))) return error;
  const message = `the disk of ${folder} is full. Free space there, or give the folder a smaller quota, and try again.`;
  return new SwarmError('disk-full', message, { cause: error });
}

/** Throws 'disk-full' unless `sizeBytes` can be written and `reserveBytes` stay free for others on the same disk. */
export async function checkFreeSpace(folder: string, sizeBytes: number, reserveBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= sizeBytes + reserveBytes) return;
  throw new SwarmError(
    'disk-full',
    `the disk of ${folder} has ${formatByteSize(bavail * bsize)} left, too little for ${formatByteSize(sizeBytes)} and a ` +
      `reserve of ${formatByteSize(reserveBytes)}. Free space there and try again.`,
  );
}

/** Writes all of `bytes` at `position`, however many calls it takes. */
export async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.byteLength;) {
    const { bytesWritten } = await file.write(bytes, written, bytes.byteLength - written, position + written);
    written += bytesWritten;
  }
}

/** The size of a file, or undefined when there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Makes a file's content durable. */
export async function syncFile(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  await file.sync();
}

/** Makes renames into `folder` durable. Windows has no such call and needs none. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  await using handle = await open(folder, 'r');
  await handle.sync();
}

/** Removes a file if it is there. */
export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
}
