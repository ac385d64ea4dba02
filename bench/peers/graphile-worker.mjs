// Owns how fast graphile-worker gets through tasks that do nothing, one job each: `node graphile-worker.mjs COUNT URL`.
// Two worker processes with its batched queue and batched completion. The clock runs from the first job that is worked on
// until none is left in the table, as durable as ours: a result that was only computed could still be lost.

import { fork } from 'node:child_process';
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import { Pool } from 'pg';

const [count, connectionString, role] = [Number(process.argv[2]), process.argv[3], process.argv[4]];
const PROCESSES = 2;
const BATCH = 5_000;
const logger = new Logger(() => () => undefined);

if (role === 'worker') await work();
else await measure();

async function work() {
  let done = 0;
  const tell = () => process.send(done);
  await run({
    connectionString,
    logger,
    noHandleSignals: true,
    preset: {
      worker: {
        concurrentJobs: 24,
        maxPoolSize: 10,
        localQueue: { size: 500 },
        completeJobBatchDelay: 1,
        failJobBatchDelay: 1,
      },
    },
    taskList: {
      noop: () => {
        done++;
        if (done === 1 || done % 200 === 0) tell();
      },
    },
  });
  setInterval(tell, 20);
}

async function measure() {
  const utils = await makeWorkerUtils({ connectionString, logger });
  await utils.migrate();
  for (let i = 0; i < count; i += BATCH) {
    const size = Math.min(BATCH, count - i);
    await utils.addJobs(Array.from({ length: size }, () => ({ identifier: 'noop', payload: {} })));
  }
  await utils.release();
  const done = new Map();
  let startedAt;
  const workers = Array.from({ length: PROCESSES }, () =>
    fork(import.meta.filename, [count, connectionString, 'worker']),
  );
  await new Promise((resolve) => {
    for (const worker of workers)
      worker.on('message', (finished) => {
        if (finished > 0) startedAt ??= performance.now();
        done.set(worker.pid, finished);
        if ([...done.values()].reduce((sum, value) => sum + value, 0) >= count) resolve();
      });
  });
  const pool = new Pool({ connectionString });
  for (;;) {
    const { rows } = await pool.query('select 1 from graphile_worker._private_jobs limit 1');
    if (rows.length === 0) break;
  }
  console.log(JSON.stringify({ tasks: count, seconds: (performance.now() - startedAt) / 1_000 }));
  for (const worker of workers) worker.kill('SIGKILL');
  await pool.end();
}
