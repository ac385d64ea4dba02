// Owns the membership credential: a grant signed by the admin for a one-time key, and that key's signature over the
// joiner's key. Anyone who pins the admin's key can check it offline. Knows nothing of how often an invite was used:
// the coordinator counts that, and compares expiry with its own clock at enrolment only.

import { z } from 'zod';
import type { KeyId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { MAX_DISPLAY_NAME_CHARS, toDisplayName } from './display-name.ts';
import { smallEnvelopeSchema, openEnvelope, signEnvelope, type Envelope } from './dsse.ts';
import { tlsPinSchema, type Signatures, type Signer } from './keys.ts';
import { keyIdSchema } from './names.ts';
import { roleSchema, type Role } from './roster.ts';

export const GRANT_TYPE = 'application/vnd.backyard-swarm.grant+json';
export const JOIN_TYPE = 'application/vnd.backyard-swarm.join+json';
export const MAX_INVITE_USES = 1_000;

const nameSchema = z.string().min(1).max(MAX_DISPLAY_NAME_CHARS);

export const grantSchema = z.strictObject({
  v: z.literal(1),
  swarm: keyIdSchema,
  /** Public half of the one-time key; also the invite's id. */
  inviteKey: keyIdSchema,
  role: roleSchema,
  /** The admin's name for the joiner; stands before what the joiner calls itself. */
  name: nameSchema.optional(),
  /** Milliseconds since 1970 on the coordinator's clock. */
  expiresAt: z.int().min(0).max(8.64e15),
  maxUses: z.int().min(1).max(MAX_INVITE_USES),
  /** Absent for a swarm that listens on loopback only. */
  tlsPin: tlsPinSchema.optional(),
});

const joinSchema = z.strictObject({ v: z.literal(1), swarm: keyIdSchema, joinerKey: keyIdSchema, name: nameSchema });

export const membershipSchema = z.strictObject({ grant: smallEnvelopeSchema, join: smallEnvelopeSchema });

export type Grant = z.infer<typeof grantSchema>;
export type Membership = z.infer<typeof membershipSchema>;

/** What a valid credential says. `name` is fit to be shown; `inviteId` is the invite's one-time public key. */
export type Member = {
  readonly key: KeyId;
  readonly role: Role;
  readonly name: string;
  readonly inviteId: KeyId;
  readonly expiresAt: number;
  readonly maxUses: number;
};

/** What a checker pins. With `now` (ms, the checker's own clock) an expired invite is refused: only at enrolment. */
export type MembershipPins = { readonly adminKey: KeyId; readonly swarm: KeyId; readonly now?: number };

/** Signs a grant with the admin's key. */
export async function signGrant(grant: Grant, admin: Signer): Promise<Envelope> {
  return signEnvelope(GRANT_TYPE, grantSchema.parse(grant), admin);
}

/** Joins: the invite's one-time key vouches for the joiner's key under the name the joiner chose. */
export async function signMembership(
  grant: Envelope,
  swarm: KeyId,
  oneTime: Signer,
  joiner: { readonly key: KeyId; readonly name: string },
): Promise<Membership> {
  const payload = { v: 1, swarm, joinerKey: joiner.key, name: toDisplayName(joiner.name) };
  return { grant, join: await signEnvelope(JOIN_TYPE, payload, oneTime) };
}

/** Checks both signatures of a credential against the pinned admin and swarm, and its expiry when `now` is given. */
export async function verifyMembership(
  credential: unknown,
  pins: MembershipPins,
  signatures: Signatures,
): Promise<Result<Member>> {
  const parsed = membershipSchema.safeParse(credential);
  if (!parsed.success) return err(`not a membership: ${z.prettifyError(parsed.error).slice(0, 500)}`);
  const { adminKey: signer } = pins;
  const granted = await openEnvelope(parsed.data.grant, GRANT_TYPE, grantSchema, signatures, { signer });
  if (!granted.ok) return err(`the invite was not signed by this swarm's admin: ${granted.error}`);
  const grant = granted.value.payload;
  const wrong = checkGrant(grant, pins);
  if (wrong !== undefined) return err(wrong);
  const joined = await openEnvelope(parsed.data.join, JOIN_TYPE, joinSchema, signatures, { signer: grant.inviteKey });
  if (!joined.ok) return err(`the membership was not signed by its invite: ${joined.error}`);
  const join = joined.value.payload;
  if (join.swarm !== pins.swarm) return err(`the membership is for swarm ${join.swarm}, not ${pins.swarm}`);
  return ok(toMember(grant, join));
}

function checkGrant(grant: Grant, { swarm, now }: MembershipPins): string | undefined {
  if (grant.swarm !== swarm)
    return `the invite is for swarm ${grant.swarm}, not ${swarm}: ask this swarm's admin for one`;
  if (now !== undefined && now >= grant.expiresAt)
    return `the invite expired on ${new Date(grant.expiresAt).toISOString()}: ask the admin for a new one`;
  return undefined;
}

function toMember(grant: Grant, join: z.infer<typeof joinSchema>): Member {
  return {
    key: join.joinerKey,
    role: grant.role,
    name: toDisplayName(grant.name ?? join.name),
    inviteId: grant.inviteKey,
    expiresAt: grant.expiresAt,
    maxUses: grant.maxUses,
  };
}
