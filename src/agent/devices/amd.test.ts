// rocm-smi and amd-smi as machines print them: keys and their capitals differ between releases.

import { expect, test } from 'vitest';
import { MIB } from '../../lib/byte-sizes.ts';
import { deviceSchema, telemetrySchema } from '../../protocol/device.ts';
import { parseAmdSmi, parseRocmSmi } from './amd.ts';

test('rocm-smi 6 on a desktop card', () => {
  const output = JSON.stringify({
    card0: {
      'Temperature (Sensor edge) (C)': '42.0',
      'Average Graphics Package Power (W)': '17.0',
      'GPU use (%)': '3',
      'VRAM Total Memory (B)': '21458059264',
      'VRAM Total Used Memory (B)': '27856896',
      'Card Series': 'Radeon RX 7900 XT',
      'Card Model': '0x744c',
    },
    system: { 'Driver version': '6.7.0' },
  });
  expect(parseRocmSmi(output)).toEqual([
    {
      device: { id: 'rocm:0', kind: 'rocm', name: 'Radeon RX 7900 XT', memoryBytes: 21_458_059_264, threads: 1 },
      telemetry: {
        id: 'rocm:0',
        usedMemoryBytes: 27_856_896,
        utilisation: 0.03,
        temperatureC: 42,
        powerW: 17,
      },
    },
  ]);
});

test('rocm-smi on a laptop chip, after a warning, with other keys and values that are not there', () => {
  const card = {
    'Device Name': 'Phoenix3',
    'Temperature (Sensor edge) (C)': '31.0',
    'Current Socket Graphics Package Power (W)': '7.222',
    'GPU use (%)': 'N/A',
  };
  const [reading] = parseRocmSmi(
    `WARNING: AMD GPU device(s) is/are in a low-power state.\n{"card1": ${JSON.stringify(card)}}`,
  );
  expect(reading?.device).toMatchObject({ id: 'rocm:1', name: 'Phoenix3', memoryBytes: 0 });
  expect(reading?.telemetry).toEqual({ id: 'rocm:1', temperatureC: 31, powerW: 7.222 });
});

test('amd-smi, whose newer releases wrap the list and warn before it', () => {
  const fixed = `/usr/lib/amdsmi_interface.py:3569: SyntaxWarning: 'return' in a 'finally' block
  return return_dictionary
{
    "gpu_data": [
        {
            "gpu": 0,
            "asic": {"market_name": "AMD Radeon RX 7800 XT", "vendor_id": "0x1002"},
            "vram": {"type": "GDDR6", "size": {"value": 16368, "unit": "MB"}}
        }
    ]
}`;
  const metrics = JSON.stringify([
    {
      gpu: 0,
      usage: { gfx_activity: { value: 7, unit: '%' }, umc_activity: { value: 1, unit: '%' } },
      power: { socket_power: { value: 20, unit: 'W' } },
      temperature: { edge: 'N/A', hotspot: { value: 41, unit: 'C' } },
      mem_usage: { used_vram: { value: 812, unit: 'MB' } },
    },
  ]);
  expect(parseAmdSmi(fixed, metrics)).toEqual([
    {
      device: { id: 'rocm:0', kind: 'rocm', name: 'AMD Radeon RX 7800 XT', memoryBytes: 16_368 * MIB, threads: 1 },
      telemetry: { id: 'rocm:0', usedMemoryBytes: 812 * MIB, utilisation: 0.07, powerW: 20 },
    },
  ]);
});

test('what is no JSON, or another, yields none', () => {
  for (const output of ['', 'ERROR:root:ROCm driver not loaded', '{}', '[]', '{"card0": 5}', '{"gpu_data": {}}']) {
    expect(parseRocmSmi(output)).toEqual([]);
    expect(parseAmdSmi(output, output)).toEqual([]);
  }
});

test('whatever it prints, what is told fits the protocol', () => {
  const cards = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [
      `card${i}`,
      { 'Card Series': 'x'.repeat(500), 'GPU use (%)': '900', 'VRAM Total Memory (B)': '-5' },
    ]),
  );
  const readings = parseRocmSmi(JSON.stringify(cards));
  for (const { device } of readings) deviceSchema.parse(device);
  telemetrySchema.parse({ devices: readings.map(({ telemetry }) => telemetry) });
});
