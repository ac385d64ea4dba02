import { describe, expect, test } from 'vitest';
import type { KeyId } from '../lib/ids.ts';
import type { Member } from './membership.ts';
import type { Role, Roster } from './roster.ts';
import { trustOf, type TrustBasis } from './trust.ts';

const [admin, swarm, bob, invite] = ['a', 'b', 'c', 'd'].map((digit) => `ed25519:${digit.repeat(64)}` as KeyId) as [
  KeyId,
  KeyId,
  KeyId,
  KeyId,
];
const roster = (change: Partial<Roster>): Roster => ({
  v: 1,
  swarm,
  version: 1,
  admins: [],
  members: [],
  revoked: [],
  ...change,
});
const joined = (role: Role, key = bob): Member => ({
  key,
  role,
  name: 'bob',
  inviteId: invite,
  expiresAt: 0,
  maxUses: 1,
});
const listed = (role: Role) => [{ key: bob, role, name: 'bob' }];

function check(signer: KeyId, basis: Partial<TrustBasis>, trusted: boolean, reason: string): void {
  const trust = trustOf(signer, { adminKey: admin, localTrust: [], ...basis });
  expect(trust.reason).toContain(reason);
  expect(trust.trusted).toBe(trusted);
}

describe('trustOf', () => {
  test('the pinned admin and keys that the owner added', () => {
    check(admin, {}, true, 'the admin of this swarm');
    check(bob, { localTrust: [bob] }, true, "this machine's owner trusts");
    check(bob, {}, false, 'not on the roster and showed no membership');
  });

  test.each<[Role, boolean]>([
    ['admin', true],
    ['submitter', true],
    ['peer', false],
    ['viewer', false],
  ])('%s by roster or by membership: %s', (role, trusted) => {
    check(bob, { roster: roster({ members: listed(role) }) }, trusted, 'on the roster');
    check(bob, { membership: joined(role) }, trusted, 'bob joined as');
  });

  test("the coordinator's own key is nobody", () => {
    check(swarm, { roster: roster({}) }, false, 'not on the roster');
  });

  test("somebody else's membership does not count", () => {
    check(bob, { membership: joined('submitter', swarm) }, false, 'showed no membership');
  });

  test('revoked keys and invites never, whatever else speaks for them', () => {
    const revoked = roster({ members: listed('admin'), admins: [bob], revoked: [bob] });
    check(bob, { roster: revoked, localTrust: [bob], membership: joined('admin') }, false, 'the admin revoked');
    check(bob, { roster: roster({ revoked: [invite] }), membership: joined('submitter') }, false, 'revoked the invite');
  });

  test('the roster outranks an older membership', () => {
    const basis = { roster: roster({ members: listed('viewer') }), membership: joined('submitter') };
    check(bob, basis, false, 'bob is a viewer on the roster, which does not allow submitting work');
  });
});
