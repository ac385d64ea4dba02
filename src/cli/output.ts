// Owns what the command line prints: tables for people, JSON for programs, a progress line where there is a terminal.
// What comes from others is stripped of control characters before it is shown.

import Table from 'cli-table3';

export type Output = {
  /** With --json: one JSON document on stdout and nothing else there. */
  readonly json: boolean;
  readonly isTerminal: boolean;
};

/** Prints `value` as JSON with --json, otherwise what `toText` makes of it. */
export function print<T>(output: Output, value: T, toText: (value: T) => string): void {
  process.stdout.write(`${output.json ? JSON.stringify(value) : toText(value)}\n`);
}

/** Tells a person something; never on stdout, so that --json stays clean. */
export function note(output: Output, text: string): void {
  if (!output.json) process.stderr.write(`${text}\n`);
}

/** A plain table: no borders, so that it can be cut and grepped. */
export function toTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const none = {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  };
  const table = new Table({
    head: [...head],
    chars: none,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  for (const row of rows) table.push(row.map(toPlain));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Text from elsewhere without control characters: it cannot move the cursor or recolour the terminal. */
export function toPlain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, (char) => (char === '\n' ? ' ' : ''));
}

export function toPercent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}

/** A bar of `width` cells for a share between 0 and 1. */
export function toBar(share: number, width: number): string {
  const filled = Math.round(Math.min(Math.max(share, 0), 1) * width);
  return '█'.repeat(filled) + '░'.repeat(width - filled);
}

/** Redraws a few lines in place on a terminal; elsewhere prints a line now and then. */
export class ProgressDisplay {
  readonly #output: Output;
  #drawnLines = 0;
  #lastPlainAt = -Infinity;

  constructor(output: Output) {
    this.#output = output;
  }

  /** `plain` is for where nothing can be redrawn; the first line unless told. */
  update(lines: readonly string[], plain = lines[0] ?? ''): void {
    if (this.#output.json) return;
    if (this.#output.isTerminal) return this.#redraw(lines);
    const nowMs = performance.now();
    if (nowMs - this.#lastPlainAt < PLAIN_EVERY_MS) return;
    this.#lastPlainAt = nowMs;
    process.stderr.write(`${plain}\n`);
  }

  /** Leaves the last lines standing. */
  finish(lines: readonly string[]): void {
    if (this.#output.json) return;
    if (this.#output.isTerminal) this.#redraw(lines);
    else process.stderr.write(`${lines.join('\n')}\n`);
    this.#drawnLines = 0;
  }

  /** Takes the last lines away again. */
  clear(): void {
    if (this.#drawnLines > 0) this.#redraw([]);
  }

  #redraw(lines: readonly string[]): void {
    const up = this.#drawnLines > 0 ? `\u001B[${this.#drawnLines}A` : '';
    const width = process.stderr.columns ?? 100;
    process.stderr.write(`${up}${lines.map((line) => `\u001B[2K${line.slice(0, width)}\n`).join('')}\u001B[J`);
    this.#drawnLines = lines.length;
  }
}

const PLAIN_EVERY_MS = 2_000;
