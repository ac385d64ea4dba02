// Owns `npm run bench:dispatch`: items that do nothing, one a task, through a coordinator with a durable store and two
// agent processes over real WebSockets. The bound beside it, in the same run: how many such tasks the pure core alone
// steps through, with neither store nor sockets. And the memory that a stage of 1,000,000 items costs.

import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { SwarmClient } from '../src/client/client.ts';
import { Session } from '../src/client/session.ts';
import { startCoordinator, type Coordinator } from '../src/coordinator/coordinator.ts';
import { saveTrustFile, toTrustFile } from '../src/identity/trust-file.ts';
import { toPem } from '../src/identity/key-files.ts';
import { MIB } from '../src/lib/byte-sizes.ts';
import { acceptInvite, makeInvite, parseInvite } from '../src/protocol/invite.ts';
import { generateKey, webCryptoSignatures, type Signer } from '../src/protocol/keys.ts';
import { measureCore } from './dispatch-core.ts';
import { median, printReport } from './report.ts';

const AGENTS = 2;
const ITEMS = 100_000;
const BIG_STAGE_ITEMS = 1_000_000;
const ROUNDS = 5;
const GOALS = { tasksPerSecond: 20_000, bigStageMiB: 20 };
const AGENT = fileURLToPath(new URL('./dispatch-agent.ts', import.meta.url));

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const dir = await mkdtemp(join(tmpdir(), 'swarm-bench-'));
const children: ChildProcess[] = [];
try {
  await main();
} finally {
  for (const child of children) child.kill();
  await rm(dir, { recursive: true, force: true });
}

async function main(): Promise<void> {
  const admin = (await generateKey()).signer;
  const silent = { debug() {}, info() {}, warn() {}, error: console.error };
  const config = {
    ...{ dir: join(dir, 'coordinator'), adminKey: admin.keyId, host: '127.0.0.1', port: 0, allowPublic: false },
    ...{ publicHosts: [], quotaBytes: MIB, version: 'bench' },
  };
  await using coordinator = await startCoordinator(config, { logger: silent, onFatal: failHard });
  const client = new SwarmClient(new Session({ url: urlOf(coordinator), signer: admin, swarm: coordinator.swarm }));
  for (let i = 0; i < AGENTS; i++) await startAgentProcess(coordinator, admin, `agent-${i + 1}`);
  await connected(client);

  await runJob(client, 'warm-up', 20_000);
  const rates: number[] = [];
  const bounds: number[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    bounds.push(measureCore(ITEMS));
    rates.push(await runJob(client, `round-${round}`, ITEMS));
  }
  const { rate, heapMiB } = await measureBigStage(client);

  const tasksPerSecond = Math.round(median(rates));
  printReport(
    'dispatch',
    [
      [
        `tasks/s, median of ${ROUNDS} rounds of ${ITEMS} one-item tasks`,
        String(tasksPerSecond),
        `>= ${GOALS.tasksPerSecond}`,
      ],
      ['the bound: the core alone, median', String(Math.round(median(bounds))), ''],
      ['slowest and fastest round', `${Math.round(Math.min(...rates))} … ${Math.round(Math.max(...rates))}`, ''],
      [`tasks/s of a stage of ${BIG_STAGE_ITEMS} items`, String(Math.round(rate)), ''],
      ['its memory in the coordinator above idle, MiB', heapMiB.toFixed(1), `< ${GOALS.bigStageMiB}`],
    ],
    {
      tasksPerSecond,
      coreTasksPerSecond: Math.round(median(bounds)),
      rounds: rates.map(Math.round),
      bigStageTasksPerSecond: Math.round(rate),
      bigStageMiB: heapMiB,
    },
    { ...GOALS },
    tasksPerSecond >= GOALS.tasksPerSecond && heapMiB < GOALS.bigStageMiB,
  );
}

/** Joins by an invite of its own, as a friend would, and starts the process. */
async function startAgentProcess(coordinator: Coordinator, admin: Signer, name: string): Promise<void> {
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
  children.push(spawn(process.execPath, [AGENT, home, name], { stdio: ['ignore', 'inherit', 'inherit'] }));
}

async function connected(client: SwarmClient): Promise<void> {
  for await (const { peers } of client.watchSwarm())
    if (peers.filter((peer) => peer.connected).length === AGENTS) return;
}

/** Tasks per second, from the coordinator's acceptance of the job to its acceptance of the last result. */
async function runJob(client: SwarmClient, name: string, count: number): Promise<number> {
  const items = { kind: 'count', count } as const;
  const stage = { name: 'map', workload: 'noop', items, taskItems: 1, yieldsParts: false };
  const { id } = await client.submit({ clientKey: name, name, stages: [stage] });
  for await (const { submittedAt, endedAt, status } of client.watchJob(id)) {
    if (endedAt === undefined) continue;
    if (status !== 'completed') throw new Error(`job ${name} ended as ${status}`);
    return count / ((endedAt - submittedAt) / 1_000);
  }
  throw new Error(`job ${name} did not end`);
}

/** The most that lives in this process, the coordinator's, while the stage runs, above what lived before it. */
async function measureBigStage(client: SwarmClient): Promise<{ rate: number; heapMiB: number }> {
  const idleBytes = liveBytes();
  let mostBytes = 0;
  const timer = setInterval(() => (mostBytes = Math.max(mostBytes, liveBytes())), 250);
  const rate = await runJob(client, 'big-stage', BIG_STAGE_ITEMS);
  clearInterval(timer);
  mostBytes = Math.max(mostBytes, liveBytes());
  return { rate, heapMiB: (mostBytes - idleBytes) / MIB };
}

function liveBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function urlOf(coordinator: Coordinator): string {
  return coordinator.urls[0] ?? '';
}

function failHard(error: unknown): never {
  throw error;
}
