// Owns the in-memory Store: for tests and the simulator. It keeps JSON text, so that a caller who changes an object after
// a commit changes nothing here, as with a real store. MemoryDisk outlives the store, as a disk outlives a process.

import { assert } from '../lib/assert.ts';
import { encodeRecord, type Change, type Store, type StoredRecord } from './store.ts';

type Row = { readonly kind: string; readonly id: string; readonly version: number; readonly json: string };

/** What survives a simulated crash. Hand the same disk to the next MemoryStore to reopen it. */
export class MemoryDisk {
  readonly rows = new Map<string, Row>();
}

export class MemoryStore implements Store {
  readonly #disk: MemoryDisk;
  #closed = false;

  constructor(disk: MemoryDisk = new MemoryDisk()) {
    this.#disk = disk;
  }

  async *load(): AsyncGenerator<StoredRecord> {
    this.#assertOpen();
    for (const { kind, id, version, json } of Array.from(this.#disk.rows.values())) {
      this.#assertOpen();
      yield { kind, id, version, value: JSON.parse(json) as unknown };
    }
  }

  async commit(changes: readonly Change[]): Promise<void> {
    this.#assertOpen();
    const writes = changes.map(toWrite);
    for (const { key, row } of writes) {
      if (row) this.#disk.rows.set(key, row);
      else this.#disk.rows.delete(key);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #assertOpen(): void {
    assert(!this.#closed, 'the store is closed');
  }
}

/** Encodes before anything is applied: a change that cannot be written leaves the store untouched. */
function toWrite(change: Change): { readonly key: string; readonly row: Row | undefined } {
  if (change.op === 'delete') return { key: keyOf(change.kind, change.id), row: undefined };
  const { kind, id, version } = change.record;
  return { key: keyOf(kind, id), row: { kind, id, version, json: encodeRecord(change.record) } };
}

/** Names hold no NUL, so the pair is unambiguous. */
function keyOf(kind: string, id: string): string {
  return `${kind}\0${id}`;
}
