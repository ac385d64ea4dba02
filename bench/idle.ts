// Owns `npm run bench:idle`: what an agent with nothing to do costs, beside a Node process that does nothing at all, read
// from /proc in the same seconds.

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startLocalSwarm } from '../src/cli/local-swarm.ts';
import { median, printReport } from './report.ts';

const AGENTS = 3;
const SETTLE_MS = 10_000;
const MEASURE_MS = 60_000;
const GOALS = { rssMB: 90, cpuPercent: 0.2 };
/** Of /proc/PID/stat. */
const TICKS_PER_SECOND = 100;

const dir = await mkdtemp(join(tmpdir(), 'swarm-idle-'));
const bare = spawn(process.execPath, ['-e', 'setInterval(() => {}, 5000)'], { stdio: 'ignore' });
try {
  // The first start fills the compile cache, as the first start of a release does.
  await (await startLocalSwarm(join(dir, 'first'), listAgents()))[Symbol.asyncDispose]();
  await using swarm = await startLocalSwarm(join(dir, 'second'), listAgents());
  await sleep(SETTLE_MS);
  const before = await Promise.all(swarm.pids.map(readTicks));
  await sleep(MEASURE_MS);
  const after = await Promise.all(swarm.pids.map(readTicks));
  const cpuPercents = after.map(
    (ticks, i) => ((ticks - (before[i] ?? 0)) / TICKS_PER_SECOND / (MEASURE_MS / 1_000)) * 100,
  );
  const [rssMB, bareMB] = [median(await Promise.all(swarm.pids.map(readRss))), await readRss(bare.pid ?? 0)];
  const cpuPercent = Number(median(cpuPercents).toFixed(3));
  printReport(
    'idle',
    [
      [`resident memory of an idle agent, MB (median of ${AGENTS})`, rssMB.toFixed(1), `<= ${GOALS.rssMB}`],
      ['resident memory of a Node process that does nothing, MB', bareMB.toFixed(1), ''],
      [`CPU of an idle agent over ${MEASURE_MS / 1_000} s, % of a core`, String(cpuPercent), `<= ${GOALS.cpuPercent}`],
    ],
    { rssMB, bareMB, cpuPercent },
    { ...GOALS },
    rssMB <= GOALS.rssMB && cpuPercent <= GOALS.cpuPercent,
  );
} finally {
  bare.kill();
  await rm(dir, { recursive: true, force: true });
}

function listAgents() {
  return Array.from({ length: AGENTS }, (_, i) => ({ name: `agent-${i + 1}`, threads: 1, slowdown: 1 }));
}

/** User and system time so far. */
async function readTicks(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /s, '').split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

async function readRss(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s*(\d+) kB/.exec(status)?.[1]) / 1_000;
}
