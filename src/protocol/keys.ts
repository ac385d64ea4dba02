// Owns Ed25519 keys and their ids over WebCrypto (browsers and Node), and the port behind which the simulator puts
// deterministic ones. Knows no files, no envelopes and nothing of who is trusted.

import { z } from 'zod';
import type { KeyId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';

/** Signs with one private key that it does not give away. */
export type Signer = {
  readonly keyId: KeyId;
  /** A 64-byte Ed25519 signature over `bytes`. */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
};

/** Port: what needs no private key. */
export type Signatures = {
  /** False for a wrong signature and for anything malformed; never throws on what came from outside. */
  verify(keyId: KeyId, bytes: Uint8Array, signature: Uint8Array): Promise<boolean>;
  /** SHA-256 as 64 hex digits. */
  sha256(bytes: Uint8Array): Promise<string>;
};

/** A fresh key: the signer, and its private half as PKCS#8 for a key file. */
export type KeyPair = { readonly signer: Signer; readonly pkcs8: Uint8Array };

export const SEED_BYTES = 32;
export const SIGNATURE_BYTES = 64;
export const NONCE_BYTES = 32;

/** SHA-256 of a TLS certificate's SubjectPublicKeyInfo: 64 hex digits. */
export const tlsPinSchema = z.string().regex(/^[0-9a-f]{64}$/);

/** RFC 8410: an Ed25519 private key in PKCS#8 is this prefix and the 32-byte seed. */
const PKCS8_PREFIX = Uint8Array.fromHex('302e020100300506032b657004220420');
const KEY_ID = /^ed25519:([0-9a-f]{64})$/;

/** The id of a raw public key of 32 bytes. */
export function toKeyId(publicKey: Uint8Array): KeyId {
  return `ed25519:${publicKey.toHex()}` as KeyId;
}

/** The raw public key behind an id; fails on anything but `ed25519:` and 64 hex digits. */
export function parsePublicKey(keyId: string): Result<Uint8Array> {
  const hex = KEY_ID.exec(keyId)?.[1];
  return hex === undefined ? err('not a key id (ed25519: and 64 hex digits)') : ok(Uint8Array.fromHex(hex));
}

/** Draws a new key. */
export async function generateKey(): Promise<KeyPair> {
  return fromSeed(crypto.getRandomValues(new Uint8Array(SEED_BYTES)));
}

/** The key of a 32-byte seed: the short form in which an invite carries its one-time key. */
export async function fromSeed(seed: Uint8Array): Promise<KeyPair> {
  const pkcs8 = new Uint8Array([...PKCS8_PREFIX, ...seed]);
  return { signer: await importPkcs8(pkcs8), pkcs8 };
}

/** The 32-byte seed inside PKCS#8 bytes that `generateKey` or `fromSeed` made. */
export function toSeed(pkcs8: Uint8Array): Uint8Array {
  return pkcs8.slice(PKCS8_PREFIX.length);
}

/** Imports a private key in PKCS#8 form; fails on anything that is not an Ed25519 key. */
export async function parseSigner(pkcs8: Uint8Array): Promise<Result<Signer>> {
  try {
    return ok(await importPkcs8(pkcs8));
  } catch {
    return err('not an Ed25519 private key in PKCS#8 form');
  }
}

/** 32 unpredictable bytes for one handshake. */
export function drawNonce(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
}

/** The real thing: WebCrypto. */
export const webCryptoSignatures: Signatures = { verify, sha256 };

async function verify(keyId: KeyId, bytes: Uint8Array, signature: Uint8Array): Promise<boolean> {
  const raw = parsePublicKey(keyId);
  if (!raw.ok || signature.length !== SIGNATURE_BYTES) return false;
  try {
    const key = await crypto.subtle.importKey('raw', new Uint8Array(raw.value), 'Ed25519', false, ['verify']);
    return await crypto.subtle.verify('Ed25519', key, new Uint8Array(signature), new Uint8Array(bytes));
  } catch {
    return false; // 32 bytes that are no point on the curve
  }
}

async function sha256(bytes: Uint8Array): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(bytes))).toHex();
}

/** The public half is asked for as JWK, the only form in which WebCrypto derives it from a private key. */
async function importPkcs8(pkcs8: Uint8Array): Promise<Signer> {
  const bytes = new Uint8Array(pkcs8);
  const readable = await crypto.subtle.importKey('pkcs8', bytes, 'Ed25519', true, ['sign']);
  const { x } = await crypto.subtle.exportKey('jwk', readable);
  const key = await crypto.subtle.importKey('pkcs8', bytes, 'Ed25519', false, ['sign']);
  return {
    keyId: toKeyId(Uint8Array.fromBase64(x ?? '', { alphabet: 'base64url' })),
    sign: async (message) => new Uint8Array(await crypto.subtle.sign('Ed25519', key, new Uint8Array(message))),
  };
}
