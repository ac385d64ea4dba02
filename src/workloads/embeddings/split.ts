// Owns cutting a stream of text into pieces (sentences, chunks or as little as the limit asks) in bounded memory.
// Where the pieces fall never depends on how the stream was read. Knows no files and no items.

import { assert } from '../../lib/assert.ts';
import { MAX_TEXT_BYTES } from './list-item.ts';
import { fitText, normaliseText, removeInvisible } from './normalise.ts';
import { findSentenceEnd } from './split-sentence.ts';

export type SplitMode = 'sentence' | 'chunk' | 'none';

export type SplitOptions = {
  readonly split: SplitMode;
  /** Longest chunk in UTF-16 units; used by `chunk` only. */
  readonly chunkChars?: number;
  /** Headings and list entries end a sentence. */
  readonly isMarkdown?: boolean;
};

/** About what an encoder of 128 tokens reads. */
export const DEFAULT_CHUNK_CHARS = 500;
export const MIN_CHUNK_CHARS = 16;
export const MAX_CHUNK_CHARS = MAX_TEXT_BYTES;

/** No piece is longer; the window adds what a sentence's end may look at behind it. */
const MAX_PIECE_CHARS = MAX_TEXT_BYTES;
const WINDOW_CHARS = MAX_PIECE_CHARS + 64;

/**
 * Removes what is invisible from a stream, and collapses whitespace to ' ', '\n' or (a paragraph's end) '\n\n', so that
 * no run of it can fill memory.
 */
export class TextCleaner {
  #held = '';

  push(text: string): string {
    const all = this.#held + removeInvisible(text);
    const end = endOfVisible(all);
    this.#held = heldSpace(all.slice(end));
    return all.slice(0, end).replace(/[\s\u0085]+/g, toSpace);
  }
}

function endOfVisible(text: string): number {
  let end = text.length;
  while (end > 0 && /[\s\u0085]/.test(text[end - 1] as string)) end--;
  return end;
}

/** Keeps a final carriage return apart: it and a newline that the next read begins with are one line end. */
function heldSpace(run: string): string {
  if (run === '') return '';
  return run.endsWith('\r') ? (run.length > 1 ? toSpace(run.slice(0, -1)) : '') + '\r' : toSpace(run);
}

function toSpace(run: string): string {
  if (run === ' ') return run;
  const lines = run.replace(/\r\n?|[\u0085\u2028]/g, '\n').match(/[\n\f\u2029]/g);
  if (lines === null) return ' ';
  return lines.length > 1 || lines[0] !== '\n' ? '\n\n' : '\n';
}

/** Cuts text that is pushed in any portions. At most one window and one portion are held. */
export class TextSplitter {
  readonly #cut: (window: string, isLast: boolean) => number;
  readonly #cleaner = new TextCleaner();
  #text = '';

  constructor(options: SplitOptions) {
    this.#cut = toCut(options);
  }

  /** Takes the next portion; returns the pieces that are certain now, normalised and none of them empty. */
  push(text: string): string[] {
    this.#text += this.#cleaner.push(text);
    return this.#take(false);
  }

  /** Returns the last pieces. */
  end(): string[] {
    return this.#take(true);
  }

  /** Decides only with a full window or at the end, so that reads of another size give the same pieces. */
  #take(isLast: boolean): string[] {
    const pieces: string[] = [];
    let start = 0;
    while (this.#text.length - start >= WINDOW_CHARS || (isLast && start < this.#text.length)) {
      const window = this.#text.slice(start, start + WINDOW_CHARS);
      const end = this.#cut(window, isLast && start + WINDOW_CHARS >= this.#text.length);
      assert(end > 0 && end <= window.length, `cut at ${end} in a window of ${window.length}`);
      pieces.push(...fitText(normaliseText(window.slice(0, end))));
      start += end;
    }
    this.#text = this.#text.slice(start);
    return pieces;
  }
}

/** Splits one text that is already in memory. */
export function splitText(text: string, options: SplitOptions): string[] {
  if (options.split === 'none') return fitText(normaliseText(text));
  const splitter = new TextSplitter(options);
  return [...splitter.push(text), ...splitter.end()];
}

function toCut(options: SplitOptions): (window: string, isLast: boolean) => number {
  if (options.split === 'none') return (window, isLast) => cutAtWord(window, MAX_PIECE_CHARS, isLast);
  if (options.split === 'chunk') {
    const chunkChars = options.chunkChars ?? DEFAULT_CHUNK_CHARS;
    return (window, isLast) => cutAtWord(window, chunkChars, isLast);
  }
  return (window, isLast) => {
    const end = findSentenceEnd(window, options.isMarkdown ?? false);
    return end !== undefined && end <= MAX_PIECE_CHARS ? end : cutAtWord(window, MAX_PIECE_CHARS, isLast);
  };
}

/** The index behind the last space among the first `maxChars`, else `maxChars` without halving a character. */
function cutAtWord(window: string, maxChars: number, isLast: boolean): number {
  if (isLast && window.length <= maxChars) return window.length;
  for (let i = Math.min(maxChars, window.length - 1); i > 0; i--) if (/\s/.test(window[i] as string)) return i;
  const cut = Math.min(maxChars, window.length);
  return isHighSurrogate(window.charCodeAt(cut - 1)) && cut > 1 ? cut - 1 : cut;
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}
