// Owns reading a private key as people keep it: PEM text, as `swarm` writes key files. Runs in browsers too.

import { SwarmError } from '../protocol/errors.ts';
import { parseSigner, type Signer } from '../protocol/keys.ts';

const PEM = /^-----BEGIN PRIVATE KEY-----([\sA-Za-z0-9+/=]{1,1000})-----END PRIVATE KEY-----\s*$/;

/** The signer behind an Ed25519 key in PEM. Throws SwarmError 'bad-input' for anything else. */
export async function parsePemSigner(pem: string): Promise<Signer> {
  const base64 = PEM.exec(pem.trim())?.[1]?.replace(/\s/g, '');
  const signer = base64 === undefined ? undefined : await parseSigner(Uint8Array.fromBase64(base64));
  if (signer?.ok) return signer.value;
  throw new SwarmError('bad-input', 'this is no Ed25519 private key in PEM form: name the key.pem that swarm wrote');
}
