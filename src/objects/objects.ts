// Owns the ObjectStore port: immutable bytes named by their SHA-256. Knows no adapter and no transport.

import type { ArtifactId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { SwarmError } from '../protocol/errors.ts';

export type StoredObject = { readonly id: ArtifactId; readonly sizeBytes: number };
export type PutResult = {
  readonly sizeBytes: number;
  /** It was stored before this call. */ readonly existed: boolean;
};
export type Usage = { /** Uploads under way included. */ readonly usedBytes: number; readonly quotaBytes: number };
export type ByteSource = AsyncIterable<Uint8Array> | Uint8Array;

/** Names an upload that may take several calls. Each uploader has its own, so that nobody can spoil another's. */
export type UploadKey = { readonly id: ArtifactId; /** Who uploads, such as a key id. */ readonly uploader: string };

export type AppendOptions = {
  /** The size that the whole artifact will have; room for it is claimed before the first byte is taken. */
  readonly totalBytes: number;
  readonly signal?: AbortSignal;
};

/**
 * Every method throws SwarmErrors: 'quota-exceeded' before a byte beyond the quota is kept, 'disk-full' when there is no
 * room, 'hash-mismatch' when bytes are not what their name says (they are deleted), 'canceled' when a signal fires.
 * Nothing is ever visible by its id before its hash is verified and its bytes are durable.
 */
export interface ObjectStore {
  /** Undefined when nothing is stored under that name. */
  stat(id: ArtifactId): Promise<{ readonly sizeBytes: number } | undefined>;
  /** The bytes, or those in a half-open range within them. Throws 'not-found', or 'bad-request' for a range outside. */
  open(id: ArtifactId, range?: Range): Promise<ReadableStream<Uint8Array>>;
  /** Stores bytes in one go; when they are there already `bytes` is not read. Nothing is kept of a put that fails. */
  put(id: ArtifactId, bytes: ByteSource, options?: { readonly signal?: AbortSignal }): Promise<PutResult>;
  /** How many bytes of an unfinished upload are kept: where the next append must start. */
  uploadedBytes(key: UploadKey): Promise<number>;
  /**
   * Adds bytes to an upload and returns its new offset. Throws 'conflict' when `offset` is not where the upload stands,
   * or when a later append to the same upload took over; what had arrived is kept. 'too-large' beyond `totalBytes`.
   */
  append(key: UploadKey, offset: number, bytes: ByteSource, options: AppendOptions): Promise<number>;
  /** Verifies an upload and makes it visible. Throws 'conflict' when it does not have exactly `sizeBytes` bytes. */
  finish(key: UploadKey, sizeBytes: number): Promise<PutResult>;
  /** Forgets an artifact; false when it was not there. */
  remove(id: ArtifactId): Promise<boolean>;
  list(): AsyncIterable<StoredObject>;
  usage(): Promise<Usage>;
}

/** Strict, since an id becomes a file name: exactly `sha256:` and 64 lower-case hex digits. */
export function parseArtifactId(text: string): Result<ArtifactId> {
  if (/^sha256:[0-9a-f]{64}$/.test(text)) return ok(text as ArtifactId);
  return err(`${JSON.stringify(text.slice(0, 80))} is not an artifact id; write sha256: and 64 lower-case hex digits`);
}

/** The 64 hex digits of an id. Throws SwarmError('bad-request') on anything else: the last gate before a file system. */
export function hexOf(id: ArtifactId): string {
  const parsed = parseArtifactId(id);
  if (!parsed.ok) throw new SwarmError('bad-request', parsed.error);
  return parsed.value.slice('sha256:'.length);
}

export function notFound(id: ArtifactId): SwarmError {
  return new SwarmError('not-found', `artifact ${id} is not stored here`);
}

export function hashMismatch(id: ArtifactId, actual: ArtifactId): SwarmError {
  return new SwarmError(
    'hash-mismatch',
    `bytes named ${id} have the hash ${actual}; they were deleted. They were damaged or changed on the way: send them again.`,
  );
}

export function incomplete(id: ArtifactId, sizeBytes: number, expectedBytes: number): SwarmError {
  return new SwarmError(
    'conflict',
    `the upload of ${id} has ${sizeBytes} bytes, not ${expectedBytes}; go on at byte ${sizeBytes}`,
  );
}

/** More bytes came than were announced. */
export function tooLarge(id: ArtifactId, totalBytes: number): SwarmError {
  return new SwarmError(
    'too-large',
    `more than the announced ${totalBytes} bytes came for ${id}; the rest was dropped`,
  );
}

/** Throws 'conflict' unless an append at `offset` continues an upload of `sizeBytes` bytes. */
export function checkOffset(id: ArtifactId, offset: number, sizeBytes: number): void {
  if (offset === sizeBytes) return;
  throw new SwarmError('conflict', `the upload of ${id} stands at byte ${sizeBytes}, not ${offset}; go on from there`);
}

/** Throws 'bad-request' unless `range` is a non-empty part of `sizeBytes` bytes. */
export function checkRange(id: ArtifactId, range: Range, sizeBytes: number): void {
  const { start, end } = range;
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start < end && end <= sizeBytes) return;
  throw new SwarmError('bad-request', `range [${start}, ${end}) is not within the ${sizeBytes} bytes of ${id}`);
}
