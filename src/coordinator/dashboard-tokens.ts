// Owns how a browser signs in: a short-lived link whose code works once, and the token that it is changed for. A token
// only looks. It is checked by a MAC under a key of this coordinator, so that it outlives a restart. Knows no routes.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { createPrivateFile, readPrivateFile } from '../identity/private-file.ts';
import type { KeyId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';

/** Time to click a link. */
const LINK_MS = 10 * 60_000;
const TOKEN_MS = 12 * 3_600_000;
const MAX_LINKS = 100;
const KEY_BYTES = 32;
const MAC_BYTES = 32;
/** The key of the caller, and when the token ends, ms since 1970. */
const CLAIM_BYTES = 32 + 8;
const CODE = /^[\w-]{43}$/;

export class DashboardTokens {
  readonly #key: Buffer;
  readonly #links = new Map<string, { readonly caller: KeyId; readonly expiresAt: number }>();

  /** Makes the key at `path` at the first start; without the file, every dashboard has to sign in anew. */
  static async open(path: string): Promise<DashboardTokens> {
    const kept = await readPrivateFile(path);
    if (kept === undefined) await createPrivateFile(path, randomBytes(KEY_BYTES).toString('base64'));
    const key = Buffer.from(kept ?? (await readPrivateFile(path)) ?? '', 'base64');
    if (key.length === KEY_BYTES) return new DashboardTokens(key);
    throw new SwarmError('bad-input', `${path} holds no key: delete it, and dashboards sign in anew`);
  }

  private constructor(key: Buffer) {
    this.#key = key;
  }

  /** A code that is good for one sign-in. */
  makeLink(caller: KeyId, now: number): { readonly code: string; readonly expiresInMs: number } {
    for (const [code, { expiresAt }] of this.#links)
      if (expiresAt < now || this.#links.size >= MAX_LINKS) this.#links.delete(code);
    const code = randomBytes(32).toString('base64url');
    this.#links.set(code, { caller, expiresAt: now + LINK_MS });
    return { code, expiresInMs: LINK_MS };
  }

  /** A token for a code that was not used before. Throws 'unauthenticated'. */
  redeem(code: string, now: number): { readonly caller: KeyId; readonly token: string; readonly expiresInMs: number } {
    const link = CODE.test(code) ? this.#links.get(code) : undefined;
    this.#links.delete(code);
    if (!link || link.expiresAt < now)
      throw new SwarmError(
        'unauthenticated',
        'this sign-in link was used before or is too old: get a new one with swarm dashboard',
      );
    return { caller: link.caller, token: this.#sign(link.caller, now + TOKEN_MS), expiresInMs: TOKEN_MS };
  }

  /** Whose token this is; undefined when it is none of ours or has ended. */
  check(token: string, now: number): KeyId | undefined {
    const bytes = Buffer.from(token, 'base64url');
    if (bytes.length !== CLAIM_BYTES + MAC_BYTES) return undefined;
    const [claim, mac] = [bytes.subarray(0, CLAIM_BYTES), bytes.subarray(CLAIM_BYTES)];
    if (!timingSafeEqual(mac, this.#mac(claim)) || claim.readDoubleBE(32) < now) return undefined;
    return `ed25519:${claim.toString('hex', 0, 32)}` as KeyId;
  }

  #sign(caller: KeyId, expiresAt: number): string {
    const claim = Buffer.alloc(CLAIM_BYTES);
    claim.write(caller.slice('ed25519:'.length), 'hex');
    claim.writeDoubleBE(expiresAt, 32);
    return Buffer.concat([claim, this.#mac(claim)]).toString('base64url');
  }

  #mac(claim: Buffer): Buffer {
    return createHmac('sha256', this.#key).update(claim).digest();
  }
}
