// Owns the list of this machine's devices and what they last told of themselves. The CPU comes first: in this release
// tasks run on it, GPUs are only shown.

import { arch, cpus, platform } from 'node:os';
import type { Device, Telemetry } from '../../protocol/device.ts';
import { readAmd } from './amd.ts';
import { createAskTool, type AskTool } from './ask-tool.ts';
import { readNvidia } from './nvidia.ts';
import { toName, type DeviceReading } from './reading.ts';

/** Asking a GPU starts a process: a tenth of a second of work that nobody ordered. */
const ASK_AGAIN_MS = 60_000;

export type Devices = {
  readonly cpu: Device;
  readonly all: readonly Device[];
  /** What the GPUs last said; asks them again now and then, in the background. */
  readonly readTelemetry: () => Telemetry['devices'];
};

export type ProbeOptions = {
  readonly threads: number;
  /** What runners may use. */
  readonly memoryBytes: number;
  readonly environment: NodeJS.ProcessEnv;
};

/** Looks for devices; a tool that is absent means that there is none. Never throws. */
export async function probeDevices({ threads, memoryBytes, environment }: ProbeOptions): Promise<Devices> {
  const ask = createAskTool(environment);
  const cpu: Device = { id: 'cpu', kind: 'cpu', name: toName(cpus()[0]?.model, arch()), memoryBytes, threads };
  let readings = await readGpus(ask);
  let askedAt = performance.now();
  const hasGpu = readings.length > 0;
  const gpus = readings.map(({ device }) => device);
  return {
    cpu,
    all: [cpu, ...gpus, ...listMetal(memoryBytes)],
    readTelemetry() {
      if (hasGpu && performance.now() - askedAt >= ASK_AGAIN_MS) {
        askedAt = performance.now();
        void readGpus(ask).then((now) => (readings = now));
      }
      return readings.map(({ telemetry }) => telemetry);
    },
  };
}

async function readGpus(ask: AskTool): Promise<DeviceReading[]> {
  if (platform() === 'darwin') return [];
  const [nvidia, amd] = await Promise.all([readNvidia(ask), readAmd(ask)]);
  return [...nvidia, ...amd].slice(0, 14);
}

/** Apple's chips have one GPU, which shares the memory. */
function listMetal(memoryBytes: number): Device[] {
  if (platform() !== 'darwin' || arch() !== 'arm64') return [];
  return [{ id: 'metal:0', kind: 'metal', name: toName(cpus()[0]?.model, 'Apple GPU'), memoryBytes, threads: 1 }];
}
