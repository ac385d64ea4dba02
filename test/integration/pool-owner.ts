// A process that owns a runner pool and never lets go: started by a test, which kills it. Says `running` once a runner
// has the task. Arguments: a scratch folder, a sandbox, a chaos mode.

import { createRunnerPool } from '../../src/agent/runners/pool.ts';
import { sandboxWishSchema, chaosTask } from '../helpers/runner-pool.ts';
import { APP_DIR } from '../helpers/test-agent.ts';

const [scratchDir = '', sandbox, mode = 'none'] = process.argv.slice(2);
const pool = await createRunnerPool({
  appDir: APP_DIR,
  scratchDir,
  sandbox: sandboxWishSchema.parse(sandbox),
  logger: { debug() {}, warn() {} },
  memoryBytes: 512 * 1_024 * 1_024,
  maxWarm: 1,
  environment: { ...process.env, SWARM_TEST_WORKLOADS: '1' },
});
// The first item is done before the second misbehaves.
await pool.run(chaosTask({ mode, at: 1 }, { onProgress: () => console.log('running') }));
