// Submits a job with the client SDK, follows it, and prints who did what. On the machine where `swarm up` runs:
//   node examples/client/submit.ts ~/.backyard-swarm http://127.0.0.1:8080

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SwarmClient } from '../../src/client/client.ts';
import { Session } from '../../src/client/session.ts';
import { parsePemSigner } from '../../src/client/signer.ts';

const [home, url = 'http://127.0.0.1:8080'] = process.argv.slice(2);
if (home === undefined) throw new Error('usage: node examples/client/submit.ts HOME [URL]');

// The admin's key signs both the session and the job; the swarm's key is what must answer at the address.
const signer = await parsePemSigner(await readFile(join(home, 'admin', 'key.pem'), 'utf8'));
const swarmKey = await parsePemSigner(await readFile(join(home, 'coordinator', 'key.pem'), 'utf8'));
const client = new SwarmClient(new Session({ url, signer, swarm: swarmKey.keyId }));

const { id } = await client.submit({
  clientKey: crypto.randomUUID(),
  name: 'a thousand short naps',
  stages: [
    {
      name: 'nap',
      workload: 'noop',
      params: { msPerItem: 5 },
      items: { kind: 'count', count: 1_000 },
      yieldsParts: false,
    },
  ],
});
console.log(`submitted job ${id}`);

for await (const job of client.watchJob(id)) {
  console.log(`${job.status}: ${job.items.done} of ${job.items.total} items`);
  if (job.endedAt === undefined) continue;
  for (const { name, doneItems } of job.workers) console.log(`  ${name} did ${doneItems}`);
}
