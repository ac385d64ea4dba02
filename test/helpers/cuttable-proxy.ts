// Owns a TCP proxy that can be cut: while it is, nothing passes and nothing is told, as when a router loses its uplink.
// Connections stay open on both sides, unlike those of a process that dies.

import { connect, createServer, type Server, type Socket } from 'node:net';

export class CuttableProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Listens on a free port of loopback and passes on to `port`. */
  static async start(port: number): Promise<CuttableProxy> {
    const server = createServer({ allowHalfOpen: true });
    const proxy = new CuttableProxy(server);
    server.on('connection', (inner) => proxy.#join(inner, connect({ port, host: '127.0.0.1', allowHalfOpen: true })));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen');
    return address.port;
  }

  /** From now on bytes are swallowed, in both directions, and new connections hang. */
  cut(): void {
    this.#isCut = true;
  }

  /** Lets new connections through. Those that were open while it was cut have lost bytes and are reset. */
  mend(): void {
    this.#isCut = false;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #join(inner: Socket, outer: Socket): void {
    for (const [from, to] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      this.#sockets.add(from);
      from.on('data', (chunk) => {
        if (this.#isCut) return;
        if (!to.write(chunk)) from.pause();
      });
      to.on('drain', () => from.resume());
      from.on('end', () => {
        if (!this.#isCut) to.end();
      });
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        if (!this.#isCut) to.destroy();
      });
    }
  }
}
