// Owns reading JSON Lines as a stream: bounded lines, each one object. Knows no files and no column's meaning.

import { badInput, MAX_CELL_CHARS } from './list-item.ts';

/** An object and the line (counted from 1) it stands on. */
export type JsonlRecord = { readonly line: number; readonly value: Readonly<Record<string, unknown>> };

/** Parses text pushed in any portions; at most one line is held. Blank lines are passed over. */
export class JsonlParser {
  readonly #path: string;
  #held = '';
  #line = 0;

  /** `path` names the file in errors. */
  constructor(path: string) {
    this.#path = path;
  }

  /** Returns the objects whose lines end in this portion. Throws `bad-input` naming the line. */
  push(text: string): JsonlRecord[] {
    const lines = text.split('\n');
    const last = lines.pop() ?? '';
    const records = lines.flatMap((line) => {
      const whole = this.#held + line;
      this.#held = '';
      return this.#onLine(whole);
    });
    this.#held += last;
    this.#checkLength(this.#held, this.#line + 1);
    return records;
  }

  /** Returns the last object when the file does not end with a line end. */
  end(): JsonlRecord[] {
    const last = this.#held;
    this.#held = '';
    return this.#onLine(last);
  }

  #onLine(text: string): JsonlRecord[] {
    this.#line++;
    this.#checkLength(text, this.#line);
    return text.trim() === '' ? [] : [{ line: this.#line, value: this.#parse(text) }];
  }

  #parse(text: string): Readonly<Record<string, unknown>> {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message.slice(0, 200) : '';
      throw badInput(`${this.#path} line ${this.#line} is not JSON (${reason}); each line must hold one object`, cause);
    }
    if (isObject(value)) return value;
    const kind = value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`;
    throw badInput(`${this.#path} line ${this.#line} is ${kind}; each line must hold one object, like {"text": "…"}`);
  }

  #checkLength(text: string, line: number): void {
    if (text.length <= MAX_CELL_CHARS) return;
    throw badInput(`${this.#path} line ${line} is longer than ${MAX_CELL_CHARS} characters; write one object per line`);
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
