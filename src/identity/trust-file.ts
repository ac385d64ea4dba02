// Owns what an agent pins: the swarm, its admin, the TLS key, the newest roster and the keys its owner trusts, in one
// private JSON file. Nothing here is ever changed on a coordinator's word alone.

import { z } from 'zod';
import type { KeyId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { envelopeSchema } from '../protocol/dsse.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { Invite } from '../protocol/invite.ts';
import { tlsPinSchema, type Signatures } from '../protocol/keys.ts';
import { membershipSchema, verifyMembership, type Membership } from '../protocol/membership.ts';
import { keyIdSchema } from '../protocol/names.ts';
import { checkRoster, type Roster } from '../protocol/roster.ts';
import { trustOf, type Trust } from '../protocol/trust.ts';
import { readPrivateFile, replacePrivateFile } from './private-file.ts';
import { parseJson } from '../lib/json.ts';

const trustFileSchema = z.strictObject({
  v: z.literal(1),
  swarm: keyIdSchema,
  adminKey: keyIdSchema,
  tlsPin: tlsPinSchema.optional(),
  addresses: z.array(z.url().max(200)).max(16),
  /** The newest accepted, 0 for none; kept apart from the roster so that losing the roster does not allow an old one. */
  rosterVersion: z.int().min(0),
  roster: envelopeSchema.optional(),
  localTrust: z.array(keyIdSchema).max(1_000),
  /** This machine's own credential. */
  membership: membershipSchema.optional(),
});

export type TrustFile = z.infer<typeof trustFileSchema>;

/** What joining by an invite pins. */
export function toTrustFile(invite: Invite, membership?: Membership): TrustFile {
  const { swarm, tlsPin } = invite.grant;
  const pins = { swarm, adminKey: invite.adminKey, addresses: [...invite.addresses] };
  return {
    v: 1,
    ...pins,
    ...(tlsPin === undefined ? {} : { tlsPin }),
    rosterVersion: 0,
    localTrust: [],
    ...(membership === undefined ? {} : { membership }),
  };
}

/** The pins in a file, or undefined when there is none. Throws SwarmError for loose permissions and for junk. */
export async function loadTrustFile(path: string): Promise<TrustFile | undefined> {
  const text = await readPrivateFile(path);
  if (text === undefined) return undefined;
  const parsed = trustFileSchema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new SwarmError(
    'bad-input',
    `${path} is not a valid trust file and was left as it is: restore it, or move it away and join again (${z.prettifyError(parsed.error).slice(0, 500)})`,
  );
}

/** Writes the pins whole or not at all. */
export async function saveTrustFile(path: string, trust: TrustFile): Promise<void> {
  await replacePrivateFile(path, `${JSON.stringify(trust, null, 2)}\n`);
}

/** The pins with a newer roster, whoever delivered it; refuses what the pinned admin did not sign and what is older. */
export async function acceptRoster(
  trust: TrustFile,
  envelope: unknown,
  signatures: Signatures,
): Promise<Result<TrustFile>> {
  const roster = await checkRoster(envelope, { ...trust, lastVersion: trust.rosterVersion }, signatures);
  if (!roster.ok) return roster;
  return ok({ ...trust, rosterVersion: roster.value.version, roster: envelopeSchema.parse(envelope) });
}

/** Whether this machine runs work signed by `signer`, who may have shown a membership. Everything is verified here. */
export async function judgeSigner(
  signer: KeyId,
  trust: TrustFile,
  shown: unknown,
  signatures: Signatures,
): Promise<Trust> {
  const roster = await openStoredRoster(trust, signatures);
  if (!roster.ok) return { trusted: false, reason: roster.error };
  const member = shown === undefined ? undefined : await verifyMembership(shown, trust, signatures);
  const membership = member?.ok ? member.value : undefined;
  const verdict = trustOf(signer, { ...trust, roster: roster.value, membership });
  if (verdict.trusted || member === undefined || member.ok) return verdict;
  return { trusted: false, reason: `${verdict.reason} that holds: ${member.error}` };
}

/** Checked again on each use: the file may have been edited, and a roster that fails must not read as "nobody revoked". */
async function openStoredRoster(trust: TrustFile, signatures: Signatures): Promise<Result<Roster | undefined>> {
  if (trust.roster === undefined)
    return trust.rosterVersion === 0
      ? ok(undefined)
      : err(`the roster (version ${trust.rosterVersion}) is missing from this machine's trust file`);
  return checkRoster(trust.roster, { ...trust, lastVersion: trust.rosterVersion }, signatures);
}
