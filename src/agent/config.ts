// Owns what an agent is told at its start, and its defaults. Does not read the environment.

import { availableParallelism, totalmem } from 'node:os';
import { GIB, MIB } from '../lib/byte-sizes.ts';
import type { KeyId } from '../lib/ids.ts';
import type { SandboxWish } from './runners/sandbox.ts';

export type AgentConfig = {
  /** `<home>/agent`: key.pem and trust.json, and below it cache/, models/ and scratch/, which are the agent's own. */
  readonly dir: string;
  /** The folder of this release, which holds package.json. */
  readonly appDir: string;
  /** What this machine calls itself. */
  readonly name: string;
  /** Instead of the addresses in trust.json. */
  readonly url?: string;
  /** CPU threads for all tasks together. */
  readonly threads?: number;
  /** Tasks that compute at once. */
  readonly slots?: number;
  /** Tasks held at once, queued ones included. */
  readonly backlog?: number;
  /** On purpose slower by this factor, for demos. */
  readonly slowdown?: number;
  readonly sandbox: SandboxWish;
  /** What all runners together may use. */
  readonly memoryBytes?: number;
  /** What downloaded models may take on the disk. */
  readonly cacheBytes?: number;
  /** Where programs are looked up and test workloads allowed; never handed to runners. */
  readonly environment?: NodeJS.ProcessEnv;
  /** What its owner says of this machine, for jobs that ask for such. */
  readonly labels?: readonly string[];
  /** Whose machine it is: this person's own jobs come first on it. */
  readonly owner?: KeyId;
};

/** As AgentConfig, with nothing left open. */
export type AgentSettings = Required<Omit<AgentConfig, 'url' | 'owner'>> & Pick<AgentConfig, 'url' | 'owner'>;

const DEFAULT_BACKLOG = 64;
const DEFAULT_CACHE_BYTES = 20 * GIB;
/** A runner cannot even start below this. */
const MIN_MEMORY_BYTES = 256 * MIB;

/** Fills in the defaults: all threads and three quarters of the memory. */
export function toSettings(config: AgentConfig): AgentSettings {
  const { slots = 1, threads = availableParallelism(), environment = process.env } = config;
  return {
    ...config,
    slots,
    threads: Math.max(threads, slots),
    backlog: Math.max(config.backlog ?? DEFAULT_BACKLOG, slots),
    slowdown: config.slowdown ?? 1,
    labels: config.labels ?? [],
    memoryBytes: Math.max(config.memoryBytes ?? Math.floor(findMemoryBytes() * 0.75), MIN_MEMORY_BYTES),
    cacheBytes: config.cacheBytes ?? DEFAULT_CACHE_BYTES,
    environment,
  };
}

/** The machine's, or what a container leaves of it. */
function findMemoryBytes(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
