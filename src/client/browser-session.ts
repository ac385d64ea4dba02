// Owns a browser's session: a token that a sign-in link was changed for, and a fetch that carries it. It can look, and
// change nothing. Knows no keys.

import { SwarmError } from '../protocol/errors.ts';
import { ROUTES, toAuthorization, type ResponseOf } from '../protocol/http.ts';
import { readAnswer, toConnectionError } from './answer.ts';
import type { Transport } from './client.ts';

/** The token behind a sign-in code; the code is good for once. Throws 'unauthenticated' for one that is not, or is no more. */
export async function redeemCode(url: string, code: string): Promise<ResponseOf<'redeem'>> {
  const { path, response } = ROUTES.redeem;
  const headers = { 'content-type': 'application/json' };
  const answer = await send(url, path, { method: 'POST', headers, body: JSON.stringify({ code }) });
  return readAnswer(answer, response);
}

export class BrowserSession implements Transport {
  readonly #url: string;
  readonly #token: string;

  /** `url` is the coordinator's own, or that of a proxy before it. */
  constructor(url: string, token: string) {
    this.#url = url;
    this.#token = token;
  }

  /** `fetch` with the token. Throws 'unauthenticated' when it has ended, 'unavailable' when nobody answers. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = { ...Object.fromEntries(new Headers(init.headers)), authorization: toAuthorization(this.#token) };
    const response = await send(this.#url, path, { ...init, headers });
    if (response.status === 401)
      throw new SwarmError('unauthenticated', 'this sign-in has ended: get a new link with swarm dashboard');
    return response;
  }
}

async function send(base: string, path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(new URL(path, base), { redirect: 'error', ...init });
  } catch (cause) {
    throw toConnectionError(base, cause, init.signal ?? undefined);
  }
}
