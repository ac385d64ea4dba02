// Owns `npm run bench:eta`: whether the times that jobs are said to end hold. Swarms in virtual time with several people,
// jobs of many sizes, machines that come and go and noise; each job's forecast is written down when a tenth of it is
// done, and compared with its end. A well calibrated p90 holds in about nine of ten.

import { forecast, type Forecast } from '../src/core/schedule/forecast.ts';
import type { State } from '../src/core/state.ts';
import { toStageId, type JobId, type KeyId } from '../src/lib/ids.ts';
import { Prng } from '../src/lib/prng.ts';
import { playFleet, type FleetJob } from '../src/sim/fleet.ts';
import { printReport } from './report.ts';

const GOALS = { p90AtLeast: 0.85, p90AtMost: 0.95 };
const [SWARMS, JOBS, SUBMITTERS] = [40, 30, 3];
const ASKED_AT = 0.1;

type Asked = Forecast & { readonly at: number };

function drawJobs(prng: Prng): FleetJob[] {
  let atMs = 0;
  return Array.from({ length: JOBS }, () => {
    atMs += prng.exponential(40_000);
    const items = Math.round(200 * Math.exp(Math.log(40) * prng.float()));
    const map = { items, kind: prng.int(0, 2) };
    const stages = prng.chance(0.3) ? [map, { items: 1, kind: 3, needs: [0] }] : [map];
    return { atMs, stages, submitter: `ed25519:${String(prng.int(1, SUBMITTERS)).padStart(64, '0')}` as KeyId };
  });
}

function play(seed: number): { held50: number; held90: number; asked: number; width: number[] } {
  const prng = new Prng(seed);
  const jobs = drawJobs(prng);
  const peers = Array.from({ length: prng.int(3, 8) }, () => {
    const slowness = Math.exp(Math.log(10) * prng.float());
    return { msPerItem: [20, 60, 10, 2_000].map((ms) => ms * slowness * Math.exp(prng.float() - 0.5)) };
  });
  const asked = new Map<JobId, Asked>();
  const watch = (state: State, at: number): void => {
    for (const id of state.activeJobs) {
      if (asked.has(id) || doneShare(state, id) < ASKED_AT) continue;
      const told = forecast(state, id, at);
      if (told) asked.set(id, { ...told, at });
    }
  };
  const churn = { upMs: 300_000, downMs: 60_000 };
  const { jobMs } = playFleet({ seed, peers, jobs, churn, noise: 0.2, watch });
  let [held50, held90] = [0, 0];
  const width: number[] = [];
  for (const [i, { atMs = 0 }] of jobs.entries()) {
    const told = asked.get(i.toString(16).padStart(16, '0') as JobId);
    if (!told) continue;
    const realMs = atMs + (jobMs[i] ?? 0) - told.at;
    if (realMs <= told.p50Ms) held50++;
    if (realMs <= told.p90Ms) held90++;
    width.push(told.p90Ms / told.p50Ms);
  }
  return { held50, held90, asked: width.length, width };
}

function doneShare(state: State, id: JobId): number {
  let [done, total] = [0, 0];
  for (const { name } of state.jobs.get(id)?.spec.stages ?? []) {
    const stage = state.stages.get(toStageId(id, name));
    done += stage?.finished.size ?? 0;
    total += stage?.itemCount ?? 0;
  }
  return total === 0 ? 0 : done / total;
}

const swarms = Array.from({ length: SWARMS }, (_, i) => play(i + 1));
const sum = (of: (swarm: (typeof swarms)[number]) => number) => swarms.reduce((total, swarm) => total + of(swarm), 0);
const asked = sum((swarm) => swarm.asked);
const [p50, p90] = [sum(({ held50 }) => held50) / asked, sum(({ held90 }) => held90) / asked];
const widths = swarms.flatMap(({ width }) => width).sort((a, b) => a - b);
const width = widths[Math.floor(widths.length / 2)] ?? NaN;
printReport(
  'eta',
  [
    [`jobs asked about, in ${SWARMS} swarms`, String(asked), ''],
    ['ended within p90', p90.toFixed(3), `${GOALS.p90AtLeast} … ${GOALS.p90AtMost}`],
    ['ended within p50', p50.toFixed(3), ''],
    ['p90 / p50, median', width.toFixed(2), ''],
  ],
  { asked, p90, p50, width },
  { ...GOALS },
  p90 >= GOALS.p90AtLeast && p90 <= GOALS.p90AtMost,
);
