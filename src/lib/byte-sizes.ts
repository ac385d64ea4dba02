// Owns byte sizes: parsing what a person types and printing bytes for people. Binary units only.

import { err, ok, type Result } from './result.ts';

export const KIB = 1_024;
export const MIB = 1_024 * KIB;
export const GIB = 1_024 * MIB;

const UNITS: readonly (readonly [string, number])[] = [
  ['GiB', GIB],
  ['MiB', MIB],
  ['KiB', KIB],
];

/** Parses `512`, `64KiB`, `20MiB` or `1.5GiB` to bytes. */
export function parseByteSize(text: string): Result<number> {
  const match = /^(\d+(?:\.\d+)?)\s*(B|[KMG]iB)?$/.exec(text.trim());
  if (!match) return err(`"${text}" is not a size; write 512, 64KiB, 20MiB or 1.5GiB`);
  const unit = UNITS.find(([name]) => name === match[2])?.[1] ?? 1;
  return ok(Math.round(Number(match[1]) * unit));
}

/** Prints bytes with one decimal in the largest fitting unit, for example `27.9 MiB`. */
export function formatByteSize(sizeBytes: number): string {
  for (const [name, size] of UNITS) if (sizeBytes >= size) return `${(sizeBytes / size).toFixed(1)} ${name}`;
  return `${sizeBytes} B`;
}
