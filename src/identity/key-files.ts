// Owns key files: one Ed25519 private key as PEM (PKCS#8). Made once; a file that is no key is left as it is.

import { createPrivateKey } from 'node:crypto';
import { SwarmError } from '../protocol/errors.ts';
import { generateKey, parseSigner, type Signer } from '../protocol/keys.ts';
import { createPrivateFile, readPrivateFile } from './private-file.ts';

/** The key in a file; makes one when there is none. Of two processes that start at once, both get the same key. */
export async function loadOrCreateKey(path: string): Promise<Signer> {
  const existing = await loadKey(path);
  if (existing) return existing;
  const { signer, pkcs8 } = await generateKey();
  if (await createPrivateFile(path, toPem('PRIVATE KEY', pkcs8))) return signer;
  const theirs = await loadKey(path);
  if (!theirs) throw new SwarmError('conflict', `${path} came and went while it was being made: try again`);
  return theirs;
}

/** The key in a file, or undefined when there is no file. Throws SwarmError for loose permissions and for junk. */
export async function loadKey(path: string): Promise<Signer | undefined> {
  const pem = await readPrivateFile(path);
  if (pem === undefined) return undefined;
  const pkcs8 = toPkcs8(pem);
  const signer = pkcs8 && (await parseSigner(pkcs8));
  if (signer?.ok) return signer.value;
  throw new SwarmError(
    'bad-input',
    `${path} does not hold an Ed25519 key in PEM form and was left as it is: restore it from a backup, or move it away to get a new key (the old identity is then lost)`,
  );
}

/** PEM with the given label. */
export function toPem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

function toPkcs8(pem: string): Uint8Array | undefined {
  try {
    return createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' });
  } catch {
    return undefined;
  }
}
