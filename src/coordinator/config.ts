// Owns what a coordinator is told at its start. Does not read files or the environment.

import type { Limits } from '../core/state.ts';
import type { KeyId } from '../lib/ids.ts';

export type CoordinatorConfig = {
  /** Holds the swarm's key, the state, the artifacts and the TLS identity. */
  readonly dir: string;
  /** Whose signature makes members. Kept at the first start; another one is refused afterwards. */
  readonly adminKey: KeyId;
  /** The address to listen on; beyond loopback it is TLS 1.3. */
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Said twice: without it a public address is refused. */
  readonly allowPublic: boolean;
  /** Further names by which clients may call this coordinator in their Host header. */
  readonly publicHosts: readonly string[];
  readonly quotaBytes: number;
  /** What the build of the dashboard left; without it there is none. */
  readonly dashboardDir?: string;
  /** A token that may read /metrics and nothing else. */
  readonly metricsToken?: string;
  /** A file for the decision log; none is written without it. */
  readonly decisionLog?: string;
  readonly limits?: Partial<Limits>;
  /** Of this release. */
  readonly version: string;
};
