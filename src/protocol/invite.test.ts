import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { fromSeed, generateKey, webCryptoSignatures as signatures, type KeyPair } from './keys.ts';
import { toCanonicalBytes } from './canonical.ts';
import { acceptInvite, makeInvite, parseInvite, type Invite, type Offer } from './invite.ts';
import { signGrant, verifyMembership, type Membership } from './membership.ts';

const PIN = 'ab'.repeat(32);
const EXPIRES_AT = Date.UTC(2030, 0, 1);

let [admin, swarm, oneTime, joiner]: KeyPair[] = [];
let offer: Offer;
let text: string;
beforeAll(async () => {
  [admin, swarm, oneTime, joiner] = await Promise.all([1, 2, 3, 4].map((n) => fromSeed(new Uint8Array(32).fill(n))));
  const addresses = ['https://192.168.1.20:8080', 'http://127.0.0.1:8080'];
  offer = { swarm: idOf(swarm), role: 'submitter', expiresAt: EXPIRES_AT, maxUses: 2, tlsPin: PIN, addresses };
  ({ text } = await makeInvite(offer, admin!.signer, signatures, oneTime));
});

const idOf = (pair: KeyPair | undefined) => pair!.signer.keyId;

async function parsed(line = text): Promise<Invite> {
  const invite = await parseInvite(line, signatures);
  if (!invite.ok) throw new Error(invite.error);
  return invite.value;
}

async function refusal(line: string): Promise<string> {
  const invite = await parseInvite(line, signatures);
  return invite.ok ? '' : invite.error;
}

/** The invite with parts exchanged and a sum that fits them. */
async function reseal(change: Record<string, unknown>): Promise<string> {
  const json = Buffer.from(text.slice('swarm1-'.length), 'base64url').toString();
  const { sum: _, ...body } = { ...(JSON.parse(json) as Record<string, unknown>), ...change };
  const bytes = toCanonicalBytes(body);
  const sum = bytes.ok ? (await signatures.sha256(bytes.value)).slice(0, 16) : '';
  return `swarm1-${Buffer.from(JSON.stringify({ ...body, sum })).toString('base64url')}`;
}

async function verify(membership: unknown, pins: { now?: number } & Record<string, unknown> = {}): Promise<unknown> {
  const result = await verifyMembership(membership, { adminKey: idOf(admin), swarm: idOf(swarm), ...pins }, signatures);
  return result.ok ? result.value : result.error;
}

describe('invite', () => {
  test('the golden invite decodes, and the same keys print it again', async () => {
    expect(text).toBe(GOLDEN);
    const { grant, adminKey, addresses, oneTime: own } = await parsed(GOLDEN);
    expect(adminKey).toBe(idOf(admin));
    expect(own.keyId).toBe(idOf(oneTime));
    expect(addresses).toEqual(offer.addresses);
    expect(grant).toEqual({
      v: 1,
      swarm: idOf(swarm),
      inviteKey: idOf(oneTime),
      role: 'submitter',
      expiresAt: EXPIRES_AT,
      maxUses: 2,
      tlsPin: PIN,
    });
  });

  test('is one line without blanks, and survives how people paste', async () => {
    expect(text).toMatch(/^swarm1-[\w-]+$/);
    const wrapped = `  "${text.slice(0, 80)}\n   ${text.slice(80)}"\r\n`;
    expect((await parsed(wrapped)).grant.inviteKey).toBe(idOf(oneTime));
  });

  test('each of many draws its own key', async () => {
    const [one, two] = [
      await makeInvite(offer, admin!.signer, signatures),
      await makeInvite(offer, admin!.signer, signatures),
    ];
    expect(one.inviteId).not.toBe(two.inviteId);
  });

  test.each([
    ['', 'not an invite'],
    ['hello', 'not an invite'],
    ['swarm2-abc', 'newer Backyard Swarm'],
    ['swarm1-', 'cut off'],
    ['swarm1-äöü', 'altered'],
  ])('%j is refused: %s', async (line, message) => {
    expect(await refusal(line)).toContain(message);
    expect(await refusal('x'.repeat(20_000))).toContain('too long');
  });

  test('cut at any place it says so', async () => {
    for (let length = 'swarm1-'.length; length < text.length; length++)
      expect(await refusal(text.slice(0, length)), `after ${length} characters`).toContain('cut off');
  });

  test('any changed character is refused', async () => {
    const alphabet = fc.constantFrom(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.'.split(''));
    await fc.assert(
      fc.asyncProperty(fc.nat(text.length - 1), alphabet, async (at, char) => {
        fc.pre(text[at] !== char);
        const changed = text.slice(0, at) + char + text.slice(at + 1);
        expect(await refusal(changed)).toMatch(/altered|cut off|not an invite|newer/);
      }),
      { numRuns: 1_000 },
    );
  });

  test('sealed anew by somebody in between, it still gives no key and no unprotected address', async () => {
    const other = Buffer.from(new Uint8Array(32).fill(9)).toString('base64url');
    expect(await refusal(await reseal({ key: other }))).toContain('does not belong to its grant');
    expect(await refusal(await reseal({ addresses: ['http://203.0.113.9'] }))).toContain('without TLS');
    expect(await refusal(await reseal({}))).toBe('');
  });

  test('is not made where bytes would travel unprotected', async () => {
    const make = async (change: Partial<Offer>) => makeInvite({ ...offer, ...change }, admin!.signer, signatures);
    await expect(make({ addresses: ['http://192.168.1.20:8080'] })).rejects.toThrow('without TLS');
    await expect(make({ addresses: ['http://127.0.0.1.evil.example'] })).rejects.toThrow('without TLS');
    await expect(make({ addresses: ['ftp://127.0.0.1'] })).rejects.toThrow('no invite was made');
    await expect(make({ addresses: [] })).rejects.toThrow('no invite was made');
    const { tlsPin: _, ...unpinned } = offer;
    await expect(makeInvite(unpinned, admin!.signer, signatures)).rejects.toThrow('needs the pin');
  });
});

describe('membership', () => {
  let membership: Membership;
  beforeAll(async () => {
    membership = await acceptInvite(await parsed(), idOf(joiner), 'bob\u202e');
  });

  test('proves key, role and name to anyone who pins the admin', async () => {
    expect(await verify(membership, { now: EXPIRES_AT - 1 })).toEqual({
      key: idOf(joiner),
      role: 'submitter',
      name: 'bob',
      inviteId: idOf(oneTime),
      expiresAt: EXPIRES_AT,
      maxUses: 2,
    });
  });

  test("the admin's name for the joiner stands before the joiner's own", async () => {
    const named = await makeInvite({ ...offer, name: 'Bob at work' }, admin!.signer, signatures);
    expect(await verify(await acceptInvite(await parsed(named.text), idOf(joiner), 'admin'))).toMatchObject({
      name: 'Bob at work',
    });
  });

  test('an expired invite is refused at enrolment only', async () => {
    expect(await verify(membership, { now: EXPIRES_AT })).toContain(
      'expired on 2030-01-01T00:00:00.000Z: ask the admin',
    );
    expect(await verify(membership)).toMatchObject({ key: idOf(joiner) });
  });

  test('another swarm, another admin and a stranger who signs for the invite are refused', async () => {
    const stranger = (await generateKey()).signer;
    expect(await verify(membership, { swarm: idOf(joiner) })).toContain('the invite is for swarm');
    expect(await verify(membership, { adminKey: stranger.keyId })).toContain("not signed by this swarm's admin");
    const { grant, grantEnvelope } = await parsed();
    const forged = { grant: await signGrant(grant, stranger), join: membership.join };
    expect(await verify(forged)).toContain("not signed by this swarm's admin");
    const invite = { ...(await parsed()), oneTime: stranger, grantEnvelope };
    expect(await verify(await acceptInvite(invite, idOf(joiner), 'bob'))).toContain('not signed by its invite');
    expect(await verify({ grant: membership.join, join: membership.grant })).toContain('not signed by this swarm');
    expect(await verify(null)).toContain('not a membership');
  });

  test('every changed byte is refused, or changes nothing that was signed', async () => {
    const honest = await verify(membership);
    const bytes = new TextEncoder().encode(JSON.stringify(membership));
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
        const changed = bytes.slice();
        changed[at] = (changed[at] as number) ^ (1 << bit);
        const outcome = await verify(parseOrNull(new TextDecoder().decode(changed)));
        if (typeof outcome !== 'string') expect(outcome).toEqual(honest);
      }),
      { numRuns: 1_000 },
    );
  });
});

