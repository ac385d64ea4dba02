import { generateKeyPairSync } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadKey, loadOrCreateKey } from '../../src/identity/key-files.ts';
import { loadOrCreateTlsIdentity } from '../../src/identity/tls.ts';
import {
  acceptRoster,
  judgeSigner,
  loadTrustFile,
  saveTrustFile,
  toTrustFile,
  type TrustFile,
} from '../../src/identity/trust-file.ts';
import { acceptInvite, makeInvite, parseInvite } from '../../src/protocol/invite.ts';
import { generateKey, webCryptoSignatures as signatures, type Signer } from '../../src/protocol/keys.ts';
import { signRoster, type Role, type Roster } from '../../src/protocol/roster.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'swarm-identity-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

describe('key files', () => {
  test('are made once, private, in a private folder, and nothing else is left there', async () => {
    const path = join(folder, 'new', 'agent.key');
    const first = await loadOrCreateKey(path);
    expect((await loadOrCreateKey(path)).keyId).toBe(first.keyId);
    expect(await modeOf(path)).toBe(0o600);
    expect(await modeOf(join(folder, 'new'))).toBe(0o700);
    expect(await readdir(join(folder, 'new'))).toEqual(['agent.key']);
    expect(await loadKey(join(folder, 'other.key'))).toBeUndefined();
  });

  test('made by several at once, all get the same key', async () => {
    const path = join(folder, 'agent.key');
    const signers = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateKey(path)));
    expect(new Set(signers.map((signer) => signer.keyId)).size).toBe(1);
    expect(await readdir(folder)).toEqual(['agent.key']);
  });

  test.each([0o640, 0o604, 0o666])('with mode %o is refused with what to do', async (mode) => {
    const path = join(folder, 'agent.key');
    await loadOrCreateKey(path);
    await chmod(path, mode);
    await expect(loadOrCreateKey(path)).rejects.toThrow(`run chmod 600 '${path}'`);
  });

  test('in a folder that others can write is refused', async () => {
    const path = join(folder, 'agent.key');
    await loadOrCreateKey(path);
    await chmod(folder, 0o777);
    await expect(loadOrCreateKey(path)).rejects.toThrow(`run chmod 700 '${folder}'`);
  });

  test.each([
    ['empty', ''],
    ['cut off', '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAEB'],
    ['text', 'not a key'],
    ['another kind of key', ecKeyPem()],
  ])('that hold junk (%s) are left as they are', async (_what, junk) => {
    const path = join(folder, 'agent.key');
    await writeFile(path, junk, { mode: 0o600 });
    await expect(loadOrCreateKey(path)).rejects.toThrow('was left as it is');
    expect(await readFile(path, 'utf8')).toBe(junk);
  });

  test('that are folders, or lie under a file, give a plain error', async () => {
    await mkdir(join(folder, 'agent.key'));
    await expect(loadOrCreateKey(join(folder, 'agent.key'))).rejects.toThrow('not a file');
    await writeFile(join(folder, 'file'), '', { mode: 0o600 });
    await expect(loadOrCreateKey(join(folder, 'file', 'agent.key'))).rejects.toMatchObject({ name: 'SwarmError' });
  });
});

describe('TLS identity', () => {
  test('is made once and keeps its pin; junk is left as it is', async () => {
    const path = join(folder, 'tls.pem');
    const [one, two] = await Promise.all([loadOrCreateTlsIdentity(path), loadOrCreateTlsIdentity(path)]);
    expect(one).toEqual(two);
    expect(one.pin).toMatch(/^[0-9a-f]{64}$/);
    expect(await loadOrCreateTlsIdentity(path)).toEqual(one);
    expect(await modeOf(path)).toBe(0o600);
    await writeFile(path, 'junk');
    await expect(loadOrCreateTlsIdentity(path)).rejects.toThrow('was left as it is');
  });

  test('whose key and certificate do not belong together is refused', async () => {
    const [one, two] = await Promise.all(['a', 'b'].map((name) => loadOrCreateTlsIdentity(join(folder, name))));
    const end = '-----END PRIVATE KEY-----\n';
    const mixed = one!.pem.split(end)[0] + end + two!.pem.split(end)[1];
    await writeFile(join(folder, 'a'), mixed);
    await expect(loadOrCreateTlsIdentity(join(folder, 'a'))).rejects.toThrow('was left as it is');
  });
});

