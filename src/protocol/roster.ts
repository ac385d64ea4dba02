// Owns the roster: the versioned list of who has which role, signed by the admin alone. Agents keep the newest they
// have seen and refuse older ones. Knows nothing of invites; what a role allows is trust.ts.

import { z } from 'zod';
import type { KeyId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { MAX_DISPLAY_NAME_CHARS } from './display-name.ts';
import { openEnvelope, signEnvelope, type Envelope } from './dsse.ts';
import type { Signatures, Signer } from './keys.ts';
import { keyIdSchema } from './names.ts';

export const ROSTER_TYPE = 'application/vnd.backyard-swarm.roster+json';
/** A swarm is friends; 1,000 keys fit the bound of a signed payload. */
const MAX_MEMBERS = 1_000;
const MAX_REVOKED = 1_000;

export const roleSchema = z.enum(['admin', 'submitter', 'peer', 'viewer']);

export const rosterSchema = z.strictObject({
  v: z.literal(1),
  swarm: keyIdSchema,
  /** Grows with each roster the admin signs. */
  version: z.int().min(1).max(1e9),
  /** Further keys that act as admin towards the coordinator; only the pinned one signs rosters and grants. */
  admins: z.array(keyIdSchema).max(16),
  members: z
    .array(z.strictObject({ key: keyIdSchema, role: roleSchema, name: z.string().min(1).max(MAX_DISPLAY_NAME_CHARS) }))
    .max(MAX_MEMBERS),
  /** Keys that have no role any more. An invite's key here ends every membership that rests on that invite. */
  revoked: z.array(keyIdSchema).max(MAX_REVOKED),
});

export type Role = z.infer<typeof roleSchema>;
export type Roster = z.infer<typeof rosterSchema>;

/** What a checker pins: the admin's key, the swarm, and the newest version it has accepted (0 for none). */
export type RosterPins = { readonly adminKey: KeyId; readonly swarm: KeyId; readonly lastVersion: number };

/** Signs a roster with the admin's key. */
export async function signRoster(roster: Roster, admin: Signer): Promise<Envelope> {
  return signEnvelope(ROSTER_TYPE, rosterSchema.parse(roster), admin);
}

/** Opens a roster: signed by the pinned admin, for this swarm, and not older than the last one. */
export async function checkRoster(
  envelope: unknown,
  pins: RosterPins,
  signatures: Signatures,
): Promise<Result<Roster>> {
  const opened = await openEnvelope(envelope, ROSTER_TYPE, rosterSchema, signatures, { signer: pins.adminKey });
  if (!opened.ok) return err(`the roster is refused: ${opened.error}`);
  const roster = opened.value.payload;
  if (roster.swarm !== pins.swarm)
    return err(`the roster is refused: it is for swarm ${roster.swarm}, not ${pins.swarm}`);
  if (roster.version < pins.lastVersion)
    return err(`the roster is refused: version ${roster.version} is older than ${pins.lastVersion}, seen before`);
  return ok(roster);
}
