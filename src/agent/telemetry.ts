// Owns what a heartbeat tells of the machine: CPU use since the last one, free memory, and what the GPUs say.

import { statfsSync } from 'node:fs';
import { cpus, freemem } from 'node:os';
import type { Telemetry } from '../protocol/device.ts';

export type Meter = { read(): Telemetry };

type CpuTimes = { readonly busy: number; readonly all: number };

/** `readDevices` is asked each time; it answers from what it knows. Inputs and results are kept in `dir`. */
export function createMeter(readDevices: () => Telemetry['devices'], dir: string): Meter {
  let last = readCpuTimes();
  return {
    read() {
      const now = readCpuTimes();
      const [busy, all] = [now.busy - last.busy, now.all - last.all];
      last = now;
      const cpuUtilisation = all > 0 ? Math.min(1, Math.max(0, busy / all)) : undefined;
      return {
        ...(cpuUtilisation !== undefined && { cpuUtilisation: Math.round(cpuUtilisation * 1_000) / 1_000 }),
        freeMemoryBytes: freemem(),
        ...readFreeDisk(dir),
        devices: readDevices(),
      };
    },
  };
}

function readFreeDisk(dir: string): Pick<Telemetry, 'freeDiskBytes'> {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return { freeDiskBytes: bavail * bsize };
  } catch {
    // Not every file system tells; then nothing is known.
    return {};
  }
}

/** Summed over all threads, in ms. */
function readCpuTimes(): CpuTimes {
  let [busy, all] = [0, 0];
  for (const { times } of cpus()) {
    const working = times.user + times.nice + times.sys + times.irq;
    busy += working;
    all += working + times.idle;
  }
  return { busy, all };
}
