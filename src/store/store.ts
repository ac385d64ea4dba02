// Owns the Store port: durable records by kind and id. Knows no adapter, and not what a record means.

import { assert } from '../lib/assert.ts';
import type { Change, StoredRecord } from '../core/change.ts';

export type { Change, StoredRecord } from '../core/change.ts';

/** Kinds and ids are short names that we make ourselves; the bound catches bugs before they reach a disk. */
const MAX_NAME_LENGTH = 512;

export interface Store {
  /**
   * All live records, in no particular order, as they were when iteration began: later commits do not show.
   * Throws SwarmError('store-corrupt') at a record that cannot be read back as it was written.
   */
  load(): AsyncIterable<StoredRecord>;
  /**
   * Applies all changes, in order, or none. They are durable when the promise resolves.
   * Rejects with SwarmError('disk-full') when there is no room; the store is then as it was before the call.
   */
  commit(changes: readonly Change[]): Promise<void>;
  /** Ends the use of the store and frees its lock. Calling it again does nothing; any other call is then a bug. */
  close(): Promise<void>;
}

/** The JSON text of a record's value. Throws on what JSON cannot hold: a bug of the caller. */
export function encodeRecord(record: StoredRecord): string {
  assertName('kind', record.kind);
  assertName('id', record.id);
  assert(
    Number.isSafeInteger(record.version) && record.version >= 0,
    `record ${record.kind} ${record.id}: bad version`,
  );
  const json: string | undefined = JSON.stringify(record.value);
  assert(json !== undefined, `record ${record.kind} ${record.id}: value is not JSON`);
  return json;
}

function assertName(what: string, name: string): void {
  const ok = name.length > 0 && name.length <= MAX_NAME_LENGTH && name.isWellFormed() && !name.includes('\0');
  assert(ok, `record ${what} ${JSON.stringify(name.slice(0, 80))} is empty, too long or not well-formed`);
}
