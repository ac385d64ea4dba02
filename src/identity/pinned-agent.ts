// Owns connections to a coordinator whose TLS key is pinned. A socket is handed out only after the certificate's key
// was compared with the pin, so that not one byte of ours reaches anybody else. Certificate authorities, names and
// dates play no part.

import { Agent } from 'node:https';
import type { Duplex } from 'node:stream';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { SwarmError } from '../protocol/errors.ts';
import { toTlsPin } from './tls.ts';

const CONNECT_TIMEOUT_MS = 10_000;

/** What http and ws pass on of where to connect. */
type Target = {
  readonly host?: string | null | undefined;
  readonly port?: number | string | null | undefined;
  readonly servername?: string | undefined;
};

/**
 * For `https.request({ agent })` and `new WebSocket(url, { agent })`. Connections are kept and used again; `destroy()`
 * closes them. Idle ones do not keep the process alive.
 */
export class PinnedAgent extends Agent {
  readonly #pin: string;
  readonly #timeoutMs: number;

  constructor(pin: string, timeoutMs = CONNECT_TIMEOUT_MS) {
    // Resumed sessions carry no certificate to compare.
    super({ keepAlive: true, maxCachedSessions: 0 });
    this.#pin = pin;
    this.#timeoutMs = timeoutMs;
  }

  /** Called by node:http; answers through the callback only, once the pin has held. */
  override createConnection(target: Target, callback?: (error: Error | null, socket: Duplex) => void): undefined {
    connectPinned(target, this.#pin, this.#timeoutMs, (error, socket) => callback?.(error, socket));
  }
}

/** Connects by TLS 1.3 and compares the peer's key with `pin` before the socket is given away. */
function connectPinned(
  target: Target,
  pin: string,
  timeoutMs: number,
  done: (error: Error | null, socket: TLSSocket) => void,
): void {
  const where = `${target.host ?? 'localhost'}:${target.port ?? 443}`;
  const socket = connect(toConnectionOptions(target));
  const fail = (error: Error) => socket.destroy(error);
  const onTimeout = () =>
    fail(new SwarmError('timeout', `${where} did not complete a TLS handshake in ${timeoutMs} ms`));
  const onError = (error: Error) => done(toConnectError(where, error), socket);
  socket.setTimeout(timeoutMs, onTimeout);
  socket.once('error', onError);
  socket.once('secureConnect', () => {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined || toTlsPin(certificate) !== pin) return void fail(toPinError(where));
    socket.setTimeout(0, onTimeout);
    socket.off('timeout', onTimeout).off('error', onError);
    done(null, socket);
  });
}

/** `rejectUnauthorized` is about authorities; the peer's possession of its key is checked by TLS itself. */
function toConnectionOptions({ host, port, servername }: Target): ConnectionOptions {
  const options: ConnectionOptions = {
    host: host ?? 'localhost',
    port: Number(port ?? 443),
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
  };
  return servername ? { ...options, servername } : options;
}

function toPinError(where: string): SwarmError {
  return new SwarmError(
    'unauthenticated',
    `${where} does not have the key that the invite names: somebody else answers there, or the coordinator was set up anew; nothing was sent. Ask the admin, and join again if it was`,
  );
}

function toConnectError(where: string, error: Error): Error {
  if (error instanceof SwarmError) return error;
  return 'code' in error && String(error.code).startsWith('ERR_SSL')
    ? new SwarmError('unavailable', `${where} does not speak TLS 1.3: is this the coordinator's address?`, {
        cause: error,
      })
    : error;
}
