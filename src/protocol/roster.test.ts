import { beforeAll, describe, expect, test } from 'vitest';
import { signEnvelope } from './dsse.ts';
import { fromSeed, webCryptoSignatures as signatures, type Signer } from './keys.ts';
import { checkRoster, ROSTER_TYPE, signRoster, type Roster } from './roster.ts';

let [admin, swarm, other]: Signer[] = [];
let roster: Roster;
beforeAll(async () => {
  [admin, swarm, other] = await Promise.all(
    [1, 2, 3].map(async (n) => (await fromSeed(new Uint8Array(32).fill(n))).signer),
  );
  const members = [{ key: key(other), role: 'submitter', name: 'bob' } as const];
  roster = { v: 1, swarm: key(swarm), version: 3, admins: [], members, revoked: [] };
});

const key = (signer: Signer | undefined) => signer!.keyId;
const check = async (envelope: unknown, lastVersion = 0, pins = {}) =>
  checkRoster(envelope, { adminKey: key(admin), swarm: key(swarm), lastVersion, ...pins }, signatures);

describe('roster', () => {
  test('opens one that the pinned admin signed, again and again', async () => {
    const envelope = await signRoster(roster, admin!);
    expect(await check(envelope, 3)).toEqual({ ok: true, value: roster });
    expect((await check(envelope, 2)).ok).toBe(true);
  });

  test('refuses an older one, another admin, another swarm and what is no roster', async () => {
    const envelope = await signRoster(roster, admin!);
    const errorOf = async (result: ReturnType<typeof check>) => {
      const settled = await result;
      return settled.ok ? '' : settled.error;
    };
    expect(await errorOf(check(envelope, 4))).toContain('version 3 is older than 4');
    expect(await errorOf(check(await signRoster(roster, other!)))).toContain(`not by ${key(admin)}`);
    expect(await errorOf(check(envelope, 0, { swarm: key(other) }))).toContain('it is for swarm');
    expect(await errorOf(check(await signEnvelope('application/other', roster, admin!)))).toContain(
      'application/other',
    );
    expect(await errorOf(check(await signEnvelope(ROSTER_TYPE, { v: 2 }, admin!)))).toContain('not valid');
  });
});
