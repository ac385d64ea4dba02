// Owns how a store file comes to be, is checked before anything may write to it, and is brought to this release's schema.

import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { SwarmError } from '../protocol/errors.ts';
import { APPLICATION_ID } from './migrations.ts';
import { restoreAdvice } from './sqlite-errors.ts';

/** How long a commit waits for a stranger's lock (a person's SQLite shell) before it fails. */
const BUSY_TIMEOUT_MS = 2_000;

/** Opens the checked, migrated store at `path`, creating it when there is none. The caller holds the store's lock. */
export function openDatabase(path: string, migrations: readonly string[]): DatabaseSync {
  if (existsSync(path)) checkExisting(path, migrations.length);
  else create(path, migrations);
  const db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    migrate(db, migrations);
    db.exec('PRAGMA journal_mode = WAL');
    configure(db);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function configure(db: DatabaseSync): void {
  // FULL: an acknowledged commit survives a power cut. fullfsync is for macOS, whose fsync stops at the drive's cache.
  db.exec('PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON');
  db.exec('PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY');
  db.exec('PRAGMA journal_size_limit = 67108864');
}

/** Made complete under another name and renamed: a store that exists is never half made, and an empty file is a loss. */
function create(path: string, migrations: readonly string[]): void {
  if (existsSync(`${path}-wal`))
    throw new SwarmError(
      'store-corrupt',
      `${path} is missing but its write-ahead log ${path}-wal is there. ${restoreAdvice(path)}`,
    );
  const making = `${path}.making`;
  for (const suffix of ['', '-journal', '-wal', '-shm']) rmSync(making + suffix, { force: true });
  const db = new DatabaseSync(making);
  try {
    db.exec(`PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA application_id = ${APPLICATION_ID}`);
    migrate(db, migrations);
  } finally {
    db.close();
  }
  renameSync(making, path);
  syncFolder(dirname(path));
}

function migrate(db: DatabaseSync, migrations: readonly string[]): void {
  const from = readPragma(db, 'user_version');
  if (from === migrations.length) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    for (const step of migrations.slice(from)) db.exec(step);
    db.exec(`PRAGMA user_version = ${migrations.length}; COMMIT`);
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

/** Reads only, and leaves no file beside the store: what is not ours, newer or broken stays as it is. */
function checkExisting(path: string, newest: number): void {
  if (statSync(path).size === 0) throw new SwarmError('store-corrupt', `${path} is empty. ${restoreAdvice(path)}`);
  const db = openForReading(path);
  try {
    checkOwner(db, path);
    checkVersion(db, path, newest);
    checkPages(db, path);
  } finally {
    db.close();
  }
}

/**
 * Without a log the file is all there is and `immutable` keeps SQLite from making one. With a log, left by a crash, it
 * must be read too; a connection that may not write leaves the log as it is when it closes.
 */
function openForReading(path: string): DatabaseSync {
  const url = pathToFileURL(path);
  const hasLog = existsSync(`${path}-wal`) && statSync(`${path}-wal`).size > 0;
  if (!hasLog) url.searchParams.set('immutable', '1');
  return new DatabaseSync(url, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
}

function checkOwner(db: DatabaseSync, path: string): void {
  if (readPragma(db, 'application_id') === APPLICATION_ID) return;
  throw new SwarmError(
    'store-corrupt',
    `${path} is an SQLite database, but not a Backyard Swarm store. Nothing was changed. Name another file or data folder.`,
  );
}

function checkVersion(db: DatabaseSync, path: string, newest: number): void {
  const version = readPragma(db, 'user_version');
  if (version <= newest) return;
  throw new SwarmError(
    'store-newer',
    `the store ${path} has schema version ${version}, and this release knows versions up to ${newest}. ` +
      'Nothing was changed. Install the newer release, or restore a backup made by this one.',
  );
}

function checkPages(db: DatabaseSync, path: string): void {
  const problem = Object.values(db.prepare('PRAGMA quick_check(1)').get() ?? {})[0];
  if (problem === 'ok') return;
  throw new SwarmError('store-corrupt', `the store ${path} is damaged (${String(problem)}). ${restoreAdvice(path)}`);
}

function readPragma(db: DatabaseSync, name: 'application_id' | 'user_version'): number {
  return Number(db.prepare(`PRAGMA ${name}`).get()?.[name]);
}

/** Makes a rename in `folder` durable. Windows has no such call and needs none. */
export function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
