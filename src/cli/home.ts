// Owns where this machine keeps its keys and data. One folder, a sub-folder per role, so that a coordinator's disk never
// holds the admin's key unless the same person runs both.

import { homedir } from 'node:os';
import { join } from 'node:path';

export type Home = {
  readonly dir: string;
  /** The admin's key and the invites made here: stays with the admin. */
  readonly adminDir: string;
  /** The coordinator's key, state and objects. */
  readonly coordinatorDir: string;
  /** The agent's key, pins and cache. */
  readonly agentDir: string;
  /** This person's own key and the swarm they talk to. */
  readonly clientDir: string;
};

/** `SWARM_HOME`, or `~/.backyard-swarm`. */
export function findHome(environment: NodeJS.ProcessEnv = process.env): Home {
  return toHome(environment['SWARM_HOME'] ?? join(homedir(), '.backyard-swarm'));
}

export function toHome(dir: string): Home {
  return {
    dir,
    adminDir: join(dir, 'admin'),
    coordinatorDir: join(dir, 'coordinator'),
    agentDir: join(dir, 'agent'),
    clientDir: join(dir, 'client'),
  };
}
