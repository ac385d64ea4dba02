// Owns what a submitter sends and an agent receives about a job: the signed spec and, for signers who joined by an
// invite, their membership. It travels as text, so that no byte of it is reinterpreted on the way.

import { z } from 'zod';
import type { JobId, KeyId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { envelopeSchema, openEnvelope } from './dsse.ts';
import { JOB_SPEC_TYPE, MAX_SPEC_BYTES, parseJobSpec, type JobSpec } from './job-spec.ts';
import type { Signatures } from './keys.ts';
import { membershipSchema, type Membership } from './membership.ts';
import { parseJson } from '../lib/json.ts';

export const MAX_SUBMISSION_CHARS = 2 * MAX_SPEC_BYTES;

export const submissionSchema = z.strictObject({
  envelope: envelopeSchema,
  membership: membershipSchema.optional(),
});

export type Submission = z.infer<typeof submissionSchema>;

/** A submission whose signature holds. Whether its signer may submit is the receiver's to judge. */
export type OpenedSubmission = {
  readonly jobId: JobId;
  readonly spec: JobSpec;
  readonly signer: KeyId;
  /** SHA-256 of the signed payload, hex: what receipts are bound to. */
  readonly specHash: string;
  /** Not verified. */
  readonly membership: Membership | undefined;
};

/** Opens a submission: bounds, form, signature, and the spec's own rules. */
export async function openSubmission(text: string, signatures: Signatures): Promise<Result<OpenedSubmission>> {
  if (text.length > MAX_SUBMISSION_CHARS)
    return err(`a submission of ${text.length} characters is over the limit of ${MAX_SUBMISSION_CHARS}`);
  const submission = submissionSchema.safeParse(parseJson(text));
  if (!submission.success)
    return err(`the submission does not fit the protocol: ${z.prettifyError(submission.error).slice(0, 500)}`);
  const { envelope, membership } = submission.data;
  const opened = await openEnvelope(envelope, JOB_SPEC_TYPE, z.unknown(), signatures);
  if (!opened.ok) return opened;
  const spec = parseJobSpec(opened.value.payload);
  if (!spec.ok) return spec;
  const { payloadHash, signer } = opened.value;
  return ok({ jobId: payloadHash.slice(0, 16) as JobId, spec: spec.value, signer, specHash: payloadHash, membership });
}
