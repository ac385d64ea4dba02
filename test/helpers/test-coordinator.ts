// Owns a real coordinator in a folder of its own, with an admin and clients, for tests over real sockets.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SwarmClient } from '../../src/client/client.ts';
import { Session, type SessionOptions } from '../../src/client/session.ts';
import type { CoordinatorConfig } from '../../src/coordinator/config.ts';
import type { Logger } from '../../src/runtime/logger.ts';
import { startCoordinator, type Coordinator } from '../../src/coordinator/coordinator.ts';
import { PinnedAgent } from '../../src/identity/pinned-agent.ts';
import { pinnedFetch } from '../../src/identity/pinned-fetch.ts';
import { acceptInvite, makeInvite, parseInvite } from '../../src/protocol/invite.ts';
import { generateKey, webCryptoSignatures, type KeyPair, type Signer } from '../../src/protocol/keys.ts';
import type { Membership } from '../../src/protocol/membership.ts';
import type { Role } from '../../src/protocol/roster.ts';

export const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const HOUR_MS = 3_600_000;

export class TestCoordinator implements AsyncDisposable {
  readonly admin: Signer;
  readonly config: CoordinatorConfig;
  #running: Coordinator;
  #fatal: unknown;

  private constructor(admin: Signer, config: CoordinatorConfig, running: Coordinator) {
    this.admin = admin;
    this.config = config;
    this.#running = running;
  }

  static async start(overrides: Partial<CoordinatorConfig> = {}): Promise<TestCoordinator> {
    const dir = await mkdtemp(join(tmpdir(), 'swarm-coordinator-'));
    const admin = (await generateKey()).signer;
    const config: CoordinatorConfig = {
      dir,
      adminKey: admin.keyId,
      host: '127.0.0.1',
      port: 0,
      allowPublic: false,
      publicHosts: [],
      quotaBytes: 1_024 ** 3,
      version: '0.0.0-test',
      ...overrides,
    };
    const running = await startCoordinator(config, { logger: SILENT, onFatal: () => undefined });
    return new TestCoordinator(admin, config, running);
  }

  get swarm() {
    return this.#running.swarm;
  }

  get url(): string {
    return this.#running.urls[0] ?? '';
  }

  get tlsPin(): string | undefined {
    return this.#running.tlsPin;
  }

  get fatal(): unknown {
    return this.#fatal;
  }

  stop(): Promise<void> {
    return this.#running.stop();
  }

  /** Starts again on the same folder and, so that agents find it, the same port. */
  async restart(): Promise<void> {
    const port = Number(new URL(this.url).port);
    await this.stop();
    const onFatal = (error: unknown) => void (this.#fatal = error);
    this.#running = await startCoordinator({ ...this.config, port }, { logger: SILENT, onFatal });
  }

  /** A client with this key; the admin's own when none is given. */
  client(signer: Signer = this.admin, membership?: Membership): SwarmClient {
    const pin = this.tlsPin;
    const options: SessionOptions = {
      url: this.url,
      signer,
      swarm: this.swarm,
      ...(membership && { membership }),
      ...(pin !== undefined && { tlsPin: pin, fetch: pinnedFetch(new PinnedAgent(pin)) }),
    };
    return new SwarmClient(new Session(options));
  }

  /** A key that joined by an invite of its own. It enrols with its first session. */
  async invite(
    role: Role,
    offer: { expiresAt?: number; maxUses?: number; name?: string } = {},
  ): Promise<{ signer: Signer; pair: KeyPair; membership: Membership; invite: string }> {
    const pair = await generateKey();
    const { text } = await makeInvite(
      {
        swarm: this.swarm,
        role,
        expiresAt: offer.expiresAt ?? Date.now() + HOUR_MS,
        maxUses: offer.maxUses ?? 1,
        addresses: [this.url],
        ...(this.tlsPin !== undefined && { tlsPin: this.tlsPin }),
      },
      this.admin,
      webCryptoSignatures,
    );
    const invite = await parseInvite(text, webCryptoSignatures);
    if (!invite.ok) throw new Error(invite.error);
    const membership = await acceptInvite(invite.value, pair.signer.keyId, offer.name ?? `a ${role}`);
    return { signer: pair.signer, pair, membership, invite: text };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.config.dir, { recursive: true, force: true });
  }
}
