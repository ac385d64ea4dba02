// Owns canonical JSON (RFC 8785): the one way a value becomes bytes that are signed or hashed. Knows no schema.
// Size and depth are bounded before anything recursive touches a value that came from outside.

import canonicalize from 'canonicalize';
import { err, ok, type Result } from '../lib/result.ts';

/** A job spec with its parameters is the largest thing anyone signs. */
export const MAX_CANONICAL_BYTES = 256 * 1_024;
/** Deeper than any message of ours; recursion over a value stays far from the stack's end. */
export const MAX_CANONICAL_DEPTH = 64;

/** The canonical UTF-8 bytes of a JSON value; fails on what JSON cannot say, on cycles and on what is too big or deep. */
export function toCanonicalBytes(value: unknown): Result<Uint8Array> {
  if (!isShallow(value)) return err(`the value is nested deeper than ${MAX_CANONICAL_DEPTH} levels`);
  let text: string | undefined;
  try {
    text = canonicalize(value);
  } catch (cause) {
    return err(`the value cannot be written as JSON: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (text === undefined) return err('the value cannot be written as JSON');
  const bytes = new TextEncoder().encode(text);
  return bytes.length > MAX_CANONICAL_BYTES ? err(tooLarge(bytes.length)) : ok(bytes);
}

/** Parses bytes that must already be canonical JSON: exactly one byte sequence stands for a value. */
export function parseCanonicalBytes(bytes: Uint8Array): Result<unknown> {
  if (bytes.length > MAX_CANONICAL_BYTES) return err(tooLarge(bytes.length));
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return err('the bytes are not JSON in UTF-8');
  }
  const canonical = toCanonicalBytes(value);
  if (!canonical.ok) return canonical;
  return sameBytes(canonical.value, bytes) ? ok(value) : err('the bytes are not canonical JSON (RFC 8785)');
}

/** True when both hold the same bytes. Not constant-time: for public data. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function tooLarge(sizeBytes: number): string {
  return `the value takes ${sizeBytes} bytes; at most ${MAX_CANONICAL_BYTES} can be signed`;
}

/** Level by level instead of by recursion: a hostile value must not end the stack, and a cycle ends at the limit. */
function isShallow(value: unknown): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; depth <= MAX_CANONICAL_DEPTH; depth++) {
    level = level.flatMap((item) => (typeof item === 'object' && item !== null ? Object.values(item) : []));
    if (level.length === 0) return true;
  }
  return false;
}
