// Owns what rows of a table mean to a listing: which column holds the text, which the id, and what is no text.
// Reads rows from CSV, JSON Lines and Parquet as one shape. Does not split or normalise.

import type { SchemaTree } from 'hyparquet';
import { CsvParser, type CsvRecord } from './csv.ts';
import { JsonlParser, type JsonlRecord } from './jsonl.ts';
import { readText, type EncodingErrors } from './list-decode.ts';
import { badInput, MAX_CELL_CHARS, MAX_ID_CHARS, type InputFile } from './list-item.ts';
import { openParquet, type ParquetFile, type ParquetRow } from './parquet-open.ts';

/** A row's text ('' for null) and id. `number` counts rows from 1, or lines where the format is one of lines. */
export type TableRow = { readonly number: number; readonly text: string; readonly id: string | undefined };

export type RowOptions = {
  readonly column: string;
  readonly idColumn?: string;
  readonly encodingErrors: EncodingErrors;
};

/** Yields a table's rows in order. Throws `bad-input` naming the file, the row and what to do. */
export async function* readRows(file: InputFile, options: RowOptions): AsyncGenerator<TableRow> {
  if (file.kind === 'csv') yield* csvRows(file, options);
  else if (file.kind === 'jsonl') yield* jsonlRows(file, options);
  else yield* parquetRows(file, options);
}

async function* csvRows({ path }: InputFile, options: RowOptions): AsyncGenerator<TableRow> {
  const parser = new CsvParser(path);
  let columns: { text: number; id: number | undefined } | undefined;
  let number = 0;
  for await (const { line, cells } of records<CsvRecord>(readText(path, options.encodingErrors), parser)) {
    if (columns === undefined) {
      columns = findCsvColumns(path, cells, options);
      continue;
    }
    number++;
    const id = columns.id === undefined ? undefined : toId(cells[columns.id], `${path} line ${line}`, options);
    yield { number, text: cells[columns.text] ?? '', id };
  }
  if (columns === undefined) throw badInput(`${path} holds no CSV header; the first line must name the columns`);
}

function findCsvColumns(
  path: string,
  header: readonly string[],
  options: RowOptions,
): { text: number; id: number | undefined } {
  const find = (name: string): number => {
    const index = header.indexOf(name);
    if (index < 0) throw missingColumn(path, name, header);
    if (header.includes(name, index + 1)) throw badInput(`${path} names the column "${name}" twice; rename one`);
    return index;
  };
  return { text: find(options.column), id: options.idColumn === undefined ? undefined : find(options.idColumn) };
}

async function* jsonlRows({ path }: InputFile, options: RowOptions): AsyncGenerator<TableRow> {
  const texts = readText(path, options.encodingErrors);
  for await (const { line, value } of records<JsonlRecord>(texts, new JsonlParser(path))) {
    const at = `${path} line ${line}`;
    for (const name of [options.column, options.idColumn]) {
      if (name !== undefined && !Object.hasOwn(value, name)) throw missingColumn(at, name, Object.keys(value));
    }
    const id = options.idColumn === undefined ? undefined : toId(value[options.idColumn], at, options);
    yield { number: line, text: toText(value[options.column], at, options.column), id };
  }
}

async function* parquetRows({ path }: InputFile, options: RowOptions): AsyncGenerator<TableRow> {
  const { column, idColumn, encodingErrors } = options;
  const utf8 = new TextDecoder('utf-8', { fatal: encodingErrors === 'fail', ignoreBOM: true });
  await using file = await openParquet(path, { stringFromBytes: (bytes: Uint8Array) => utf8.decode(bytes) });
  checkParquetColumns(file, options);
  const names = idColumn === undefined ? [column] : [column, idColumn];
  for (const { start, end } of file.groups) {
    const rows: ParquetRow[] = await file.readRows(start, end, names);
    for (const [i, row] of rows.entries()) {
      const number = start + i + 1;
      const at = `${path} row ${number}`;
      yield {
        number,
        text: toText(row[column], at, column),
        id: idColumn === undefined ? undefined : toId(row[idColumn], at, options),
      };
    }
  }
}

function checkParquetColumns(file: ParquetFile, { column, idColumn }: RowOptions): void {
  const names = file.columns.map(({ element }) => element.name);
  const find = (name: string): SchemaTree => {
    const found = file.columns.find(({ element }) => element.name === name);
    if (!found) throw missingColumn(file.path, name, names);
    return found;
  };
  const { children, element } = find(column);
  if (children.length > 0 || element.type !== 'BYTE_ARRAY') {
    const texts = file.columns.filter((tree) => tree.children.length === 0 && tree.element.type === 'BYTE_ARRAY');
    const hint =
      texts.length > 0
        ? `columns of text: ${list(texts.map((tree) => tree.element.name))}`
        : 'it has no column of text';
    throw badInput(`${file.path} column "${column}" holds no text but ${element.type ?? 'nested values'}; ${hint}`);
  }
  if (idColumn !== undefined) find(idColumn);
}

type Parser<T> = { push(text: string): T[]; end(): T[] };

async function* records<T>(texts: AsyncIterable<string>, parser: Parser<T>): AsyncGenerator<T> {
  for await (const text of texts) yield* parser.push(text);
  yield* parser.end();
}

function toText(value: unknown, at: string, column: string): string {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'string') {
    throw badInput(`${at}: "${column}" is ${kindOf(value)}, not text; name another column or write it as text`);
  }
  if (value.length <= MAX_CELL_CHARS) return value;
  throw badInput(`${at}: "${column}" is longer than ${MAX_CELL_CHARS} characters; split it into rows`);
}

function toId(value: unknown, at: string, { idColumn }: RowOptions): string {
  const isNumber = typeof value === 'bigint' || Number.isSafeInteger(value);
  const id = isNumber ? String(value) : value;
  if (typeof id === 'string' && id !== '' && id.length <= MAX_ID_CHARS && id.isWellFormed()) return id;
  const what =
    typeof id !== 'string' ? `is ${kindOf(id)}` : id === '' ? 'is empty' : `is longer than ${MAX_ID_CHARS} characters`;
  throw badInput(`${at}: the id column "${idColumn}" ${what}; each row needs a short text or whole number`);
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'missing';
  return Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function missingColumn(at: string, name: string, columns: readonly string[]): Error {
  return badInput(
    `${at} has no column "${name}"; it has: ${list(columns)}. Name one with column: NAME (--column NAME)`,
  );
}

/** Bounded: a file may have thousands of columns. */
function list(names: readonly string[]): string {
  const shown = names.slice(0, 30).map((name) => name.slice(0, 60));
  return names.length > 30 ? `${shown.join(', ')}, and ${names.length - 30} more` : shown.join(', ') || 'none';
}
