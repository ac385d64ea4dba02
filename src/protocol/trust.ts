// Owns the decision whose specs an agent runs: the pinned admin, submitters by the admin's signature, and keys the
// machine's owner added. Takes only what was verified before; a coordinator's word is not among the inputs.

import type { KeyId } from '../lib/ids.ts';
import type { Member } from './membership.ts';
import type { Role, Roster } from './roster.ts';

/** All an agent goes by. `roster` and `membership` must come out of `checkRoster` and `verifyMembership`. */
export type TrustBasis = {
  readonly adminKey: KeyId;
  readonly roster?: Roster | undefined;
  /** The membership that came with the signature in question. */
  readonly membership?: Member | undefined;
  /** Keys the owner added on this machine. */
  readonly localTrust: readonly KeyId[];
};

/** `reason` is a clause for people: why the signer may submit, or why not and what would change that. */
export type Trust = { readonly trusted: boolean; readonly reason: string };

/** Whether `signer` may submit work here. A revoked key never may; the roster outranks an older membership. */
export function trustOf(signer: KeyId, basis: TrustBasis): Trust {
  const { adminKey, roster, membership, localTrust } = basis;
  const revoked = new Set(roster?.revoked);
  if (revoked.has(signer)) return no(`the admin revoked ${signer}`);
  if (signer === adminKey) return yes('signed by the admin of this swarm');
  if (localTrust.includes(signer)) return yes("signed by a key that this machine's owner trusts");
  if (roster?.admins.includes(signer)) return yes('signed by an admin on the roster');
  const listed = roster?.members.find((member) => member.key === signer);
  if (listed) return byRole(listed.role, `${listed.name} is ${article(listed.role)} on the roster`);
  if (membership?.key !== signer) return no(`${signer} is not on the roster and showed no membership`);
  if (revoked.has(membership.inviteId)) return no(`the admin revoked the invite by which ${signer} joined`);
  return byRole(membership.role, `${membership.name} joined as ${article(membership.role)}`);
}

/** Whether a role allows handing in work. */
export function maySubmit(role: Role): boolean {
  return role === 'admin' || role === 'submitter';
}

function byRole(role: Role, reason: string): Trust {
  return maySubmit(role) ? yes(reason) : no(`${reason}, which does not allow submitting work`);
}

function article(role: Role): string {
  return role === 'admin' ? 'an admin' : `a ${role}`;
}

function yes(reason: string): Trust {
  return { trusted: true, reason };
}

function no(reason: string): Trust {
  return { trusted: false, reason };
}
