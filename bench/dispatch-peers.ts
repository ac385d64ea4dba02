// Owns `npm run bench:dispatch-peers`: durable tasks that do nothing through ours, graphile-worker, BullMQ and Ray, in
// turn, several times over. It installs what is missing (PostgreSQL and Redis from the system's packages, the rest into
// folders of its own), starts the servers on loopback, and leaves nothing running.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { chown, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { startDispatchSwarm } from './dispatch-swarm.ts';
import { median, printReport } from './report.ts';

const ROOT = dirname(import.meta.dirname);
const PEERS = join(import.meta.dirname, 'peers');
const GOALS = { tasksPerSecond: 50_000, overGraphile: 3, overBullmq: 5, overRay: 25 };
const ROUNDS = 3;
const COUNTS = { ours: 100_000, graphile: 100_000, bullmq: 30_000, ray: 5_000 };
const POSTGRES_VERSIONS = '/usr/lib/postgresql';

const QUIET: ('ignore' | 'inherit')[] = ['ignore', 'ignore', 'inherit'];
const isRoot = process.getuid?.() === 0;

function installServers(): void {
  const missing = [
    ...(existsSync(POSTGRES_VERSIONS) ? [] : ['postgresql']),
    ...(existsSync('/usr/bin/redis-server') ? [] : ['redis-server']),
  ];
  if (missing.length === 0) return;
  if (!isRoot) throw new Error(`install these first: ${missing.join(', ')}`);
  console.error(`installing ${missing.join(', ')} …`);
  const quiet = { stdio: QUIET };
  execFileSync('apt-get', ['update'], quiet);
  execFileSync('apt-get', ['install', '-y', '--no-install-recommends', ...missing], quiet);
}

function installPackages(): void {
  if (existsSync(join(PEERS, 'node_modules', 'bullmq'))) return;
  console.error('installing graphile-worker and BullMQ …');
  execFileSync('npm', ['ci'], { cwd: PEERS, stdio: QUIET });
}

/** A virtual environment for these requirements; returns its Python. */
async function installRay(): Promise<string> {
  const requirements = join(PEERS, 'requirements.txt');
  const hash = createHash('sha256')
    .update(await readFile(requirements))
    .digest('hex')
    .slice(0, 16);
  const venv = join(ROOT, '.cache', `peers-venv-${hash}`);
  const python = join(venv, 'bin', 'python');
  if (existsSync(join(venv, 'installed'))) return python;
  console.error('installing Ray …');
  execFileSync('python3', ['-m', 'venv', '--clear', venv], { stdio: 'inherit' });
  execFileSync(python, ['-m', 'pip', 'install', '-q', '-r', requirements], { stdio: 'inherit' });
  execFileSync('touch', [join(venv, 'installed')]);
  return python;
}

/** PostgreSQL with its own defaults: every commit is on the disk. It will not run as root. */
async function startPostgres(dir: string): Promise<{ url: string; stop: () => void }> {
  const version = readdirSync(POSTGRES_VERSIONS).sort((a, b) => Number(b) - Number(a))[0] ?? '';
  const bin = join(POSTGRES_VERSIONS, version, 'bin');
  const data = join(dir, 'postgres');
  await mkdir(data, { mode: 0o700 });
  const as = (program: string, args: readonly string[]): [string, string[]] =>
    isRoot ? ['runuser', ['-u', 'postgres', '--', join(bin, program), ...args]] : [join(bin, program), [...args]];
  if (isRoot) {
    const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
    await chown(data, id('-u'), id('-g'));
    await chown(dir, id('-u'), id('-g'));
  }
  const quiet = { stdio: QUIET, cwd: dir };
  const port = await findPort();
  execFileSync(...as('initdb', ['-D', data, '-A', 'trust', '-U', 'bench', '--no-sync']), quiet);
  const options = `-p ${port} -h 127.0.0.1 -k ${dir}`;
  execFileSync(...as('pg_ctl', ['-D', data, '-o', options, '-l', join(data, 'log'), '-w', 'start']), quiet);
  const stop = () => void execFileSync(...as('pg_ctl', ['-D', data, '-m', 'immediate', '-w', 'stop']), quiet);
  return { url: `postgres://bench@127.0.0.1:${port}/postgres`, stop };
}

