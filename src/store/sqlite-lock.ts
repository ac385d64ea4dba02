// Owns the lock that lets one process at a time use a store: a write lock on a small side database, held for the
// process's life and freed by the operating system however the process ends. The file itself stays behind: removing it
// would let two processes lock two different files of the same name.

import { hostname } from 'node:os';
import { DatabaseSync } from 'node:sqlite';
import { SwarmError } from '../protocol/errors.ts';
import { isBusy, isFull, toStoreError } from './sqlite-errors.ts';

type Holder = { readonly pid: number; readonly host: string };

export class StoreLock {
  /** Referred to for as long as the lock is held: a collected connection would free it. */
  readonly #db: DatabaseSync;

  private constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /** Locks the store at `path`, or throws SwarmError('store-locked') that names the holder if it is known. */
  static acquire(path: string): StoreLock {
    let db: DatabaseSync | undefined;
    try {
      db = new DatabaseSync(`${path}.lock`);
      // Readers are let in beside a write lock that has written nothing, so that a second opener can read who holds it.
      db.exec('BEGIN IMMEDIATE');
      writeHolder(db);
      db.exec('BEGIN IMMEDIATE');
      return new StoreLock(db);
    } catch (error) {
      const refusal = db && isBusy(error) ? lockedError(path, readHolder(db)) : toStoreError(error, `${path}.lock`);
      db?.close();
      throw refusal;
    }
  }

  /** Frees the lock. */
  release(): void {
    if (this.#db.isOpen) this.#db.close();
  }
}

/** Ends the transaction. A full disk only costs the name: the store behind this lock may still be readable. */
function writeHolder(db: DatabaseSync): void {
  try {
    db.exec('CREATE TABLE IF NOT EXISTS holder (pid INTEGER NOT NULL, host TEXT NOT NULL) STRICT; DELETE FROM holder');
    db.prepare('INSERT INTO holder VALUES (?, ?)').run(process.pid, hostname());
    db.exec('COMMIT');
  } catch (error) {
    if (!isFull(error)) throw error;
    if (db.isTransaction) db.exec('ROLLBACK');
  }
}

/** Who holds the lock; undefined when that cannot be read, for example in the instant in which it is being written. */
function readHolder(db: DatabaseSync): Holder | undefined {
  try {
    const row = db.prepare('SELECT pid, host FROM holder').get();
    return row ? { pid: Number(row['pid']), host: String(row['host']) } : undefined;
  } catch {
    return undefined;
  }
}

function lockedError(path: string, holder: Holder | undefined): SwarmError {
  const who = holder ? `process ${holder.pid} on ${holder.host}` : 'another process';
  return new SwarmError(
    'store-locked',
    `the store ${path} is in use by ${who}. Stop that coordinator first, or give this one another data folder.`,
  );
}
