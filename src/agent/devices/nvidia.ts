// Owns NVIDIA GPUs as nvidia-smi tells of them, and not waking one that sleeps: asking a suspended laptop GPU starts it.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB } from '../../lib/byte-sizes.ts';
import type { AskTool } from './ask-tool.ts';
import { toBytes, toName, toNumber, toShare, toTelemetry, within, type DeviceReading } from './reading.ts';

const FIELDS = ['index', 'name', 'memory.total', 'memory.used', 'utilization.gpu', 'temperature.gpu', 'power.draw'];
const NVIDIA_VENDOR = '0x10de';
const MAX_DEVICES = 8;
/** A little more than half a terabyte: no card has that. */
const MAX_MEMORY_MIB = 600_000;

export async function readNvidia(ask: AskTool): Promise<DeviceReading[]> {
  if (process.platform === 'linux' && (await isSuspended('/sys/bus/pci/devices'))) return [];
  const output = await ask('nvidia-smi', [`--query-gpu=${FIELDS.join(',')}`, '--format=csv,noheader,nounits']);
  return output === undefined ? [] : parseNvidiaSmi(output);
}

/** Lines that are no GPU, such as a driver's complaint, are passed over. */
export function parseNvidiaSmi(output: string): DeviceReading[] {
  const readings: DeviceReading[] = [];
  for (const line of output.split('\n').slice(0, MAX_DEVICES)) {
    const cells = line.split(',').map((cell) => cell.trim());
    const index = toNumber(cells[0]);
    if (cells.length !== FIELDS.length || index === undefined) continue;
    const id = `cuda:${index}`;
    const name = toName(cells[1], 'NVIDIA GPU');
    readings.push({
      device: {
        id,
        kind: 'cuda',
        name,
        memoryBytes: toBytes(within(toNumber(cells[2]), 0, MAX_MEMORY_MIB), MIB) ?? 0,
        threads: 1,
      },
      telemetry: toTelemetry({
        id,
        usedMemoryBytes: toBytes(toNumber(cells[3]), MIB),
        utilisation: toShare(toNumber(cells[4])),
        temperatureC: within(toNumber(cells[5]), -50, 200),
        powerW: within(toNumber(cells[6]), 0, 5_000),
      }),
    });
  }
  return readings;
}

/** Whether the kernel has put an NVIDIA display device to sleep. */
async function isSuspended(dir: string): Promise<boolean> {
  for (const name of await readdir(dir).catch(() => [])) {
    const read = (file: string) => readFile(join(dir, name, file), 'utf8').catch(() => '');
    if ((await read('vendor')).trim() !== NVIDIA_VENDOR || !(await read('class')).startsWith('0x03')) continue;
    if ((await read('power/runtime_status')).trim() === 'suspended') return true;
  }
  return false;
}
