// Owns two controls for the offline benchmark, written from the papers and apart from the scheduler's own code: list
// scheduling by earliest completion, and HEFT (Topcuoglu, Hariri and Wu 2002) with insertion.

import type { DagTask } from '../src/core/schedule/dag.ts';

/** Each task to the device that would be through with it first, in the order given. */
export function listScheduleMs(msByTask: readonly (readonly number[])[], devices: number): number {
  const freeAt = Array.from({ length: devices }, () => 0);
  for (const ms of msByTask) {
    let chosen = 0;
    for (let device = 1; device < devices; device++)
      if ((freeAt[device] ?? 0) + (ms[device] ?? 0) < (freeAt[chosen] ?? 0) + (ms[chosen] ?? 0)) chosen = device;
    freeAt[chosen] = (freeAt[chosen] ?? 0) + (ms[chosen] ?? 0);
  }
  return Math.max(...freeAt);
}

/** The makespan of HEFT's schedule. */
export function heftMs(tasks: readonly DagTask[]): number {
  const devices = tasks[0]?.msOn.length ?? 0;
  const rank = tasks.map(() => 0);
  for (let i = tasks.length - 1; i >= 0; i--) {
    const { msOn, needs } = tasks[i] ?? { msOn: [], needs: [] };
    rank[i] = (rank[i] ?? 0) + msOn.reduce((sum, ms) => sum + ms, 0) / devices;
    for (const { task, transferMs } of needs)
      rank[task] = Math.max(rank[task] ?? 0, (transferMs * (devices - 1)) / devices + (rank[i] ?? 0));
  }
  const busy: [number, number][][] = Array.from({ length: devices }, () => []);
  const [place, finish] = [tasks.map(() => 0), tasks.map(() => 0)];
  for (const i of [...tasks.keys()].sort((a, b) => (rank[b] ?? 0) - (rank[a] ?? 0) || a - b)) {
    const { msOn, needs } = tasks[i] ?? { msOn: [], needs: [] };
    let [bestDevice, bestStart, bestEnd] = [0, 0, Infinity];
    for (let device = 0; device < devices; device++) {
      let at = 0;
      for (const { task, transferMs } of needs)
        at = Math.max(at, (finish[task] ?? 0) + (place[task] === device ? 0 : transferMs));
      for (const [from, to] of busy[device] ?? []) {
        if (at + (msOn[device] ?? 0) <= from) break;
        at = Math.max(at, to);
      }
      if (at + (msOn[device] ?? 0) < bestEnd) [bestDevice, bestStart, bestEnd] = [device, at, at + (msOn[device] ?? 0)];
    }
    [place[i], finish[i]] = [bestDevice, bestEnd];
    busy[bestDevice]?.push([bestStart, bestEnd]);
    busy[bestDevice]?.sort(([a], [b]) => a - b);
  }
  return Math.max(0, ...finish);
}
