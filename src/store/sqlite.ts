// Owns the SQLite Store: one file, write-ahead log, one transaction and one fsync per commit. Runs synchronously inside
// asynchronous methods. Knows nothing of what records mean.

import { existsSync, renameSync, rmSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { backup, DatabaseSync, type StatementSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { assert } from '../lib/assert.ts';
import { SwarmError } from '../protocol/errors.ts';
import { MIGRATIONS } from './migrations.ts';
import { restoreAdvice, toStoreError } from './sqlite-errors.ts';
import { StoreLock } from './sqlite-lock.ts';
import { openDatabase, syncFolder } from './sqlite-open.ts';
import { encodeRecord, type Change, type Store, type StoredRecord } from './store.ts';

/** More than any store has. */
const ALL_PAGES = 2 ** 31 - 1;

export type SqliteStoreOptions = {
  /** The schema's steps; tests of migrations name others. */
  readonly migrations?: readonly string[];
};

export class SqliteStore implements Store {
  readonly path: string;
  readonly #lock: StoreLock;
  readonly #db: DatabaseSync;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;

  private constructor(path: string, lock: StoreLock, db: DatabaseSync) {
    this.path = path;
    this.#lock = lock;
    this.#db = db;
    this.#put = db.prepare(
      `INSERT INTO records (kind, id, version, value, sum) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET version = excluded.version, value = excluded.value, sum = excluded.sum`,
    );
    this.#delete = db.prepare('DELETE FROM records WHERE kind = ? AND id = ?');
  }

  /**
   * Opens the store at `path` for this process alone, creating it when there is none; its folder must exist.
   * Throws SwarmError 'store-locked', 'store-newer', 'store-corrupt' (also for a database that is not ours), 'disk-full'
   * or 'bad-input'; the file is then as it was.
   */
  static async open(path: string, options: SqliteStoreOptions = {}): Promise<SqliteStore> {
    const file = resolve(path);
    const lock = StoreLock.acquire(file);
    try {
      return new SqliteStore(file, lock, openDatabase(file, options.migrations ?? MIGRATIONS));
    } catch (error) {
      lock.release();
      throw toStoreError(error, file);
    }
  }

  /** Reads from a connection of its own, whose snapshot later commits do not change. */
  async *load(): AsyncGenerator<StoredRecord> {
    this.#assertOpen();
    const reader = new DatabaseSync(this.path, { readOnly: true });
    try {
      for (const row of reader.prepare('SELECT kind, id, version, value, sum FROM records').iterate()) {
        this.#assertOpen();
        yield toRecord(row, this.path);
      }
    } catch (error) {
      throw toStoreError(error, this.path);
    } finally {
      reader.close();
    }
  }

  async commit(changes: readonly Change[]): Promise<void> {
    this.#assertOpen();
    if (changes.length === 0) return;
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      for (const change of changes) this.#apply(change);
      this.#db.exec('COMMIT');
    } catch (error) {
      // A failed COMMIT or a full disk may have ended the transaction already.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw toStoreError(error, this.path);
    }
  }

  /**
   * Writes a consistent copy to `toPath` while commits go on; it opens as a store of its own.
   * Throws SwarmError('conflict') when `toPath` exists, 'disk-full' when there is no room for it.
   */
  async backup(toPath: string): Promise<void> {
    this.#assertOpen();
    const target = resolve(toPath);
    if (existsSync(target)) throw new SwarmError('conflict', `${target} exists. Name a new file for the backup.`);
    const partial = `${target}.partial`;
    try {
      rmSync(partial, { force: true });
      // A connection of its own: the copy is made on another thread, and a commit on the same connection meanwhile would
      // change its outcome. All at once: what others write between two steps would make it begin again.
      using source = new DatabaseSync(this.path, { readOnly: true });
      await backup(source, partial, { rate: ALL_PAGES });
      renameSync(partial, target);
      syncFolder(dirname(target));
    } catch (error) {
      rmSync(partial, { force: true });
      throw toStoreError(error, target);
    }
  }

  async close(): Promise<void> {
    if (!this.#db.isOpen) return;
    this.#db.close();
    this.#lock.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #apply(change: Change): void {
    if (change.op === 'delete') {
      this.#delete.run(change.kind, change.id);
      return;
    }
    const { kind, id, version } = change.record;
    const json = encodeRecord(change.record);
    this.#put.run(kind, id, version, json, checksum(kind, id, version, json));
  }

  #assertOpen(): void {
    assert(this.#db.isOpen, `the store ${this.path} is closed`);
  }
}

function checksum(kind: string, id: string, version: number, json: string): number {
  return crc32(`${kind}\0${id}\0${version}\0${json}`);
}

function toRecord(row: Readonly<Record<string, unknown>>, path: string): StoredRecord {
  const { kind, id, version, value, sum } = row;
  if (typeof kind !== 'string' || typeof id !== 'string' || typeof version !== 'number' || typeof value !== 'string')
    throw new SwarmError('store-corrupt', `the store ${path} holds a row of wrong types. ${restoreAdvice(path)}`);
  if (checksum(kind, id, version, value) !== sum)
    throw new SwarmError(
      'store-corrupt',
      `record ${kind} ${id} in the store ${path} is damaged (its checksum does not match). ${restoreAdvice(path)}`,
    );
  return { kind, id, version, value: JSON.parse(value) as unknown };
}
