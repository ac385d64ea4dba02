// Owns the coordinator's TLS identity: a key and its self-signed certificate, made once and kept in one private file,
// and the pin by which others know it. TLS 1.3 only.

import { createHash, createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { SwarmError } from '../protocol/errors.ts';
import { toSelfSignedCertificate } from './certificate.ts';
import { toPem } from './key-files.ts';
import { createPrivateFile, readPrivateFile } from './private-file.ts';

/** `pin` is the SHA-256 (hex) of the certificate's SubjectPublicKeyInfo; `pem` holds the key and the certificate. */
export type TlsIdentity = { readonly pin: string; readonly pem: string };

/** For `https.createServer` and `tls.createServer`. */
export type ServerTlsOptions = {
  readonly key: string;
  readonly cert: string;
  readonly minVersion: 'TLSv1.3';
  readonly maxVersion: 'TLSv1.3';
};

/** The identity in a file; makes one when there is none. Throws SwarmError for loose permissions and for junk. */
export async function loadOrCreateTlsIdentity(path: string): Promise<TlsIdentity> {
  const existing = await loadTlsIdentity(path);
  if (existing) return existing;
  const pem = drawIdentity();
  if (await createPrivateFile(path, pem)) return toIdentity(path, pem);
  const theirs = await loadTlsIdentity(path);
  if (!theirs) throw new SwarmError('conflict', `${path} came and went while it was being made: try again`);
  return theirs;
}

/** The options under which a server shows this identity. */
export function toServerTlsOptions({ pem }: TlsIdentity): ServerTlsOptions {
  return { key: pem, cert: pem, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' };
}

/** SHA-256 (hex) of a certificate's public key. */
export function toTlsPin(certificate: X509Certificate): string {
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('hex');
}

async function loadTlsIdentity(path: string): Promise<TlsIdentity | undefined> {
  const pem = await readPrivateFile(path);
  return pem === undefined ? undefined : toIdentity(path, pem);
}

function drawIdentity(): string {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = toPem('CERTIFICATE', toSelfSignedCertificate(publicKey, privateKey));
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) + certificate;
}

function toIdentity(path: string, pem: string): TlsIdentity {
  try {
    const certificate = new X509Certificate(pem);
    if (certificate.checkPrivateKey(createPrivateKey(pem))) return { pin: toTlsPin(certificate), pem };
  } catch {
    // not a key and a certificate: said below
  }
  throw new SwarmError(
    'bad-input',
    `${path} does not hold a TLS key with its certificate and was left as it is: restore it from a backup, or move it away and invite everyone anew`,
  );
}
