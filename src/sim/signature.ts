// Owns the simulator's stand-in for signed specs: deterministic, and broken by any change of the payload.

import type { KeyId, JobId } from '../lib/ids.ts';
import { parseJobSpec, type JobSpec } from '../protocol/job-spec.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { simulatedHash } from './fingerprint.ts';

export type SignedSpec = { readonly jobId: JobId; readonly envelope: string };

export function signSpec(spec: JobSpec, signer: KeyId): SignedSpec {
  const payload = JSON.stringify(spec);
  const sig = simulatedHash(`${signer}${payload}`);
  return { jobId: simulatedHash(payload).slice(0, 16) as JobId, envelope: JSON.stringify({ payload, signer, sig }) };
}

/** Checks as agent and coordinator do: signature, trusted signer, and that the id is the payload's. */
export function openSpec(envelope: string, jobId: JobId, trusted: ReadonlySet<KeyId>): Result<JobSpec> {
  const { payload, signer, sig } = JSON.parse(envelope) as { payload: string; signer: KeyId; sig: string };
  if (simulatedHash(`${signer}${payload}`) !== sig) return err('the signature does not fit the spec');
  if (!trusted.has(signer)) return err('the signer is not trusted');
  if (simulatedHash(payload).slice(0, 16) !== jobId) return err('the spec is that of another job');
  const parsed = parseJobSpec(JSON.parse(payload));
  return parsed.ok ? ok(parsed.value) : parsed;
}
