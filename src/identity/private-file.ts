// Owns files that only their owner may read: keys and pins. Written whole or not at all, never over one that is there
// unless told so, and refused when others could have read or changed them. Knows nothing of what is inside.

import { randomBytes } from 'node:crypto';
import { link, mkdir, open, rename, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SwarmError } from '../protocol/errors.ts';

/** Far above any key or roster; a video in the wrong place is refused before it is read. */
const MAX_PRIVATE_FILE_BYTES = 4 * 1_024 * 1_024;
const OTHERS = 0o077;
const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/** The text of a private file, or undefined when there is none. Throws SwarmError when it is not private or unreadable. */
export async function readPrivateFile(path: string): Promise<string | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined;
    throw new SwarmError('forbidden', `cannot read ${path} (${codeOf(cause)}): check its owner and folder`, { cause });
  }
  try {
    await checkPrivate(path, file);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/** Creates or replaces a private file (0600) atomically; its folder is made (0700) when it is not there. */
export async function replacePrivateFile(path: string, text: string): Promise<void> {
  await writeAside(path, text, (aside) => rename(aside, path));
}

/** Creates a private file atomically; false, and nothing changed, when there is one already. */
export async function createPrivateFile(path: string, text: string): Promise<boolean> {
  try {
    await writeAside(path, text, (aside) => link(aside, path));
    return true;
  } catch (cause) {
    if (cause instanceof SwarmError && codeOf(cause.cause) === 'EEXIST') return false;
    throw cause;
  }
}

async function checkPrivate(path: string, file: FileHandle): Promise<void> {
  const { mode, size } = await file.stat();
  const isFile = (mode & 0o170000) === 0o100000;
  if (!isFile) throw new SwarmError('bad-input', `${path} is not a file: move it away`);
  if (size > MAX_PRIVATE_FILE_BYTES)
    throw new SwarmError('bad-input', `${path} is too big (${size} bytes): wrong file?`);
  if (process.platform === 'win32') return; // modes say nothing there
  if ((mode & OTHERS) !== 0)
    throw new SwarmError(
      'forbidden',
      `${path} can be used by other accounts (mode ${(mode & 0o777).toString(8)}): run chmod 600 '${path}', or keep it on a file system that has permissions; if others had access, make a new key`,
    );
  const folder = dirname(path);
  const { mode: folderMode } = await stat(folder);
  if ((folderMode & OTHERS_WRITE) !== 0 && (folderMode & STICKY) === 0)
    throw new SwarmError('forbidden', `other accounts can replace files in ${folder}: run chmod 700 '${folder}'`);
}

/** Writes beside the target and syncs before `publish` gives it its name, so that no crash leaves half a key. */
async function writeAside(path: string, text: string, publish: (aside: string) => Promise<void>): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const file = await open(aside, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await publish(aside);
    await syncFolder(dirname(path));
  } catch (cause) {
    throw toWriteError(path, cause);
  } finally {
    await unlink(aside).catch(() => undefined); // gone already after a rename
  }
}

/** A new name survives a power cut only once its folder is on disk. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function toWriteError(path: string, cause: unknown): SwarmError {
  const code = codeOf(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new SwarmError('disk-full', `cannot write ${path}: the disk is full; free some space and try again`, {
      cause,
    });
  return new SwarmError('forbidden', `cannot write ${path} (${code}): check that its folder is yours`, { cause });
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
}
