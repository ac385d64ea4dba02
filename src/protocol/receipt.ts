// Owns receipts: an agent's signature over (spec, stage, range, part), so that a coordinator cannot pass one result off
// as another's, and a merge knows who answers for a part. Knows nothing of where parts lie.

import type { ArtifactId, KeyId } from '../lib/ids.ts';
import { assert } from '../lib/assert.ts';
import type { Range } from '../lib/range-set.ts';
import { toCanonicalBytes } from './canonical.ts';
import { parseBase64 } from './dsse.ts';
import type { Signatures, Signer } from './keys.ts';

/** Parts these signatures from those of envelopes and handshakes. */
const DOMAIN = 'backyard-swarm receipt v1';

export type Receipt = Range & {
  /** SHA-256 of the signed spec, hex. */
  readonly specHash: string;
  /** The stage's name. */
  readonly stage: string;
  readonly part: ArtifactId;
};

/** The signature, base64. */
export async function signReceipt(receipt: Receipt, signer: Signer): Promise<string> {
  return (await signer.sign(toBytes(receipt))).toBase64();
}

/** Whether `peer` signed exactly this. */
export async function verifyReceipt(
  receipt: Receipt,
  signature: string,
  peer: KeyId,
  signatures: Signatures,
): Promise<boolean> {
  const bytes = parseBase64(signature);
  return bytes !== undefined && signatures.verify(peer, toBytes(receipt), bytes);
}

function toBytes({ specHash, stage, start, end, part }: Receipt): Uint8Array {
  const bytes = toCanonicalBytes({ domain: DOMAIN, specHash, stage, start, end, part });
  assert(bytes.ok, 'a receipt is canonical JSON');
  return bytes.value;
}
