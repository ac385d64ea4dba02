// Owns the DER of one kind of X.509 certificate: self-signed, ECDSA P-256, for a key that is pinned. Written by hand
// because the library for it brings eleven packages for these lines. Names and dates in it decide nothing: the pin does.

import { randomBytes, sign, type KeyObject } from 'node:crypto';

const COMMON_NAME = 'backyard-swarm';
/** `.invalid` never resolves; strict parsers want a name here. */
const DNS_NAME = 'backyard-swarm.invalid';

const OID = {
  commonName: '550403',
  subjectAltName: '551d11',
  ecdsaWithSha256: '2a8648ce3d040302',
};

/** A certificate for the key pair, valid from 2020 without end, so that a wrong clock changes nothing. */
export function toSelfSignedCertificate(publicKey: KeyObject, privateKey: KeyObject): Uint8Array {
  const name = sequence(der(0x31, sequence(oid(OID.commonName), der(0x0c, text(COMMON_NAME)))));
  const validity = sequence(der(0x17, text('200101000000Z')), der(0x18, text('99991231235959Z')));
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const version3 = der(0xa0, integer(Uint8Array.of(2)));
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const body = sequence(version3, integer(drawSerial()), algorithm, name, validity, name, spki, extensions());
  return sequence(body, algorithm, der(0x03, Uint8Array.of(0), sign('sha256', body, privateKey)));
}

function extensions(): Uint8Array {
  const altNames = sequence(der(0x82, text(DNS_NAME)));
  return der(0xa3, sequence(sequence(oid(OID.subjectAltName), der(0x04, altNames))));
}

/** Positive and of full length: the first byte is neither 0 nor has its top bit set. */
function drawSerial(): Uint8Array {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  return serial;
}

function sequence(...content: readonly Uint8Array[]): Uint8Array {
  return der(0x30, ...content);
}

function integer(bytes: Uint8Array): Uint8Array {
  return der(0x02, bytes);
}

function oid(hex: string): Uint8Array {
  return der(0x06, Buffer.from(hex, 'hex'));
}

function text(value: string): Uint8Array {
  return Buffer.from(value, 'ascii');
}

/** Tag, length, content; long lengths take one or two more bytes. */
function der(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(content);
  const { length } = body;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Uint8Array.of(tag, ...head), body]);
}
