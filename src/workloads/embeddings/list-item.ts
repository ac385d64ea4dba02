// Owns what a listed item is, and how bad input and unreadable files are told to a person. Knows no file format.

import { z } from 'zod';
import { SwarmError } from '../../protocol/errors.ts';

/** One text to embed. `id` is unique in a listing and names the place; `source` is the file's path within the input. */
export type TextItem = { readonly id: string; readonly source: string; readonly text: string };

/** Longest text of one item, in UTF-8 bytes; what is longer becomes several items. */
export const MAX_TEXT_BYTES = 8 * 1_024;

/** Longest cell, line or JSON string that is read from a table, in UTF-16 units: one record is held in memory. */
export const MAX_CELL_CHARS = 1_024 * 1_024;

/** Longest id taken from a column, in UTF-16 units. */
export const MAX_ID_CHARS = 512;

/** Longest path below the input, in UTF-16 units: what systems allow. */
const MAX_SOURCE_CHARS = 4_096;

/** An item as it comes out of an item list that somebody else made. */
export const textItemSchema = z.strictObject({
  id: z
    .string()
    .min(1)
    .max(MAX_SOURCE_CHARS + MAX_ID_CHARS),
  source: z.string().min(1).max(MAX_SOURCE_CHARS),
  text: z
    .string()
    .min(1)
    .max(MAX_TEXT_BYTES)
    .refine((text) => Buffer.byteLength(text) <= MAX_TEXT_BYTES, `is longer than ${MAX_TEXT_BYTES} bytes`),
});

export type InputKind = 'text' | 'markdown' | 'jsonl' | 'csv' | 'parquet';

/** A file to list. */
export type InputFile = {
  /** Where it lies. */
  readonly path: string;
  /** Its path below the input with `/` between names; just its name when the input is that file. */
  readonly source: string;
  readonly kind: InputKind;
};

export function badInput(message: string, cause?: unknown): SwarmError {
  return new SwarmError('bad-input', message, cause === undefined ? undefined : { cause });
}

const READ_FAILURES: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist; check the path',
  EACCES: 'cannot be read: permission denied; make it readable for this user or leave it out',
  EPERM: 'cannot be read: permission denied; make it readable for this user or leave it out',
  EISDIR: 'is a folder where a file was expected',
  ENOTDIR: 'does not exist: a part of the path is a file; check the path',
  ELOOP: 'is a symbolic link that leads back to itself; remove it',
  ENAMETOOLONG: 'has a name that is too long; shorten it',
  EMFILE: 'cannot be opened: too many files are open; raise `ulimit -n`',
  EIO: 'cannot be read: the disk reports an error; copy the data from a backup',
};

/** Translates a failed read of a person's file. */
export function toReadFailure(path: string, cause: unknown): SwarmError {
  if (cause instanceof SwarmError) return cause;
  const code = errnoOf(cause);
  const known = code === undefined ? undefined : READ_FAILURES[code];
  return badInput(`${path} ${known ?? `cannot be read: ${code ?? String(cause)}`}`, cause);
}

/** The system's code of a failed call, for example `ENOSPC`. */
export function errnoOf(cause: unknown): string | undefined {
  if (!(cause instanceof Error) || !('code' in cause)) return undefined;
  return typeof cause.code === 'string' ? cause.code : undefined;
}
