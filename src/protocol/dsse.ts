// Owns DSSE envelopes v1 (secure-systems-lab/dsse): how a payload is signed and opened. Our profile: one signature,
// canonical JSON inside, and a keyid that is the public key itself, so that a signature is checked against the key it
// names. Says who signed; whether that signer is trusted is for the caller to decide.

import { z } from 'zod';
import type { KeyId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { MAX_CANONICAL_BYTES, parseCanonicalBytes, toCanonicalBytes } from './canonical.ts';
import { SwarmError } from './errors.ts';
import type { Signatures, Signer } from './keys.ts';
import { keyIdSchema } from './names.ts';

const MAX_PAYLOAD_CHARS = Math.ceil(MAX_CANONICAL_BYTES / 3) * 4;
const MAX_SMALL_PAYLOAD_CHARS = 4_096;
/** Envelopes of ours carry one; a bound lets the error say "several" instead of "malformed". */
const MAX_SIGNATURES = 8;

const base64Schema = z.string().regex(/^[\w+/=-]*$/);

/** Strict: nothing unsigned may ride along. */
export const envelopeSchema = z.strictObject({
  payloadType: z.string().regex(/^[\x21-\x7e]{1,200}$/),
  payload: base64Schema.max(MAX_PAYLOAD_CHARS),
  signatures: z
    .array(z.strictObject({ keyid: keyIdSchema, sig: base64Schema.max(100) }))
    .min(1)
    .max(MAX_SIGNATURES),
});

/** An envelope that holds a short statement, such as a grant: it may be sent before anyone is authenticated. */
export const smallEnvelopeSchema = envelopeSchema.extend({ payload: base64Schema.max(MAX_SMALL_PAYLOAD_CHARS) });

export type Envelope = z.infer<typeof envelopeSchema>;

/** An opened envelope: what was signed, by whom, and the SHA-256 (hex) of the exact payload bytes. */
export type Opened<T> = { readonly payload: T; readonly signer: KeyId; readonly payloadHash: string };

/** DSSE's pre-authentication encoding: the bytes that are really signed. */
export function toPae(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = new TextEncoder().encode(payloadType);
  const head = new TextEncoder().encode(`DSSEv1 ${type.length} ${payloadType} ${payload.length} `);
  const pae = new Uint8Array(head.length + payload.length);
  pae.set(head);
  pae.set(payload, head.length);
  return pae;
}

/** Signs a JSON value. Throws SwarmError `too-large` when it cannot be written as bounded canonical JSON. */
export async function signEnvelope(payloadType: string, payload: unknown, signer: Signer): Promise<Envelope> {
  const bytes = toCanonicalBytes(payload);
  if (!bytes.ok) throw new SwarmError('too-large', `${payloadType} cannot be signed: ${bytes.error}`);
  const signature = await signer.sign(toPae(payloadType, bytes.value));
  return {
    payloadType,
    payload: bytes.value.toBase64(),
    signatures: [{ keyid: signer.keyId, sig: signature.toBase64() }],
  };
}

/**
 * Checks an envelope that came from outside and returns what was signed. With `signer`, only that key is accepted.
 * The schema sees the payload only after its signature held.
 */
export async function openEnvelope<T>(
  envelope: unknown,
  expectedType: string,
  schema: z.ZodType<T>,
  signatures: Signatures,
  options?: { readonly signer?: KeyId },
): Promise<Result<Opened<T>>> {
  const opened = await openBytes(envelope, expectedType, signatures, options?.signer);
  if (!opened.ok) return opened;
  const value = parseCanonicalBytes(opened.value.bytes);
  if (!value.ok) return err(`the signed payload is refused: ${value.error}`);
  const parsed = schema.safeParse(value.value);
  if (!parsed.success) return err(`the signed payload is not valid: ${z.prettifyError(parsed.error).slice(0, 500)}`);
  const payloadHash = await signatures.sha256(opened.value.bytes);
  return ok({ payload: parsed.data, signer: opened.value.signer, payloadHash });
}

async function openBytes(
  envelope: unknown,
  expectedType: string,
  signatures: Signatures,
  expectedSigner: KeyId | undefined,
): Promise<Result<{ bytes: Uint8Array; signer: KeyId }>> {
  const parsed = envelopeSchema.safeParse(envelope);
  if (!parsed.success) return err(`not a signed envelope: ${z.prettifyError(parsed.error).slice(0, 500)}`);
  const { payloadType, payload, signatures: list } = parsed.data;
  if (payloadType !== expectedType) return err(`the envelope holds ${payloadType}, not ${expectedType}`);
  const [only, ...others] = list;
  if (only === undefined || others.length > 0)
    return err(`the envelope has ${list.length} signatures; one is expected`);
  if (expectedSigner !== undefined && only.keyid !== expectedSigner)
    return err(`the envelope is signed by ${only.keyid}, not by ${expectedSigner}`);
  const [bytes, sig] = [parseBase64(payload), parseBase64(only.sig)];
  if (bytes === undefined || sig === undefined) return err('the envelope is not in base64');
  if (!(await signatures.verify(only.keyid, toPae(payloadType, bytes), sig)))
    return err(`the signature of ${only.keyid} does not match: the content was altered`);
  return ok({ bytes, signer: only.keyid });
}

/**
 * Base64 in either alphabet, as DSSE asks of verifiers; undefined when it is neither. Strict on padding and on the
 * unused bits of the last digit.
 */
export function parseBase64(text: string): Uint8Array | undefined {
  if (/\s/.test(text)) return undefined;
  try {
    const alphabet = /[-_]/.test(text) ? 'base64url' : 'base64';
    return Uint8Array.fromBase64(text, { alphabet, lastChunkHandling: 'strict' });
  } catch {
    return undefined;
  }
}