describe('trust file', () => {
  let [admin, swarm, joiner]: Signer[] = [];
  let path: string;
  let trust: TrustFile;
  let membership: Awaited<ReturnType<typeof acceptInvite>>;

  beforeEach(async () => {
    [admin, swarm, joiner] = await Promise.all([1, 2, 3].map(async () => (await generateKey()).signer));
    path = join(folder, 'trust.json');
    const offer = {
      swarm: swarm!.keyId,
      role: 'submitter',
      expiresAt: 1,
      maxUses: 1,
      addresses: ['http://[::1]:1'],
    } as const;
    const invite = await parseInvite((await makeInvite(offer, admin!, signatures)).text, signatures);
    if (!invite.ok) throw new Error(invite.error);
    membership = await acceptInvite(invite.value, joiner!.keyId, 'bob');
    trust = toTrustFile(invite.value);
  });

  const roster = (version: number, role: Role, change: Partial<Roster> = {}): Roster => ({
    v: 1,
    swarm: swarm!.keyId,
    version,
    admins: [],
    members: [{ key: joiner!.keyId, role, name: 'bob' }],
    revoked: [],
    ...change,
  });

  async function withRoster(signed: Roster): Promise<TrustFile> {
    const accepted = await acceptRoster(trust, await signRoster(signed, admin!), signatures);
    if (!accepted.ok) throw new Error(accepted.error);
    return accepted.value;
  }

  test('comes back as it was saved; junk is left as it is', async () => {
    expect(await loadTrustFile(path)).toBeUndefined();
    await saveTrustFile(path, { ...(await withRoster(roster(2, 'peer'))), membership });
    const loaded = await loadTrustFile(path);
    expect(loaded).toMatchObject({ swarm: swarm!.keyId, adminKey: admin!.keyId, rosterVersion: 2, membership });
    await saveTrustFile(path, loaded!);
    expect(await loadTrustFile(path)).toEqual(loaded);
    expect(await modeOf(path)).toBe(0o600);
    await writeFile(path, '{"v":1}');
    await expect(loadTrustFile(path)).rejects.toThrow('was left as it is');
    expect(await readFile(path, 'utf8')).toBe('{"v":1}');
  });

  test('takes newer rosters by the pinned admin, and no others', async () => {
    trust = await withRoster(roster(5, 'peer'));
    await expect(withRoster(roster(4, 'admin'))).rejects.toThrow('version 4 is older than 5');
    const forged = await signRoster(roster(6, 'admin'), swarm!);
    expect(await acceptRoster(trust, forged, signatures)).toMatchObject({ ok: false });
    expect((await withRoster(roster(6, 'submitter'))).rosterVersion).toBe(6);
  });

  test('judges signers: by admin, membership, roster, and never a revoked one', async () => {
    const judge = async (by: TrustFile, signer: Signer, shown?: unknown) =>
      judgeSigner(signer.keyId, by, shown, signatures);
    expect(await judge(trust, admin!)).toMatchObject({ trusted: true });
    expect(await judge(trust, swarm!)).toMatchObject({ trusted: false });
    expect(await judge(trust, joiner!)).toMatchObject({ trusted: false });
    expect(await judge(trust, joiner!, membership)).toMatchObject({
      trusted: true,
      reason: 'bob joined as a submitter',
    });
    expect(await judge(trust, swarm!, membership)).toMatchObject({ trusted: false });
    expect(await judge(await withRoster(roster(1, 'viewer')), joiner!, membership)).toMatchObject({ trusted: false });
    const revoked = await withRoster(roster(1, 'admin', { revoked: [joiner!.keyId] }));
    expect(await judge({ ...revoked, localTrust: [joiner!.keyId] }, joiner!, membership)).toMatchObject({
      trusted: false,
    });
    const tampered = { ...membership, join: { ...membership.join, payload: membership.grant.payload } };
    expect((await judge(trust, joiner!, tampered)).reason).toContain('showed no membership that holds');
  });

  test('an edited or missing roster lets nobody in', async () => {
    const { roster: kept, ...lost } = await withRoster(roster(3, 'admin'));
    expect(await judgeSigner(admin!.keyId, lost, undefined, signatures)).toMatchObject({ trusted: false });
    const edited = { ...lost, roster: { ...kept!, payload: `${kept!.payload.slice(0, -4)}AAAA` } };
    expect(await judgeSigner(admin!.keyId, edited, undefined, signatures)).toMatchObject({ trusted: false });
  });
});

function ecKeyPem(): string {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' });
}
