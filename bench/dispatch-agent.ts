// Owns an agent process of the dispatch benchmark: a real agent that joined by an invite, with room for many tasks.

import { fileURLToPath } from 'node:url';
import { startAgent } from '../src/agent/agent.ts';

const APP_DIR = fileURLToPath(new URL('..', import.meta.url));
const [dir = '', name = ''] = process.argv.slice(2);
const silent = { debug() {}, info() {}, warn() {}, error: console.error };

const agent = await startAgent(
  { dir, appDir: APP_DIR, name, sandbox: 'permission', backlog: 2_048, environment: {} },
  { logger: silent },
);
process.once('SIGTERM', () => void agent.stop());