function parseOrNull(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

const GOLDEN =
  'swarm1-eyJncmFudCI6eyJwYXlsb2FkVHlwZSI6ImFwcGxpY2F0aW9uL3ZuZC5iYWNreWFyZC1zd2FybS5ncmFudCtqc29uIiwicGF5bG9hZCI6ImV5SmxlSEJwY21WelFYUWlPakU0T1RNME5UWXdNREF3TURBc0ltbHVkbWwwWlV0bGVTSTZJbVZrTWpVMU1UazZaV1EwT1RJNFl6WXlPR1F4WXpKak5tVmhaVGt3TXpNNE9UQTFPVGsxTmpFeU9UVTVNamN6WVRWak5qTm1PVE0yTXpaak1UUTJNVFJoWXpnM016ZGtNU0lzSW0xaGVGVnpaWE1pT2pJc0luSnZiR1VpT2lKemRXSnRhWFIwWlhJaUxDSnpkMkZ5YlNJNkltVmtNalUxTVRrNk9ERXpPVGMzTUdWaE9EZGtNVGMxWmpVMllUTTFORFkyWXpNMFl6ZGxZMk5qWWpoa09HRTVNV0kwWldVek4yRXlOV1JtTmpCbU5XSTRabU01WWpNNU5DSXNJblJzYzFCcGJpSTZJbUZpWVdKaFltRmlZV0poWW1GaVlXSmhZbUZpWVdKaFltRmlZV0poWW1GaVlXSmhZbUZpWVdKaFltRmlZV0poWW1GaVlXSmhZbUZpWVdKaFltRmlZV0lpTENKMklqb3hmUT09Iiwic2lnbmF0dXJlcyI6W3sia2V5aWQiOiJlZDI1NTE5OjhhODhlM2RkNzQwOWYxOTVmZDUyZGIyZDNjYmE1ZDcyY2E2NzA5YmYxZDk0MTIxYmYzNzQ4ODAxYjQwZjZmNWMiLCJzaWciOiJ3Yk5NSEhGaS9FT3RDKzQ3SmFMVElXc0pleEVadWRCMTZ0ZnkrQ1E4NkpmM2szdkxvaVhxZFZIUkRnUmlVby9OSXRjRVZkRTc1Yk5kSDJCbG0wYTNBUT09In1dfSwia2V5IjoiQXdNREF3TURBd01EQXdNREF3TURBd01EQXdNREF3TURBd01EQXdNREF3TSIsImFkZHJlc3NlcyI6WyJodHRwczovLzE5Mi4xNjguMS4yMDo4MDgwIiwiaHR0cDovLzEyNy4wLjAuMTo4MDgwIl0sInN1bSI6ImY5MjkwZWRlMWI4NTcyM2UifQ';
