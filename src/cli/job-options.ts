// Owns the options that every kind of job takes: how urgent it is and what it may cost.

import { InvalidArgumentError, type Command } from 'commander';
import { parseDuration } from '../lib/durations.ts';
import type { JobSpecInput } from '../protocol/job-spec.ts';

export type JobOptions = {
  readonly priority: number;
  /** From now. */
  readonly deadline?: number;
  readonly maxPeers?: number;
  readonly maxDeviceHours?: number;
};

export function addJobOptions(command: Command): Command {
  return command
    .option('--priority <number>', 'of your jobs the higher runs first, from -100 to 100', parsePriority, 0)
    .option('--deadline <duration>', 'of your jobs the one that is due sooner runs first', parseTime)
    .option('--max-peers <count>', 'run on no more machines at once', parseWhole)
    .option('--max-device-hours <hours>', 'end it when its tasks have taken so long in all', parseHours);
}

/** The part of a job's spec that these options say. */
export function toJobTerms(options: JobOptions): Pick<JobSpecInput, 'priority' | 'deadlineAt' | 'limits'> {
  const { priority, deadline, maxPeers, maxDeviceHours } = options;
  return {
    priority,
    ...(deadline !== undefined && { deadlineAt: Date.now() + deadline }),
    limits: {
      ...(maxPeers !== undefined && { peers: maxPeers }),
      ...(maxDeviceHours !== undefined && { deviceHours: maxDeviceHours }),
    },
  };
}

export function parseWhole(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError('It must be a whole number above 0.');
}

function parsePriority(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && Math.abs(value) <= 100) return value;
  throw new InvalidArgumentError('It must be a whole number from -100 to 100.');
}

function parseTime(text: string): number {
  const parsed = parseDuration(text);
  if (parsed.ok && parsed.value >= 1) return Math.ceil(parsed.value);
  throw new InvalidArgumentError('It must be a time from now, such as 30m, 2h or 1d.');
}

function parseHours(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}
