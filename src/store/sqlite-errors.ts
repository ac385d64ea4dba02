// Owns the translation of SQLite's result codes to SwarmErrors, with what to do next.

import { SwarmError } from '../protocol/errors.ts';

/** SQLite's primary result codes that we tell apart (https://www.sqlite.org/rescode.html). */
const READONLY = 8;
const BUSY = 5;
const LOCKED = 6;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;
/** The shared-memory index could not grow: in practice, no room on the disk. */
const IOERR_SHMSIZE = 4_874;

/** What SQLite's code for `error` is, or undefined when it is not SQLite's. */
function sqliteCode(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : undefined;
}

/** True when another connection holds the lock that was asked for. */
export function isBusy(error: unknown): boolean {
  const code = (sqliteCode(error) ?? 0) & 0xff;
  return code === BUSY || code === LOCKED;
}

/** True when there was no room on the disk. */
export function isFull(error: unknown): boolean {
  const code = sqliteCode(error) ?? 0;
  return code === IOERR_SHMSIZE || (code & 0xff) === FULL;
}

/** How a person gets a damaged store back; ends each message about one. */
export function restoreAdvice(path: string): string {
  return (
    `Nothing was changed. Keep a copy of ${path} with its -wal file, then restore a backup: ` +
    `remove ${path}, ${path}-wal and ${path}-shm and put the backup in place of ${path}.`
  );
}

/** The SwarmError for a failure of the store at `path`; errors that are not SQLite's come back unchanged. */
export function toStoreError(error: unknown, path: string): unknown {
  const code = sqliteCode(error);
  if (code === undefined || !(error instanceof Error)) return error;
  const cause = { cause: error };
  if (isFull(error))
    return new SwarmError(
      'disk-full',
      `no room to write the store ${path}; nothing was written. Free disk space and start again.`,
      cause,
    );
  switch (code & 0xff) {
    case CORRUPT:
    case NOTADB:
      return new SwarmError(
        'store-corrupt',
        `the store ${path} is damaged (${error.message}). ${restoreAdvice(path)}`,
        cause,
      );
    case BUSY:
    case LOCKED:
      return new SwarmError(
        'store-locked',
        `another program has locked the store ${path}. Close it and start again.`,
        cause,
      );
    case CANTOPEN:
    case READONLY:
      return new SwarmError(
        'bad-input',
        `cannot open the store ${path} for writing (${error.message}). Check that its folder exists and is writable.`,
        cause,
      );
    case IOERR:
      return new SwarmError(
        'internal',
        `the disk failed under the store ${path} (${error.message}, SQLite code ${code}). Check the disk, then start again.`,
        cause,
      );
    default:
      return error;
  }
}
