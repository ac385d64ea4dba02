// Owns listing: a person's file or folder becomes a stream of items in an order and with ids that depend on the input
// alone. Bounded in memory whatever the input. Does not embed, store or send.

import { SwarmError } from '../../protocol/errors.ts';
import { readText, type EncodingErrors } from './list-decode.ts';
import { findFiles } from './list-files.ts';
import { badInput, type InputFile, type TextItem } from './list-item.ts';
import { readRows } from './list-rows.ts';
import {
  MAX_CHUNK_CHARS,
  MIN_CHUNK_CHARS,
  splitText,
  TextSplitter,
  type SplitMode,
  type SplitOptions,
} from './split.ts';

export type ListOptions = {
  /** Column of tables that holds the text; `text` unless told. */
  readonly column?: string;
  /** Column of tables that names the row; must be unique, which is not checked. */
  readonly idColumn?: string;
  /** `sentence` for text files and `none` for tables unless told. */
  readonly split?: SplitMode;
  readonly chunkChars?: number;
  /** What to do with bytes that are not UTF-8; `fail` unless told. */
  readonly encodingErrors?: EncodingErrors;
  /** Called after each file and every 1,000 items. */
  readonly onProgress?: (tally: ListTally) => void;
  readonly signal?: AbortSignal;
};

export type ListTally = {
  /** Files read to the end. */
  readonly files: number;
  readonly items: number;
  /** Rows and documents without any text. */
  readonly droppedEmpty: number;
  /** Table rows that became several items because they are longer than one may be. */
  readonly splitRows: number;
  readonly skippedUnsupported: number;
  readonly skippedHidden: number;
  readonly skippedLinks: number;
};

const PROGRESS_ITEMS = 1_000;

/**
 * Yields the items of a file or folder; returns the tally. Throws `bad-input` (file, line or offset, what to do) or
 * `canceled`; what was yielded before is then no complete listing.
 */
export async function* listItems(input: string, options: ListOptions = {}): AsyncGenerator<TextItem, ListTally> {
  checkOptions(options);
  const skipped = { unsupported: 0, hidden: 0, links: 0 };
  const counts = { files: 0, items: 0, droppedEmpty: 0, splitRows: 0 };
  const tally = (): ListTally => ({
    ...counts,
    skippedUnsupported: skipped.unsupported,
    skippedHidden: skipped.hidden,
    skippedLinks: skipped.links,
  });
  for await (const file of findFiles(input, skipped)) {
    for await (const item of listFile(file, options, counts)) {
      if (options.signal?.aborted) throw new SwarmError('canceled', `listing of ${input} was canceled`);
      counts.items++;
      yield item;
      if (counts.items % PROGRESS_ITEMS === 0) options.onProgress?.(tally());
    }
    counts.files++;
    options.onProgress?.(tally());
  }
  if (counts.items === 0) throw badInput(`${input} holds no text: ${counts.files} files, all empty; name other input`);
  return tally();
}

function checkOptions({ chunkChars }: ListOptions): void {
  if (chunkChars === undefined) return;
  if (Number.isInteger(chunkChars) && chunkChars >= MIN_CHUNK_CHARS && chunkChars <= MAX_CHUNK_CHARS) return;
  throw badInput(
    `chunkChars is ${chunkChars}; it must be a whole number from ${MIN_CHUNK_CHARS} to ${MAX_CHUNK_CHARS}`,
  );
}

type Counts = { droppedEmpty: number; splitRows: number };

function listFile(file: InputFile, options: ListOptions, counts: Counts): AsyncGenerator<TextItem> {
  const isText = file.kind === 'text' || file.kind === 'markdown';
  const { chunkChars } = options;
  const split: SplitOptions = {
    split: options.split ?? (isText ? 'sentence' : 'none'),
    isMarkdown: file.kind === 'markdown',
    ...(chunkChars !== undefined && { chunkChars }),
  };
  return isText ? listDocument(file, split, options, counts) : listTable(file, split, options, counts);
}

async function* listDocument(
  file: InputFile,
  split: SplitOptions,
  options: ListOptions,
  counts: Counts,
): AsyncGenerator<TextItem> {
  const splitter = new TextSplitter(split);
  const { source } = file;
  let number = 0;
  for await (const portion of readText(file.path, options.encodingErrors ?? 'fail')) {
    for (const text of splitter.push(portion)) yield { id: `${source}#${++number}`, source, text };
  }
  for (const text of splitter.end()) yield { id: `${source}#${++number}`, source, text };
  if (number === 0) counts.droppedEmpty++;
}

async function* listTable(
  file: InputFile,
  split: SplitOptions,
  options: ListOptions,
  counts: Counts,
): AsyncGenerator<TextItem> {
  const { source } = file;
  const { column = 'text', idColumn, encodingErrors = 'fail' } = options;
  for await (const row of readRows(file, { column, encodingErrors, ...(idColumn !== undefined && { idColumn }) })) {
    const texts = splitText(row.text, split);
    const id = row.id ?? `${source}#${row.number}`;
    if (texts.length === 0) counts.droppedEmpty++;
    else if (texts.length > 1 && split.split === 'none') counts.splitRows++;
    for (const [i, text] of texts.entries()) yield { id: texts.length > 1 ? `${id}.${i + 1}` : id, source, text };
  }
}

/** Runs a listing to its end and hands each item on; returns the tally. */
export async function forEachItem(
  listing: AsyncGenerator<TextItem, ListTally>,
  onItem: (item: TextItem) => Promise<void>,
): Promise<ListTally> {
  for (;;) {
    const next = await listing.next();
    if (next.done) return next.value;
    await onItem(next.value);
  }
}
