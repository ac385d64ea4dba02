// Owns parsing CSV (RFC 4180) as a stream: quotes, doubled quotes, line ends inside quotes, bounded cells and records.
// Knows no files and no column's meaning.

import { badInput, MAX_CELL_CHARS } from './list-item.ts';

/** A record and the line (counted from 1) it begins on. */
export type CsvRecord = { readonly line: number; readonly cells: readonly string[] };

export const MAX_CSV_COLUMNS = 1_000;
const MAX_RECORD_CHARS = 4 * MAX_CELL_CHARS;

type Mode = 'start' | 'plain' | 'quoted' | 'quote';

/** Parses text pushed in any portions; at most one record is held. Every record must have as many cells as the first. */
export class CsvParser {
  readonly #path: string;
  #mode: Mode = 'start';
  #cell = '';
  #cells: string[] = [];
  #recordChars = 0;
  #line = 1;
  #recordLine = 1;
  #quoteLine = 1;
  #afterReturn = false;
  #width: number | undefined;
  #done: CsvRecord[] = [];

  /** `path` names the file in errors. */
  constructor(path: string) {
    this.#path = path;
  }

  /** Returns the records that end in this portion. Throws `bad-input` naming the line. */
  push(text: string): CsvRecord[] {
    let at = 0;
    while (at < text.length) at = this.#mode === 'quoted' ? this.#inQuotes(text, at) : this.#outside(text, at);
    return this.#flush();
  }

  /** Returns the last record when the file does not end with a line end. */
  end(): CsvRecord[] {
    if (this.#mode === 'quoted') {
      throw this.#error(
        this.#quoteLine,
        'has a quote that is never closed; close it, or double it inside a quoted cell',
      );
    }
    if (this.#mode !== 'start' || this.#cells.length > 0) this.#endRecord();
    return this.#flush();
  }

  #flush(): CsvRecord[] {
    const done = this.#done;
    this.#done = [];
    return done;
  }

  #inQuotes(text: string, at: number): number {
    const quote = text.indexOf('"', at);
    const end = quote < 0 ? text.length : quote;
    this.#append(text.slice(at, end));
    this.#countLines(text, at, end);
    if (quote < 0) return text.length;
    this.#mode = 'quote';
    return quote + 1;
  }

  /** A line end is \n, \r\n or a lone \r, wherever the portions fall. */
  #countLines(text: string, from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const code = text.charCodeAt(i);
      if (code === 13 || (code === 10 && !this.#afterReturn)) this.#line++;
      this.#afterReturn = code === 13;
    }
  }

  #outside(text: string, at: number): number {
    const character = text[at] as string;
    const followsReturn = this.#afterReturn;
    this.#afterReturn = false;
    if (character === '"' && this.#mode !== 'plain') return this.#onQuote(at);
    if (character === ',') this.#endCell();
    else if (character === '\n' && followsReturn && this.#mode === 'start' && this.#cells.length === 0) return at + 1;
    else if (character === '\n' || character === '\r') this.#onLineEnd(character);
    else return this.#plain(text, at);
    return at + 1;
  }

  #onQuote(at: number): number {
    if (this.#mode === 'quote') this.#append('"');
    else this.#quoteLine = this.#line;
    this.#mode = 'quoted';
    return at + 1;
  }

  #onLineEnd(character: string): void {
    // A blank line is no record.
    if (this.#mode !== 'start' || this.#cells.length > 0) this.#endRecord();
    this.#line++;
    this.#recordLine = this.#line;
    this.#afterReturn = character === '\r';
  }

  #plain(text: string, at: number): number {
    if (this.#mode === 'quote') {
      throw this.#error(this.#line, 'has text behind a closing quote; double each quote inside a quoted cell');
    }
    this.#mode = 'plain';
    let end = at + 1;
    while (end < text.length && !isSpecial(text.charCodeAt(end))) end++;
    this.#append(text.slice(at, end));
    return end;
  }

  #append(text: string): void {
    this.#cell += text;
    this.#recordChars += text.length;
    if (this.#cell.length > MAX_CELL_CHARS) {
      const open = this.#mode === 'plain' ? '' : ' (or a quote that is never closed)';
      throw this.#error(
        this.#recordLine,
        `has a cell of more than ${MAX_CELL_CHARS} characters${open}; split the text`,
      );
    }
    if (this.#recordChars > MAX_RECORD_CHARS) {
      throw this.#error(this.#recordLine, `has a record of more than ${MAX_RECORD_CHARS} characters; drop a column`);
    }
  }

  #endCell(): void {
    this.#cells.push(this.#cell);
    this.#cell = '';
    this.#mode = 'start';
    if (this.#cells.length > MAX_CSV_COLUMNS) {
      throw this.#error(this.#recordLine, `has more than ${MAX_CSV_COLUMNS} columns; is it separated by commas?`);
    }
  }

  #endRecord(): void {
    this.#endCell();
    this.#width ??= this.#cells.length;
    if (this.#cells.length !== this.#width) {
      const counts = `has ${this.#cells.length} cells where the header has ${this.#width}`;
      throw this.#error(this.#recordLine, `${counts}; quote cells that hold commas, and fill missing ones`);
    }
    this.#done.push({ line: this.#recordLine, cells: this.#cells });
    this.#cells = [];
    this.#recordChars = 0;
  }

  #error(line: number, what: string): Error {
    return badInput(`${this.#path} line ${line} ${what}`);
  }
}

/** Comma, line feed, carriage return: a quote inside an unquoted cell is an ordinary character. */
function isSpecial(code: number): boolean {
  return code === 44 || code === 10 || code === 13;
}

/** Writes one record with the line end that RFC 4180 asks for. */
export function toCsvLine(cells: readonly string[]): string {
  return `${cells.map((cell) => (/[",\r\n]/.test(cell) || cell === '' ? `"${cell.replaceAll('"', '""')}"` : cell)).join(',')}\r\n`;
}
