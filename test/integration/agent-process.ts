// Owns an agent in a process of its own, for tests that kill it. Its folder is the first argument.

import { startAgent } from '../../src/agent/agent.ts';
import { APP_DIR } from '../helpers/test-agent.ts';
import { SILENT } from '../helpers/test-coordinator.ts';

const agent = await startAgent(
  { dir: process.argv[2] ?? '', appDir: APP_DIR, name: 'process', sandbox: 'auto' },
  { logger: SILENT },
);
await agent.ended;
