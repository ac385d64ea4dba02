// Owns a whole swarm of real processes for end-to-end tests: a coordinator and agents, each with a home of its own, that
// can be killed, cut off and started again.

import { join } from 'node:path';
import { expect } from 'vitest';
import type { JobDetail } from '../../src/protocol/views.ts';
import { until } from './condition.ts';
import { CuttableProxy } from './cuttable-proxy.ts';
import { findFreePort, swarm, SwarmProcess, type ProcessOptions } from './swarm-process.ts';

export type MeshOptions = {
  /** Names of the agents; three unless told. */
  readonly agents?: readonly string[];
  /** How much slower than the machine the agents work, on purpose; by name where they differ. */
  readonly slowdown: string | Readonly<Record<string, string>>;
  /** Agents connect through proxies that can be cut. */
  readonly proxied?: boolean;
  readonly coordinator?: ProcessOptions;
  /** For one agent by name. */
  readonly agent?: { readonly [name: string]: ProcessOptions };
};

const AGENTS = ['attic', 'den', 'kitchen'];

/** A coordinator and three agents, each a process with a home of its own. */
export class Mesh implements AsyncDisposable {
  readonly #dir: string;
  readonly #port: number;
  readonly #options: MeshOptions;
  readonly #proxies = new Map<string, CuttableProxy>();
  readonly agents = new Map<string, SwarmProcess>();
  coordinator: SwarmProcess;

  private constructor(path: string, port: number, options: MeshOptions) {
    this.#dir = path;
    this.#port = port;
    this.#options = options;
    this.coordinator = startCoordinator(path, port, options.coordinator);
  }

  static async start(path: string, options: MeshOptions): Promise<Mesh> {
    const port = await findFreePort();
    const mesh = new Mesh(path, port, options);
    const names = options.agents ?? AGENTS;
    await mesh.#listening();
    const invited = await mesh.admin('invite', '--role', 'peer', '--uses', String(names.length), '--json');
    const { invite } = JSON.parse(invited.stdout) as { invite: string };
    for (const name of names) {
      const joined = await swarm(mesh.#home(name), 'join', invite, '--name', name);
      expect([name, joined.code, joined.stderr]).toEqual([name, 0, expect.any(String)]);
      if (options.proxied === true) mesh.#proxies.set(name, await CuttableProxy.start(port));
      mesh.startAgent(name);
    }
    for (const name of names) await mesh.#connected(name);
    return mesh;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts an agent, again or for the first time, with the options it has or others. */
  startAgent(name: string, options = this.#options.agent?.[name]): void {
    const proxy = this.#proxies.get(name);
    const url = `http://127.0.0.1:${proxy?.port ?? this.#port}`;
    const { slowdown } = this.#options;
    const factor = typeof slowdown === 'string' ? slowdown : (slowdown[name] ?? '1');
    const args = ['agent', '--url', url, '--slowdown', factor, '--threads', '1'];
    this.agents.set(name, new SwarmProcess(this.#home(name), args, options));
  }

  async killAgent(name: string): Promise<void> {
    await this.agents.get(name)?.kill();
  }

  async killCoordinator(): Promise<void> {
    await this.coordinator.kill();
  }

  async restartCoordinator(options?: ProcessOptions): Promise<void> {
    this.coordinator = startCoordinator(this.#dir, this.#port, options);
    await this.#listening();
  }

  cut(): void {
    for (const proxy of this.#proxies.values()) proxy.cut();
  }

  mend(): void {
    for (const proxy of this.#proxies.values()) proxy.mend();
  }

  /** The admin's command line, to its end. */
  admin(...args: readonly string[]): ReturnType<typeof swarm> {
    return swarm(this.#home('boss'), ...args);
  }

  /** Starts a command of the admin's. */
  start(...args: readonly string[]): SwarmProcess {
    return new SwarmProcess(this.#home('boss'), args);
  }

  /** Starts embedding a folder or file. */
  embed(input: string, out: string, ...more: readonly string[]): SwarmProcess {
    return this.start('run', 'embeddings', input, '--out', out, ...more);
  }

  /** The one job, as `swarm show` prints it; undefined while it cannot be asked. */
  async job(): Promise<JobDetail | undefined> {
    const jobs = await this.admin('jobs', '--json');
    const id = jobs.code === 0 ? (JSON.parse(jobs.stdout) as { jobs: { id: string }[] }).jobs[0]?.id : undefined;
    if (id === undefined) return undefined;
    const shown = await this.admin('show', id, '--json');
    return shown.code === 0 ? (JSON.parse(shown.stdout) as JobDetail) : undefined;
  }

  async done(items: number): Promise<JobDetail> {
    const reached = async () => {
      const job = await this.job();
      if (job?.endedAt !== undefined) throw new Error(`the job ended before anything broke: ${job.status}`);
      return job && job.items.done >= items ? job : undefined;
    };
    return until(`${items} items to be done`, reached, 120_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.agents.values(), this.coordinator].map((process) => process.kill()));
    for (const proxy of this.#proxies.values()) await proxy[Symbol.asyncDispose]();
  }

  #home(name: string): string {
    return join(this.#dir, name);
  }

  async #listening(): Promise<void> {
    await until('the coordinator to listen', async () => {
      const response = await fetch(`${this.url}/readyz`).catch(() => undefined);
      return response?.ok;
    });
  }

  async #connected(name: string): Promise<void> {
    await until(`${name} to connect`, async () => {
      const { stdout } = await this.admin('peers', '--json');
      const { peers } = JSON.parse(stdout) as { peers: { name: string; connected: boolean }[] };
      return peers.some((peer) => peer.name === name && peer.connected);
    });
  }
}

function startCoordinator(path: string, port: number, options?: ProcessOptions): SwarmProcess {
  return new SwarmProcess(join(path, 'boss'), ['up', '--port', String(port)], options);
}
