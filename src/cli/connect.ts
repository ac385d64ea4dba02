// Owns finding the coordinator from the command line: who this person is, which swarm they pinned, and the first of its
// addresses that answers.

import { join } from 'node:path';
import { SwarmClient } from '../client/client.ts';
import { Session } from '../client/session.ts';
import { loadKey, loadOrCreateKey } from '../identity/key-files.ts';
import { PinnedAgent } from '../identity/pinned-agent.ts';
import { pinnedFetch } from '../identity/pinned-fetch.ts';
import { loadTrustFile, type TrustFile } from '../identity/trust-file.ts';
import { SwarmError } from '../protocol/errors.ts';
import { isLoopback } from '../protocol/invite.ts';
import type { Signer } from '../protocol/keys.ts';
import type { TransferOptions } from '../objects/transfer-http.ts';
import type { Home } from './home.ts';
import { loadSettings } from './settings.ts';

/** An open connection. Dispose it, or idle sockets keep the process. */
export type Connection = Disposable & {
  readonly client: SwarmClient;
  readonly trust: TrustFile;
  /** For uploads and downloads. */
  readonly transfer: Pick<TransferOptions, 'fetch' | 'baseUrl'>;
};

/** Connects to the swarm of this home. Throws when there is none, when nobody answers, or when it refuses us. */
export async function openConnection(home: Home): Promise<Connection> {
  const trust = await loadTrustFile(join(home.clientDir, 'trust.json'));
  if (!trust)
    throw new SwarmError(
      'not-found',
      'there is no swarm here yet: start one with "swarm up", or join a friend’s with "swarm join INVITE"',
    );
  const signer = await loadSigner(home, trust);
  const { url } = await loadSettings(home.dir);
  return openFirst(url === undefined ? trust.addresses : [url], trust, signer);
}

/** Connects to the first address that answers; a refusal by the coordinator itself is final. */
export async function openFirst(addresses: readonly string[], trust: TrustFile, signer: Signer): Promise<Connection> {
  const failures: string[] = [];
  for (const address of addresses) {
    const connection = toConnection(address, trust, signer);
    try {
      await connection.client.session.open();
      return connection;
    } catch (error) {
      connection[Symbol.dispose]();
      if (!(error instanceof SwarmError) || !error.retryable) throw error;
      failures.push(error.message);
    }
  }
  if (failures.length === 0)
    throw new SwarmError('bad-input', 'no address of the coordinator is known: name it with SWARM_URL');
  throw new SwarmError('unavailable', failures.join('\n  '));
}

function toConnection(url: string, trust: TrustFile, signer: Signer): Connection {
  const { swarm, membership, tlsPin } = trust;
  const isTls = url.startsWith('https:');
  if (isTls && tlsPin === undefined)
    throw new SwarmError('bad-input', `${url} needs the pin of a TLS key: join with an invite made since`);
  if (!isTls && !isLoopback(url)) throw new SwarmError('bad-input', `${url} would be spoken to without TLS: use https`);
  const agent = isTls && tlsPin !== undefined ? new PinnedAgent(tlsPin) : undefined;
  const pinned = agent && tlsPin !== undefined ? { tlsPin, fetch: pinnedFetch(agent) } : {};
  const session = new Session({ url, signer, swarm, ...(membership && { membership }), ...pinned });
  return {
    client: new SwarmClient(session),
    trust,
    transfer: { fetch: (path, init) => session.fetch(path, init), baseUrl: session.options.url },
    [Symbol.dispose]: () => agent?.destroy(),
  };
}

/** The admin's own key where it lies here; otherwise this person's. */
async function loadSigner(home: Home, trust: TrustFile): Promise<Signer> {
  const admin = await loadKey(join(home.adminDir, 'key.pem'));
  if (admin?.keyId === trust.adminKey) return admin;
  return loadOrCreateKey(join(home.clientDir, 'key.pem'));
}
