// Owns who may come in: handshakes, enrolment by membership, session tokens and the role behind each. Knows no routes
// and no frames.

import type { KeyId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import {
  acceptProof,
  answerHello,
  parseClientHello,
  type Channel,
  type PendingHandshake,
  type ServerHello,
} from '../protocol/handshake.ts';
import { drawNonce, webCryptoSignatures, type Signer } from '../protocol/keys.ts';
import { verifyMembership, type Membership } from '../protocol/membership.ts';
import type { Role } from '../protocol/roster.ts';
import type { DashboardTokens } from './dashboard-tokens.ts';
import type { Engine } from './engine.ts';

const HANDSHAKE_MS = 30_000;
const MAX_HANDSHAKES = 512;
const TOKEN_MS = 12 * 3_600_000;
const MAX_TOKENS = 10_000;
const MAX_TOKENS_PER_KEY = 64;

/** A proven caller. */
export type Caller = {
  readonly key: KeyId;
  readonly role: Role;
  readonly name: string;
  /** It came by a sign-in link. */
  readonly isBrowser?: true;
};

type Waiting = { readonly pending: PendingHandshake; readonly expiresAt: number };
type Ticket = { readonly key: KeyId; readonly expiresAt: number };

export class Gatekeeper {
  readonly #engine: Engine;
  readonly #signer: Signer;
  readonly #adminKey: KeyId;
  readonly #tlsPin: string;
  readonly #dashboards: DashboardTokens;
  readonly #waiting = new Map<string, Waiting>();
  readonly #tickets = new Map<string, Ticket>();

  constructor(options: {
    engine: Engine;
    signer: Signer;
    adminKey: KeyId;
    tlsPin: string;
    dashboards: DashboardTokens;
  }) {
    this.#engine = options.engine;
    this.#signer = options.signer;
    this.#adminKey = options.adminKey;
    this.#tlsPin = options.tlsPin;
    this.#dashboards = options.dashboards;
  }

  /** Begins a handshake. Throws 'bad-request' or 'old-protocol'. */
  async answer(
    hello: unknown,
    purpose: Channel['purpose'],
  ): Promise<{ answer: ServerHello; pending: PendingHandshake }> {
    const parsed = parseClientHello(hello);
    if (!parsed.ok) throw new SwarmError(parsed.error.code, parsed.error.message);
    const channel = { purpose, tlsPin: this.#tlsPin };
    return answerHello(parsed.value, channel, this.#signer, drawNonce(), webCryptoSignatures);
  }

  /** Begins a session's handshake and keeps it until the proof comes. */
  async greet(hello: unknown): Promise<{ handshake: string; answer: ServerHello }> {
    const { answer, pending } = await this.answer(hello, 'http');
    const handshake = drawToken();
    dropOldest(this.#waiting, MAX_HANDSHAKES - 1);
    this.#waiting.set(handshake, { pending, expiresAt: this.#engine.now() + HANDSHAKE_MS });
    return { handshake, answer };
  }

  /** Ends a session's handshake: a token for the proven caller. */
  async prove(handshake: string, proof: unknown): Promise<Caller & { token: string; expiresInMs: number }> {
    const waiting = this.#waiting.get(handshake);
    this.#waiting.delete(handshake);
    if (!waiting || waiting.expiresAt < this.#engine.now())
      throw new SwarmError('unauthenticated', 'this handshake is unknown or took too long: begin a new one');
    const caller = await this.admit(waiting.pending, proof);
    const token = drawToken();
    this.#forgetOldTickets(caller.key);
    this.#tickets.set(token, { key: caller.key, expiresAt: this.#engine.now() + TOKEN_MS });
    return { ...caller, token, expiresInMs: TOKEN_MS };
  }

  /** Checks the proof and finds the caller's role, enrolling who shows a valid membership. Throws why not. */
  async admit(pending: PendingHandshake, proof: unknown): Promise<Caller> {
    const proven = await acceptProof(pending, proof, webCryptoSignatures);
    if (!proven.ok) throw new SwarmError('unauthenticated', proven.error);
    const { clientKey, membership } = proven.value;
    const known = this.find(clientKey);
    if (!membership || known?.role === 'admin') return known ?? refuseStranger(clientKey);
    return this.#enrol(clientKey, membership, known);
  }

  /** A code with which a browser signs in for a member. */
  makeLink({ key, isBrowser }: Pick<Caller, 'key' | 'isBrowser'>): { code: string; expiresInMs: number } {
    // Or a token would renew itself for ever.
    if (isBrowser) refuse('forbidden', 'a browser cannot let another one in: run swarm dashboard');
    return this.#dashboards.makeLink(key, this.#engine.now());
  }

  /** Changes a sign-in code for a token. Throws 'unauthenticated'. */
  redeem(code: string): { token: string; expiresInMs: number; role: Role; name: string } {
    const { caller, token, expiresInMs } = this.#dashboards.redeem(code, this.#engine.now());
    const viewer = this.#toViewer(caller) ?? refuseStranger(caller);
    return { token, expiresInMs, role: viewer.role, name: viewer.name };
  }

  /** Whoever holds this key now: the admin, or a member. */
  find(key: KeyId): Caller | undefined {
    const member = this.#engine.state.members.get(key);
    if (key === this.#adminKey) return { key, role: 'admin', name: 'admin' };
    return member && { key, role: member.role, name: member.name };
  }

  /** The caller behind a token; undefined when it is unknown or has expired. */
  identify(token: string): Caller | undefined {
    const ticket = this.#tickets.get(token);
    if (!ticket) return this.#toViewer(this.#dashboards.check(token, this.#engine.now()));
    if (ticket.expiresAt >= this.#engine.now()) return this.find(ticket.key);
    this.#tickets.delete(token);
    return undefined;
  }

  /** A browser looks on behalf of a member; what changes something takes the member's key. */
  #toViewer(key: KeyId | undefined): Caller | undefined {
    const caller = key && this.find(key);
    return caller && { ...caller, role: 'viewer', isBrowser: true };
  }

  /** A member who shows a credential of another role changes it, if the invite still holds. */
  async #enrol(key: KeyId, membership: Membership, known: Caller | undefined): Promise<Caller> {
    const { swarm, adminKey } = { swarm: this.#signer.keyId, adminKey: this.#adminKey };
    const verified = await verifyMembership(membership, { adminKey, swarm }, webCryptoSignatures);
    if (!verified.ok) return known ?? refuse('bad-invite', verified.error);
    const { role, name, inviteId, maxUses, expiresAt } = verified.value;
    if (verified.value.key !== key) return known ?? refuse('bad-invite', `the membership is not that of ${key}`);
    if (known?.role === role) return known;
    try {
      const invite = { id: inviteId, maxUses, expiresAt };
      await this.#engine.ask({ kind: 'member-enrolled', key, name, role, invite });
      return { key, role, name };
    } catch (error) {
      if (known && error instanceof SwarmError && error.code === 'bad-invite') return known;
      throw error;
    }
  }

  #forgetOldTickets(key: KeyId): void {
    const own = [...this.#tickets].filter(([, ticket]) => ticket.key === key);
    for (const [token] of own.slice(0, Math.max(0, own.length - MAX_TOKENS_PER_KEY + 1))) this.#tickets.delete(token);
    dropOldest(this.#tickets, MAX_TOKENS - 1);
  }
}

function refuseStranger(key: KeyId): never {
  return refuse('forbidden', `${key} is not a member of this swarm: join with an invite (swarm join INVITE)`);
}

function refuse(code: 'forbidden' | 'bad-invite', message: string): never {
  throw new SwarmError(code, message);
}

function drawToken(): string {
  return drawNonce().toBase64({ alphabet: 'base64url', omitPadding: true });
}

function dropOldest<K, V>(map: Map<K, V>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
