// Owns how fast BullMQ gets through tasks that do nothing, one job each: `node bullmq.mjs COUNT PORT`. Two worker
// processes, many jobs at a time. The clock runs from the first job that is worked on until Redis has none left.

import { fork } from 'node:child_process';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const [count, port, role] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4]];
const PROCESSES = 2;
const BATCH = 5_000;
const connection = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: null });

if (role === 'worker') work();
else await measure();

function work() {
  let done = 0;
  const tell = () => process.send(done);
  const worker = new Worker(
    'noop',
    async () => {
      done++;
      if (done === 1 || done % 200 === 0) tell();
    },
    { connection, concurrency: 200 },
  );
  worker.on('error', console.error);
  setInterval(tell, 20);
}

async function measure() {
  const queue = new Queue('noop', { connection });
  await queue.obliterate({ force: true });
  for (let i = 0; i < count; i += BATCH) {
    const size = Math.min(BATCH, count - i);
    const opts = { removeOnComplete: true };
    await queue.addBulk(Array.from({ length: size }, () => ({ name: 'noop', data: {}, opts })));
  }
  const done = new Map();
  let startedAt;
  const workers = Array.from({ length: PROCESSES }, () => fork(import.meta.filename, [count, port, 'worker']));
  await new Promise((resolve) => {
    for (const worker of workers)
      worker.on('message', (finished) => {
        if (finished > 0) startedAt ??= performance.now();
        done.set(worker.pid, finished);
        if ([...done.values()].reduce((sum, value) => sum + value, 0) >= count) resolve();
      });
  });
  for (;;) {
    const { waiting, active } = await queue.getJobCounts('waiting', 'active');
    if (waiting + active === 0) break;
  }
  console.log(JSON.stringify({ tasks: count, seconds: (performance.now() - startedAt) / 1_000 }));
  for (const worker of workers) worker.kill('SIGKILL');
  await queue.close();
  connection.disconnect();
}
