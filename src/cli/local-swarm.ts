// Owns a whole swarm on this machine, for the demo and for benchmarks: a coordinator in this process, agents as processes
// of their own that joined by invites as friends' machines would. Nothing is left behind.

import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startCoordinator, type Coordinator } from '../coordinator/coordinator.ts';
import { loadOrCreateKey } from '../identity/key-files.ts';
import type { TrustFile } from '../identity/trust-file.ts';
import { defined } from '../lib/assert.ts';
import { GIB } from '../lib/byte-sizes.ts';
import { SwarmError } from '../protocol/errors.ts';
import { makeInvite, parseInvite } from '../protocol/invite.ts';
import { webCryptoSignatures, type Signer } from '../protocol/keys.ts';
import { openFirst, type Connection } from './connect.ts';
import { toHome } from './home.ts';
import { enrol } from './join.ts';
import { onExit } from './last-resort.ts';
import { APP_DIR, DASHBOARD_DIR, readVersion } from './version.ts';

const MAIN = fileURLToPath(new URL(`./main${extname(import.meta.url)}`, import.meta.url));
const CONNECT_MS = 60_000;
const INVITE_MS = 600_000;
const STOP_MS = 5_000;

export type LocalAgent = {
  readonly name: string;
  /** CPU threads. */
  readonly threads: number;
  /** On purpose slower by this factor. */
  readonly slowdown: number;
};

export type LocalSwarm = AsyncDisposable & {
  readonly connection: Connection;
  /** Opens the dashboard, once and soon. */
  readonly dashboardUrl: string | undefined;
  /** The agents' processes. */
  readonly pids: readonly number[];
  /** Resolves when the coordinator or an agent has ended that should not have. */
  readonly broken: Promise<SwarmError>;
};

/** Starts everything and resolves when all agents are connected. Throws what is in the way; nothing runs then. */
export async function startLocalSwarm(
  dir: string,
  agents: readonly LocalAgent[],
  options: { readonly signal?: AbortSignal } = {},
): Promise<LocalSwarm> {
  await using cleanup = new AsyncDisposableStack();
  const broken = Promise.withResolvers<SwarmError>();
  const home = toHome(dir);
  await mkdir(home.adminDir, { recursive: true, mode: 0o700 });
  const admin = await loadOrCreateKey(join(home.adminDir, 'key.pem'));
  const onFatal = (cause: unknown) =>
    broken.resolve(new SwarmError('internal', `the coordinator had to stop: ${String(cause)}`, { cause }));
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const coordinator = await startCoordinator(
    {
      ...{ dir: home.coordinatorDir, adminKey: admin.keyId, host: '127.0.0.1', port: 0, allowPublic: false },
      ...{ publicHosts: [], quotaBytes: 20 * GIB, version: await readVersion() },
      ...{ dashboardDir: DASHBOARD_DIR, limits: { heartbeatMs: 1_000 } },
    },
    { logger: silent, onFatal },
  );
  cleanup.use(coordinator);
  const connection = cleanup.use(await openFirst(coordinator.urls, toAdminTrust(coordinator, admin), admin));
  const processes: ChildProcess[] = [];
  cleanup.use(onExit(() => processes.forEach((process) => process.kill('SIGKILL'))));
  cleanup.defer(async () => void (await Promise.all(processes.map(endProcess))));
  for (const agent of agents) {
    const process = await startAgentProcess(dir, coordinator, admin, agent);
    processes.push(process);
    void awaitEnd(process, agent, join(dir, agent.name, 'log')).then(broken.resolve);
  }
  await Promise.race([awaitConnected(connection, agents.length, options.signal), broken.promise.then(throwIt)]);
  const kept = cleanup.move();
  const pids = processes.map(({ pid }) => pid ?? 0);
  const dashboardUrl = coordinator.makeDashboardUrl(admin.keyId);
  return { connection, dashboardUrl, pids, broken: broken.promise, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

function toAdminTrust({ swarm, urls }: Coordinator, { keyId: adminKey }: Signer): TrustFile {
  return { v: 1, swarm, adminKey, addresses: [...urls], rosterVersion: 0, localTrust: [] };
}

async function startAgentProcess(
  dir: string,
  { swarm, urls }: Coordinator,
  admin: Signer,
  { name, threads, slowdown }: LocalAgent,
): Promise<ChildProcess> {
  const offer = { swarm, role: 'peer' as const, expiresAt: Date.now() + INVITE_MS, maxUses: 1, addresses: urls };
  const { text } = await makeInvite(offer, admin, webCryptoSignatures);
  const invite = await parseInvite(text, webCryptoSignatures);
  if (!invite.ok) throw new SwarmError('internal', invite.error);
  const home = toHome(join(dir, name));
  await enrol(home.agentDir, invite.value, name);
  const args = [
    'agent',
    '--home',
    home.dir,
    '--name',
    name,
    '--threads',
    String(threads),
    '--slowdown',
    String(slowdown),
    '--until-stdin-ends',
  ];
  // As scripts/swarm.mjs has it: without it each agent keeps the compiler in memory.
  const env = { NODE_COMPILE_CACHE: join(APP_DIR, '.cache', 'compile'), ...process.env };
  const log = openSync(join(home.dir, 'log'), 'a', 0o600);
  try {
    // A group of its own: Ctrl-C in the terminal is for the demo, which ends its agents in order. Should it be killed, the
    // pipe ends and the agents with it.
    return spawn(process.execPath, [MAIN, ...args], { env, stdio: ['pipe', 'ignore', log], detached: true });
  } finally {
    closeSync(log);
  }
}

async function awaitConnected({ client }: Connection, count: number, canceled?: AbortSignal): Promise<void> {
  const timeout = AbortSignal.timeout(CONNECT_MS);
  const signal = canceled ? AbortSignal.any([canceled, timeout]) : timeout;
  for await (const { peers } of client.watchSwarm({ signal }))
    if (peers.filter(({ connected }) => connected).length === count) return;
  if (canceled?.aborted === true) throw new SwarmError('canceled', 'interrupted before the agents were connected');
  throw new SwarmError('timeout', `not all ${count} agents connected within ${CONNECT_MS / 1_000} s`);
}

/** Resolves only if the process ends by itself. */
async function awaitEnd(process: ChildProcess, { name }: LocalAgent, log: string): Promise<SwarmError> {
  const how = await new Promise<string>((resolve) => {
    process.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    process.once('error', ({ message }) => resolve(message));
  });
  const tail = (await readFile(log, 'utf8').catch(() => '')).trim().split('\n').slice(-5).join('\n');
  return new SwarmError('unavailable', `the agent ${name} ended by itself (${how}):\n${tail}`);
}

async function endProcess(process: ChildProcess): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return;
  const ended = new Promise((resolve) => process.once('exit', resolve));
  process.kill('SIGTERM');
  const timer = setTimeout(() => process.kill('SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(timer);
}

function throwIt(error: SwarmError): never {
  throw defined(error, 'an error');
}
