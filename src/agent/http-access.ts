// Owns the agent's way to the coordinator's HTTP API: one session per address, the address that the link last came up
// on, and trying for as long as work is wanted. Does not know what is transferred.

import { setTimeout as sleep } from 'node:timers/promises';
import { Session } from '../client/session.ts';
import { pinnedFetch } from '../identity/pinned-fetch.ts';
import type { PinnedAgent } from '../identity/pinned-agent.ts';
import { defined } from '../lib/assert.ts';
import { ERROR_CODES, SwarmError, type ErrorCode } from '../protocol/errors.ts';
import { ARTIFACTS_PATH } from '../protocol/http.ts';
import type { TransferOptions } from '../objects/transfer-http.ts';
import type { Logger } from '../runtime/logger.ts';
import type { Endpoint } from './endpoints.ts';
import type { LinkIdentity } from './link-socket.ts';

const FIRST_BACKOFF_MS = 500;
const LAST_BACKOFF_MS = 15_000;
/** The coordinator is away or busy: that passes, however long it takes. */
const PATIENT: ReadonlySet<ErrorCode> = new Set(['unavailable', 'timeout', 'too-many-requests']);
/** May pass too (a session that ran out, a disk that is being cleared), but is told after so many tries. */
const MAX_OTHER_TRIES = 5;

/** A question that is not answered within so long is asked again. Transfers have limits of their own. */
const ANSWER_MS = 60_000;

/** How a transfer reaches the coordinator now. Short of patience: whoever waits tries again, perhaps elsewhere. */
export type TransferAccess = Pick<TransferOptions, 'fetch' | 'baseUrl' | 'maxFailures'>;

export class HttpAccess {
  readonly #identity: LinkIdentity;
  readonly #pinnedAgent: PinnedAgent | undefined;
  readonly #logger: Logger;
  readonly #sessions = new Map<string, Session>();
  #endpoint: Endpoint;
  #wakers = new Set<() => void>();

  constructor(
    endpoints: readonly Endpoint[],
    identity: LinkIdentity,
    pinnedAgent: PinnedAgent | undefined,
    logger: Logger,
  ) {
    this.#endpoint = defined(endpoints[0], 'an endpoint');
    this.#identity = identity;
    this.#pinnedAgent = pinnedAgent;
    this.#logger = logger;
  }

  /** The link is up there: whoever waits tries at once. */
  onUp(endpoint: Endpoint): void {
    this.#endpoint = endpoint;
    for (const wake of this.#wakers) wake();
  }

  get session(): Session {
    const { url } = this.#endpoint;
    const known = this.#sessions.get(url);
    if (known) return known;
    const session = this.#createSession(this.#endpoint);
    this.#sessions.set(url, session);
    return session;
  }

  get transfer(): TransferAccess {
    const { session } = this;
    return { fetch: (url, init) => session.fetch(url, init), baseUrl: session.options.url, maxFailures: 2 };
  }

  /** Tries until it works, the coordinator says no, or the signal fires; then throws what was in the way. */
  async persist<T>(what: string, signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    let others = 0;
    for (let failures = 0; ; failures++) {
      signal.throwIfAborted();
      try {
        return await untilAborted(attempt(), signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof SwarmError) || !mayPass(error, () => ++others)) throw error;
        const level = failures === 0 ? 'warn' : 'debug';
        this.#logger[level]({ what, reason: error.message }, 'a transfer has to wait for the coordinator');
      }
      await this.#pause(Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(failures, 10)), signal);
    }
  }

  async #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const wake = () => woken.abort();
    this.#wakers.add(wake);
    await sleep(delayMs, undefined, { signal: AbortSignal.any([signal, woken.signal]) }).catch(() => {});
    this.#wakers.delete(wake);
  }

  #createSession({ url, tlsPin }: Endpoint): Session {
    const { signer, swarm, membership } = this.#identity;
    const pinned = tlsPin !== undefined && this.#pinnedAgent && pinnedFetch(this.#pinnedAgent);
    return new Session({
      ...{ url, signer, swarm, fetch: withTimeLimit(pinned || fetch) },
      ...(membership && { membership }),
      ...(tlsPin !== undefined && { tlsPin }),
    });
  }
}

function mayPass({ code }: SwarmError, countOther: () => number): boolean {
  if (PATIENT.has(code)) return true;
  return (ERROR_CODES[code].retryable || code === 'unauthenticated') && countOther() < MAX_OTHER_TRIES;
}

/** Work that does not hear the signal is left to itself. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

function withTimeLimit(inner: Fetch): Fetch {
  return async (url, init) => {
    if (new URL(url).pathname.startsWith(ARTIFACTS_PATH)) return inner(url, init);
    const limit = AbortSignal.timeout(ANSWER_MS);
    const signal = init.signal ? AbortSignal.any([init.signal, limit]) : limit;
    try {
      return await inner(url, { ...init, signal });
    } catch (error) {
      if (!limit.aborted) throw error;
      throw new SwarmError('timeout', `the coordinator did not answer within ${ANSWER_MS} ms`, { cause: error });
    }
  };
}
