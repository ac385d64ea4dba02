// Owns AMD GPUs as rocm-smi tells of them, or its successor amd-smi where that is all there is. Keys changed between
// releases of both, so each value is looked for under every name it has had.

import { z } from 'zod';
import { MIB } from '../../lib/byte-sizes.ts';
import type { AskTool } from './ask-tool.ts';
import { toBytes, toName, toNumber, toShare, toTelemetry, within, type DeviceReading } from './reading.ts';
import { parseJson } from '../../lib/json.ts';

const MAX_DEVICES = 8;
const ROCM_ARGS = ['--showproductname', '--showmeminfo', 'vram', '--showuse', '--showtemp', '--showpower', '--json'];

export async function readAmd(ask: AskTool): Promise<DeviceReading[]> {
  const rocm = await ask('rocm-smi', ROCM_ARGS);
  const readings = rocm === undefined ? [] : parseRocmSmi(rocm);
  if (readings.length > 0) return readings;
  const fixed = await ask('amd-smi', ['static', '--asic', '--vram', '--json']);
  if (fixed === undefined) return [];
  const metrics = await ask('amd-smi', ['metric', '--usage', '--mem-usage', '--temperature', '--power', '--json']);
  return parseAmdSmi(fixed, metrics ?? '');
}

const cardsSchema = z.record(z.string(), z.unknown());
const cardSchema = z.record(z.string(), z.unknown());

/** `{"card0": {"Card Series": …}, "system": {…}}`, with warnings before it in some releases. */
export function parseRocmSmi(output: string): DeviceReading[] {
  const cards = cardsSchema.safeParse(parseAnswer(output));
  if (!cards.success) return [];
  const readings: DeviceReading[] = [];
  for (const [key, value] of Object.entries(cards.data)) {
    const index = /^card(\d{1,2})$/.exec(key)?.[1];
    const card = cardSchema.safeParse(value);
    if (index === undefined || !card.success || readings.length >= MAX_DEVICES) continue;
    readings.push(toRocmReading(`rocm:${index}`, card.data));
  }
  return readings;
}

function toRocmReading(id: string, card: z.infer<typeof cardSchema>): DeviceReading {
  const find = (pattern: RegExp) => Object.entries(card).find(([key]) => pattern.test(key))?.[1];
  const name = toName(find(/^(card series|device name)$/i), 'AMD GPU');
  return {
    device: {
      id,
      kind: 'rocm',
      name,
      memoryBytes: toBytes(toNumber(find(/^vram total memory \(b\)$/i)), 1) ?? 0,
      threads: 1,
    },
    telemetry: toTelemetry({
      id,
      usedMemoryBytes: toBytes(toNumber(find(/^vram total used memory \(b\)$/i)), 1),
      utilisation: toShare(toNumber(find(/^gpu use \(%\)$/i))),
      temperatureC: within(toNumber(find(/^temperature \(sensor edge\)/i)), -50, 200),
      powerW: within(toNumber(find(/package power \(w\)$/i)), 0, 5_000),
    }),
  };
}

const measureSchema = z.union([z.looseObject({ value: z.unknown() }), z.string(), z.number()]).optional();
const gpuSchema = z.looseObject({
  gpu: z.int().min(0).max(99),
  asic: z.looseObject({ market_name: z.unknown() }).optional(),
  vram: z.looseObject({ size: measureSchema }).optional(),
  usage: z.looseObject({ gfx_activity: measureSchema }).optional(),
  mem_usage: z.looseObject({ used_vram: measureSchema }).optional(),
  temperature: z.looseObject({ edge: measureSchema }).optional(),
  power: z.looseObject({ socket_power: measureSchema }).optional(),
});
/** Newer releases wrap the list. */
const gpusSchema = z.union([z.array(gpuSchema), z.looseObject({ gpu_data: z.array(gpuSchema) })]);

/** `fixed` is of `amd-smi static`, `metrics` of `amd-smi metric`, which may be empty. */
export function parseAmdSmi(fixed: string, metrics: string): DeviceReading[] {
  const now = new Map(toGpus(metrics).map((gpu) => [gpu.gpu, gpu]));
  return toGpus(fixed)
    .slice(0, MAX_DEVICES)
    .map(({ gpu, asic, vram }) => {
      const id = `rocm:${gpu}`;
      const metric = now.get(gpu);
      const memoryBytes = toBytes(toMeasure(vram?.size), MIB) ?? 0;
      return {
        device: { id, kind: 'rocm', name: toName(asic?.market_name, 'AMD GPU'), memoryBytes, threads: 1 },
        telemetry: toTelemetry({
          id,
          usedMemoryBytes: toBytes(toMeasure(metric?.mem_usage?.used_vram), MIB),
          utilisation: toShare(toMeasure(metric?.usage?.gfx_activity)),
          temperatureC: within(toMeasure(metric?.temperature?.edge), -50, 200),
          powerW: within(toMeasure(metric?.power?.socket_power), 0, 5_000),
        }),
      };
    });
}

function toGpus(output: string): z.infer<typeof gpuSchema>[] {
  const gpus = gpusSchema.safeParse(parseAnswer(output));
  if (!gpus.success) return [];
  return Array.isArray(gpus.data) ? gpus.data : gpus.data.gpu_data;
}

/** `{"value": 16368, "unit": "MB"}`, or the bare number. */
function toMeasure(measure: z.infer<typeof measureSchema>): number | undefined {
  return toNumber(typeof measure === 'object' ? measure.value : measure);
}

/** Both tools may print warnings before their JSON. */
function parseAnswer(output: string): unknown {
  const from = output.search(/^\s*[{[]/m);
  return from < 0 ? undefined : parseJson(output.slice(from));
}
