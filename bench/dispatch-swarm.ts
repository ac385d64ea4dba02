// Owns the swarm that dispatch benchmarks run on: a coordinator with a durable store in this process, agents as
// processes of their own that joined by invites, and jobs of items that do nothing.

import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SwarmClient } from '../src/client/client.ts';
import { Session } from '../src/client/session.ts';
import { startCoordinator, type Coordinator } from '../src/coordinator/coordinator.ts';
import { toPem } from '../src/identity/key-files.ts';
import { saveTrustFile, toTrustFile } from '../src/identity/trust-file.ts';
import { MIB } from '../src/lib/byte-sizes.ts';
import { acceptInvite, makeInvite, parseInvite } from '../src/protocol/invite.ts';
import type { JobDetail } from '../src/protocol/views.ts';
import type { JobSpecInput } from '../src/protocol/job-spec.ts';
import { generateKey, webCryptoSignatures, type Signer } from '../src/protocol/keys.ts';

/** Many agents share these: what is measured is the coordinator's side of their links. */
const PROCESSES = 2;
const DASHBOARD = fileURLToPath(new URL('../dashboard/dist', import.meta.url));
const AGENT = fileURLToPath(new URL('./dispatch-agent.ts', import.meta.url));

export type DispatchSwarm = AsyncDisposable & {
  readonly client: SwarmClient;
  /** Tasks per second, from the coordinator's acceptance of the job to its acceptance of the last result. */
  readonly runItems: (name: string, count: number) => Promise<number>;
  readonly runJob: (name: string, stages: JobSpecInput['stages']) => Promise<JobDetail>;
};

export type SwarmOptions = {
  readonly agents: number;
  /** Tasks that each agent computes at once, and how many it takes in. */
  readonly slots?: number;
  readonly backlog?: number;
};

/** Resolves when all agents are connected. */
export async function startDispatchSwarm({ agents, slots = 1, backlog = 2_048 }: SwarmOptions): Promise<DispatchSwarm> {
  await using cleanup = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), 'swarm-bench-'));
  cleanup.defer(() => rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  const admin = (await generateKey()).signer;
  const silent = { debug() {}, info() {}, warn() {}, error: console.error };
  const config = {
    ...{ dir: join(dir, 'coordinator'), adminKey: admin.keyId, host: '127.0.0.1', port: 0, allowPublic: false },
    ...{ publicHosts: [], quotaBytes: MIB, version: 'bench', dashboardDir: DASHBOARD },
  };
  const coordinator = cleanup.use(await startCoordinator(config, { logger: silent, onFatal: failHard }));
  const client = new SwarmClient(new Session({ url: urlOf(coordinator), signer: admin, swarm: coordinator.swarm }));
  const children: ChildProcess[] = [];
  cleanup.defer(() => children.forEach((child) => child.kill()));
  const homes = await Promise.all(
    Array.from({ length: agents }, (_, i) => joinSwarm(dir, coordinator, admin, `agent-${i + 1}`)),
  );
  for (let i = 0; i < Math.min(PROCESSES, agents); i++) {
    const own = homes.filter((_, place) => place % PROCESSES === i);
    const args = [AGENT, String(slots), String(backlog), ...own];
    children.push(spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] }));
  }
  for await (const { peers } of client.watchSwarm())
    if (peers.filter((peer) => peer.connected).length === agents) break;
  const kept = cleanup.move();

  const runJob = async (name: string, stages: JobSpecInput['stages']): Promise<JobDetail> => {
    const { id } = await client.submit({ clientKey: name, name, stages });
    for await (const job of client.watchJob(id)) {
      if (job.endedAt === undefined) continue;
      if (job.status !== 'completed') throw new Error(`job ${name} ended as ${job.status}`);
      return job;
    }
    throw new Error(`job ${name} did not end`);
  };
  const runItems = async (name: string, count: number): Promise<number> => {
    const items = { kind: 'count', count } as const;
    const { submittedAt, endedAt = NaN } = await runJob(name, [
      { name: 'map', workload: 'noop', items, taskItems: 1, yieldsParts: false },
    ]);
    return count / ((endedAt - submittedAt) / 1_000);
  };
  return { client, runItems, runJob, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Joins by an invite of its own, as a friend would; the new home. */
async function joinSwarm(dir: string, coordinator: Coordinator, admin: Signer, name: string): Promise<string> {
  const { swarm } = coordinator;
  const expiresAt = Date.now() + 600_000;
  const offer = { swarm, role: 'peer' as const, expiresAt, maxUses: 1, addresses: [urlOf(coordinator)] };
  const { text } = await makeInvite(offer, admin, webCryptoSignatures);
  const invite = await parseInvite(text, webCryptoSignatures);
  if (!invite.ok) throw new Error(invite.error);
  const pair = await generateKey();
  const membership = await acceptInvite(invite.value, pair.signer.keyId, name);
  const home = await mkdtemp(join(dir, `${name}-`));
  await writeFile(join(home, 'key.pem'), toPem('PRIVATE KEY', pair.pkcs8), { mode: 0o600 });
  await saveTrustFile(join(home, 'trust.json'), toTrustFile(invite.value, membership));
  return home;
}

function urlOf(coordinator: Coordinator): string {
  return coordinator.urls[0] ?? '';
}

function failHard(error: unknown): never {
  throw error;
}
