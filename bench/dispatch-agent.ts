// Owns a process of the dispatch benchmarks: real agents that joined by invites, with room for many tasks. Arguments:
// slots, backlog, and the agents' homes.

import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startAgent } from '../src/agent/agent.ts';

const APP_DIR = fileURLToPath(new URL('..', import.meta.url));
const [slots = '1', backlog = '1', ...homes] = process.argv.slice(2);
const silent = { debug() {}, info() {}, warn() {}, error: console.error };
const own = { appDir: APP_DIR, sandbox: 'permission' as const, slots: Number(slots), backlog: Number(backlog) };

const agents = await Promise.all(
  homes.map((dir) => startAgent({ ...own, dir, name: basename(dir), environment: {} }, { logger: silent })),
);
process.once('SIGTERM', () => void Promise.all(agents.map((agent) => agent.stop())));