/** Redis with its log on the disk, synced every second: what its makers recommend for jobs. */
async function startRedis(dir: string): Promise<{ port: number; stop: () => void }> {
  const port = await findPort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--appendonly', 'yes'];
  const more = ['--appendfsync', 'everysec', '--save', '', '--maxmemory-policy', 'noeviction'];
  const child: ChildProcess = spawn('/usr/bin/redis-server', [...args, ...more], { stdio: 'ignore' });
  for (let i = 0; i < 100; i++) {
    try {
      execFileSync('redis-cli', ['-p', String(port), 'ping'], { stdio: 'ignore' });
      break;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return { port, stop: () => void child.kill() };
}

function findPort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** Tasks per second, as the program itself measured. */
function measure(program: string, args: readonly string[]): number {
  const stdio: ('ignore' | 'pipe' | 'inherit')[] = ['ignore', 'pipe', 'inherit'];
  const printed = execFileSync(program, args, { encoding: 'utf8', stdio, timeout: 300_000 });
  const line = printed.trim().split('\n').at(-1) ?? '';
  const { tasks, seconds } = JSON.parse(line) as { tasks: number; seconds: number };
  return tasks / seconds;
}

/** Started anew each time, so that its agents do not wait beside the others. */
async function measureOurs(): Promise<number> {
  await using swarm = await startDispatchSwarm({ agents: 2 });
  await swarm.runItems('warm-up', 20_000);
  return await swarm.runItems('measured', COUNTS.ours);
}

async function main(): Promise<void> {
  installServers();
  installPackages();
  const python = await installRay();
  await using cleanup = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), 'swarm-peers-'));
  cleanup.defer(() => rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  const postgres = await startPostgres(dir);
  cleanup.defer(postgres.stop);
  const redis = await startRedis(dir);
  cleanup.defer(redis.stop);
  const rates = { ours: [] as number[], graphile: [] as number[], bullmq: [] as number[], ray: [] as number[] };
  const node = process.execPath;
  for (let round = 1; round <= ROUNDS; round++) {
    console.error(`round ${round} of ${ROUNDS} …`);
    rates.ours.push(await measureOurs());
    rates.graphile.push(measure(node, [join(PEERS, 'graphile-worker.mjs'), String(COUNTS.graphile), postgres.url]));
    rates.bullmq.push(measure(node, [join(PEERS, 'bullmq.mjs'), String(COUNTS.bullmq), String(redis.port)]));
    rates.ray.push(measure(python, [join(PEERS, 'ray_noop.py'), String(COUNTS.ray)]));
  }
  const [ours, graphile, bullmq, ray] = [rates.ours, rates.graphile, rates.bullmq, rates.ray].map(median);
  const over = (other = NaN) => (ours ?? NaN) / other;
  const row = (name: string, value = NaN, goal: number): [string, string, string] => [
    `${name}: tasks/s, median of ${ROUNDS}; ours over it`,
    `${Math.round(value)}; ${over(value).toFixed(1)}`,
    `>= ${goal}`,
  ];
  const [overGraphile, overBullmq, overRay] = [over(graphile), over(bullmq), over(ray)];
  printReport(
    'dispatch-peers',
    [
      [`ours: tasks/s, median of ${ROUNDS}`, String(Math.round(ours ?? NaN)), `>= ${GOALS.tasksPerSecond}`],
      row('graphile-worker', graphile, GOALS.overGraphile),
      row('BullMQ', bullmq, GOALS.overBullmq),
      row('Ray', ray, GOALS.overRay),
    ],
    { rates, overGraphile, overBullmq, overRay },
    { ...GOALS },
    (ours ?? 0) >= GOALS.tasksPerSecond &&
      overGraphile >= GOALS.overGraphile &&
      overBullmq >= GOALS.overBullmq &&
      overRay >= GOALS.overRay,
  );
}

await main();
