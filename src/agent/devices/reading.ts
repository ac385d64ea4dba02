// Owns how numbers in the output of vendors' tools are read: what is not a number, such as `[N/A]`, is not known.

import type { Device, Telemetry } from '../../protocol/device.ts';

/** A device as its tool tells of it now. */
export type DeviceReading = { readonly device: Device; readonly telemetry: Telemetry['devices'][number] };

const MAX_NAME_CHARS = 120;

export function toNumber(text: unknown): number | undefined {
  if (typeof text === 'number') return Number.isFinite(text) ? text : undefined;
  if (typeof text !== 'string' || !/^\s*-?\d+(\.\d+)?\s*$/.test(text)) return undefined;
  return Number(text);
}

export function toBytes(value: number | undefined, unitBytes: number): number | undefined {
  return value === undefined || value < 0 ? undefined : Math.round(value * unitBytes);
}

/** Percent as a share. */
export function toShare(percent: number | undefined): number | undefined {
  return percent === undefined ? undefined : Math.min(1, Math.max(0, percent / 100));
}

/** `value` when it can be true; sensors that are not there tell nonsense. */
export function within(value: number | undefined, low: number, high: number): number | undefined {
  return value !== undefined && value >= low && value <= high ? value : undefined;
}

export function toName(text: unknown, fallback: string): string {
  const name = typeof text === 'string' ? text.trim() : '';
  return (name === '' || name === 'N/A' ? fallback : name).slice(0, MAX_NAME_CHARS);
}

/** Leaves out what is not known. */
export function toTelemetry(reading: {
  id: string;
  utilisation: number | undefined;
  usedMemoryBytes: number | undefined;
  temperatureC: number | undefined;
  powerW: number | undefined;
}): DeviceReading['telemetry'] {
  const { id, utilisation, usedMemoryBytes, temperatureC, powerW } = reading;
  return {
    id,
    ...(utilisation !== undefined && { utilisation }),
    ...(usedMemoryBytes !== undefined && { usedMemoryBytes }),
    ...(temperatureC !== undefined && { temperatureC }),
    ...(powerW !== undefined && { powerW }),
  };
}
