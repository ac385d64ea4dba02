// Owns the log of the long-running commands, on stderr: lines for people in a terminal, JSON Lines (pino) elsewhere.

import { pino } from 'pino';
import type { LogFields, Logger } from '../runtime/logger.ts';
import { toPlain } from './output.ts';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

export function createLogger(level: string, isTerminal: boolean): Logger {
  if (!isTerminal) return pino({ level, base: null }, pino.destination({ dest: 2, sync: true }));
  const least = LEVELS.findIndex((name) => name === level);
  const write = (index: number) => (fields: LogFields, message: string) => {
    if (index >= least) process.stderr.write(`${toLine(index, fields, message)}\n`);
  };
  return { debug: write(0), info: write(1), warn: write(2), error: write(3) };
}

function toLine(index: number, fields: LogFields, message: string): string {
  const time = new Date().toLocaleTimeString('en-GB');
  const details = Object.entries(fields).map(([name, value]) => `${name}=${toText(value)}`);
  const mark = index >= 2 ? `${(LEVELS[index] ?? '').toUpperCase()} ` : '';
  return `${time}  ${mark}${message}${details.length > 0 ? `  (${details.join(', ')})` : ''}`;
}

function toText(value: unknown): string {
  if (value instanceof Error) return value.message;
  return toPlain(typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
}
