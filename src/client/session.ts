// Owns a client's session with a coordinator: the handshake in which both prove their keys, the token that it yields, and
// a fetch that carries it. Runs in Node and in browsers. Knows no route but the handshake's.

import type { KeyId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import { proveClient, toClientHello, type ClientHello } from '../protocol/handshake.ts';
import { ROUTES, toAuthorization, type ResponseOf } from '../protocol/http.ts';
import { drawNonce, webCryptoSignatures, type Signer } from '../protocol/keys.ts';
import type { Membership } from '../protocol/membership.ts';
import type { Role } from '../protocol/roster.ts';
import { readAnswer, toConnectionError } from './answer.ts';

/** What a session is opened with. In Node, beyond loopback, `fetch` is `pinnedFetch` and `tlsPin` the pin it checks. */
export type SessionOptions = {
  /** Where the coordinator listens, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
  readonly signer: Signer;
  /** The swarm that must answer. */
  readonly swarm: KeyId;
  /** Absent on plain loopback. */
  readonly tlsPin?: string;
  /** Shown so that a coordinator that does not know this key yet enrols it. */
  readonly membership?: Membership;
  /** The longest to wait for each answer of the handshake. */
  readonly handshakeMs?: number;
};

/** A coordinator that takes the connection and says nothing is as good as none. */
const HANDSHAKE_MS = 15_000;

type Ticket = { readonly token: string; readonly role: Role; readonly name: string };

/** Opened at the first request, opened again when its token has expired or the coordinator was restarted. */
export class Session {
  readonly options: SessionOptions;
  #ticket: Promise<Ticket> | undefined;

  constructor(options: SessionOptions) {
    this.options = { ...options, url: options.url.replace(/\/+$/, '') };
  }

  /** Proves both sides' keys and enrols where needed; the role that this key has. */
  async open(): Promise<{ readonly role: Role; readonly name: string }> {
    const { role, name } = await this.#open();
    return { role, name };
  }

  /**
   * `fetch` with this session's token, for a path such as `/v1/jobs` or an address below the coordinator's own.
   * Refusals are returned as responses. Throws SwarmError 'unavailable' when the coordinator cannot be reached.
   */
  async fetch(pathOrUrl: string, init: RequestInit = {}): Promise<Response> {
    const url = this.#toUrl(pathOrUrl);
    const ticket = await this.#open();
    const response = await this.#send(url, withToken(init, ticket.token));
    // A body that is streamed cannot be sent twice; its sender starts again by itself.
    if (response.status !== 401) return response;
    this.#forget(ticket);
    if (init.body instanceof ReadableStream) return response;
    await response.body?.cancel();
    return this.#send(url, withToken(init, (await this.#open()).token));
  }

  /** A token is never sent to another origin. */
  #toUrl(pathOrUrl: string): string {
    const base = new URL(this.options.url);
    const url = new URL(pathOrUrl, base);
    if (url.origin !== base.origin) throw new SwarmError('bad-request', `${url.origin} is not ${base.origin}`);
    return url.href;
  }

  #open(): Promise<Ticket> {
    if (this.#ticket) return this.#ticket;
    const ticket = this.#shakeHands();
    this.#ticket = ticket;
    ticket.catch(() => {
      if (this.#ticket === ticket) this.#ticket = undefined;
    });
    return ticket;
  }

  #forget(used: Ticket): void {
    const ticket = this.#ticket;
    void ticket?.then((present) => {
      if (present === used && this.#ticket === ticket) this.#ticket = undefined;
    });
  }

  async #shakeHands(): Promise<Ticket> {
    const { signer, membership } = this.options;
    const hello = toClientHello(signer.keyId, drawNonce(), membership);
    const greeting = await this.#post('greet', hello);
    const proof = await this.#prove(hello, greeting.answer);
    return this.#post('prove', { handshake: greeting.handshake, proof });
  }

  async #prove(hello: ClientHello, answer: unknown) {
    const { signer, swarm, tlsPin = '' } = this.options;
    const channel = { purpose: 'http', tlsPin } as const;
    const proof = await proveClient(hello, answer, channel, signer, swarm, webCryptoSignatures);
    if (!proof.ok) throw new SwarmError('unauthenticated', `${this.options.url}: ${proof.error}`);
    return proof.value;
  }

  async #post<Name extends 'greet' | 'prove'>(name: Name, body: unknown): Promise<ResponseOf<Name>> {
    const { path, response } = ROUTES[name];
    const headers = { 'content-type': 'application/json' };
    const signal = AbortSignal.timeout(this.options.handshakeMs ?? HANDSHAKE_MS);
    const init = { method: 'POST', headers, body: JSON.stringify(body), signal };
    try {
      const answer = await this.#send(this.options.url + path, init);
      return (await readAnswer(answer, response)) as ResponseOf<Name>;
    } catch (error) {
      if (!signal.aborted || error instanceof SwarmError) throw error;
      throw new SwarmError('timeout', `the coordinator at ${this.options.url} does not answer: is it overloaded?`);
    }
  }

  async #send(url: string, init: RequestInit): Promise<Response> {
    const { fetch = globalThis.fetch } = this.options;
    try {
      return await fetch(url, { redirect: 'error', ...init });
    } catch (cause) {
      throw toConnectionError(this.options.url, cause, init.signal ?? undefined);
    }
  }
}

function withToken(init: RequestInit, token: string): RequestInit {
  const headers = Object.fromEntries(new Headers(init.headers));
  return { ...init, headers: { ...headers, authorization: toAuthorization(token) } };
}
