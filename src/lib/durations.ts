// Owns durations: parsing what a person types and printing milliseconds for people.

import { err, ok, type Result } from './result.ts';

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Parses `250ms`, `20s`, `5m`, `2h` or `7d` to milliseconds. */
export function parseDuration(text: string): Result<number> {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim());
  const unitMs = match ? UNIT_MS[match[2] ?? ''] : undefined;
  if (!match || unitMs === undefined) return err(`"${text}" is not a duration; write 250ms, 20s, 5m, 2h or 7d`);
  return ok(Number(match[1]) * unitMs);
}

/** Prints a duration in ms with its two largest units, for example `7d 00h`, `1h 05m` or `3.2s`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1_000) return `${Math.round(durationMs)}ms`;
  if (durationMs < 59_950) return `${(durationMs / 1_000).toFixed(1)}s`;
  const totalS = Math.round(durationMs / 1_000);
  const [h, m, s] = [Math.floor(totalS / 3_600), Math.floor(totalS / 60) % 60, totalS % 60];
  if (h >= 48) return `${Math.floor(h / 24)}d ${pad(h % 24)}h`;
  return h > 0 ? `${h}h ${pad(m)}m` : `${m}m ${pad(s)}s`;
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}
