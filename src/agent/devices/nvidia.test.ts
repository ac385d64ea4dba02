// nvidia-smi's lines as machines print them: a desktop, WSL2, a laptop without power readings, no driver.

import { expect, test } from 'vitest';
import { MIB } from '../../lib/byte-sizes.ts';
import { deviceSchema, telemetrySchema } from '../../protocol/device.ts';
import { parseNvidiaSmi } from './nvidia.ts';

test('two cards', () => {
  const output =
    '0, NVIDIA GeForce RTX 4090, 24564, 1210, 37, 52, 98.41\n1, NVIDIA GeForce RTX 3060, 12288, 0, 0, 31, 12.90\n';
  const [first, second] = parseNvidiaSmi(output);
  expect(first).toEqual({
    device: { id: 'cuda:0', kind: 'cuda', name: 'NVIDIA GeForce RTX 4090', memoryBytes: 24_564 * MIB, threads: 1 },
    telemetry: { id: 'cuda:0', usedMemoryBytes: 1_210 * MIB, utilisation: 0.37, temperatureC: 52, powerW: 98.41 },
  });
  expect(second?.device.id).toBe('cuda:1');
});

test('what is not available is left out', () => {
  const [card] = parseNvidiaSmi('0, NVIDIA GeForce GTX 1650 Ti with Max-Q Design, 4096, 351, [N/A], 44, [N/A]\r\n');
  expect(card?.telemetry).toEqual({ id: 'cuda:0', usedMemoryBytes: 351 * MIB, temperatureC: 44 });
  const [blank] = parseNvidiaSmi('0, [Unknown Error], [N/A], [N/A], [Not Supported], ERR!, [N/A]');
  expect(blank?.device).toMatchObject({ name: '[Unknown Error]', memoryBytes: 0 });
  expect(blank?.telemetry).toEqual({ id: 'cuda:0' });
});

test('what is no list of cards yields none', () => {
  expect(parseNvidiaSmi('')).toEqual([]);
  expect(parseNvidiaSmi('No devices were found\n')).toEqual([]);
  expect(
    parseNvidiaSmi(
      "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver, make sure, that, it, is",
    ),
  ).toEqual([]);
});

test('whatever it prints, what is told fits the protocol', () => {
  const odd = `0, ${'x'.repeat(500)}, 99999999, 12, 900, 9999, 99999\n${'7, a, 1, 1, 1, 1, 1\n'.repeat(50)}`;
  const readings = parseNvidiaSmi(odd);
  expect(readings.length).toBeLessThanOrEqual(8);
  for (const { device } of readings) deviceSchema.parse(device);
  telemetrySchema.parse({ devices: readings.map(({ telemetry }) => telemetry) });
});
