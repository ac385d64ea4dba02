// Owns a real agent in a folder of its own, for tests over real sockets: joined to a swarm by an invite, with a log that
// tests can read.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startAgent, type Agent } from '../../src/agent/agent.ts';
import type { AgentConfig } from '../../src/agent/config.ts';
import type { Logger } from '../../src/runtime/logger.ts';
import { toPem } from '../../src/identity/key-files.ts';
import { saveTrustFile, toTrustFile, type TrustFile } from '../../src/identity/trust-file.ts';
import { acceptInvite, makeInvite, parseInvite } from '../../src/protocol/invite.ts';
import { generateKey, webCryptoSignatures, type Signer } from '../../src/protocol/keys.ts';
import type { KeyId } from '../../src/lib/ids.ts';

export const APP_DIR = fileURLToPath(new URL('../..', import.meta.url));
const HOUR_MS = 3_600_000;

/** A folder as `swarm join` leaves it. */
export async function joinSwarm(
  swarm: KeyId,
  admin: Signer,
  url: string,
  change: (trust: TrustFile) => TrustFile = (trust) => trust,
  tlsPin?: string,
): Promise<{ readonly dir: string; readonly signer: Signer }> {
  const dir = await mkdtemp(join(tmpdir(), 'swarm-agent-'));
  const pair = await generateKey();
  const pin = tlsPin === undefined ? {} : { tlsPin };
  const offer = { swarm, role: 'peer' as const, expiresAt: Date.now() + HOUR_MS, maxUses: 1, addresses: [url], ...pin };
  const invite = await parseInvite((await makeInvite(offer, admin, webCryptoSignatures)).text, webCryptoSignatures);
  if (!invite.ok) throw new Error(invite.error);
  const membership = await acceptInvite(invite.value, pair.signer.keyId, 'a test');
  await writeFile(join(dir, 'key.pem'), toPem('PRIVATE KEY', pair.pkcs8), { mode: 0o600 });
  await saveTrustFile(join(dir, 'trust.json'), change(toTrustFile(invite.value, membership)));
  return { dir, signer: pair.signer };
}

export class TestAgent implements AsyncDisposable {
  readonly dir: string;
  readonly peer: KeyId;
  readonly log: { level: string; message: string; fields: object }[] = [];
  readonly #agent: Promise<Agent>;

  constructor(joined: { readonly dir: string; readonly signer: Signer }, overrides: Partial<AgentConfig> = {}) {
    const note = (level: string) => (fields: object, message: string) => void this.log.push({ level, message, fields });
    const logger: Logger = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') };
    const { dir } = joined;
    const config: AgentConfig = { dir, appDir: APP_DIR, name: 'test', sandbox: 'permission', ...overrides };
    this.dir = dir;
    this.peer = joined.signer.keyId;
    this.#agent = startAgent(config, { logger });
  }

  static async start(
    joined: { dir: string; signer: Signer },
    overrides: Partial<AgentConfig> = {},
  ): Promise<TestAgent> {
    const agent = new TestAgent(joined, overrides);
    await agent.#agent;
    return agent;
  }

  async ended(): Promise<string> {
    return (await (await this.#agent).ended).reason;
  }

  async stop(): Promise<void> {
    await (await this.#agent).stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}
