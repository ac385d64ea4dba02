// Owns what a text looks like before it is embedded: normal form, single spaces, no control characters, bounded length.
// Knows no files and no sentences.

import { MAX_TEXT_BYTES } from './list-item.ts';

// NEL is a line end to Unicode but no whitespace to JavaScript; U+FEFF is the reverse, and means nothing inside a text.
const INVISIBLE = /(?![\s\u0085])\p{Cc}|\ufeff/gu;
const SPACES = /[\s\u0085]+/g;
const NOTHING_VISIBLE = /^[\p{Cf}\p{Z}]*$/u;

/**
 * NFC, control characters and byte order marks removed, every run of whitespace one space, none at the ends, lone
 * surrogates replaced. A text of which nothing would be visible becomes ''. Normalising twice changes nothing.
 */
export function normaliseText(text: string): string {
  const spaced = removeInvisible(text.toWellFormed()).replace(SPACES, ' ').trim().normalize('NFC');
  return NOTHING_VISIBLE.test(spaced) ? '' : spaced;
}

/** Removes what nobody sees: control characters that are no whitespace, and byte order marks. */
export function removeInvisible(text: string): string {
  return text.replace(INVISIBLE, '');
}

/** Cuts a normalised text into pieces of at most `maxBytes` of UTF-8, between words where there is a space. */
export function fitText(text: string, maxBytes = MAX_TEXT_BYTES): string[] {
  const pieces: string[] = [];
  let rest = text;
  // A UTF-16 unit takes at most 3 bytes, so short texts need no counting.
  while (rest.length * 3 > maxBytes && Buffer.byteLength(rest) > maxBytes) {
    const cut = cutAt(rest, maxBytes);
    pieces.push(rest.slice(0, cut).trimEnd());
    rest = rest.slice(cut).trimStart();
  }
  if (rest !== '') pieces.push(rest);
  return pieces;
}

/** The index of the last space that leaves a prefix of at most `maxBytes`, else of the last whole character. */
function cutAt(text: string, maxBytes: number): number {
  let [sizeBytes, index, lastSpace] = [0, 0, 0];
  for (const character of text) {
    if (character === ' ') lastSpace = index;
    sizeBytes += Buffer.byteLength(character);
    if (sizeBytes > maxBytes) break;
    index += character.length;
  }
  return lastSpace > 0 ? lastSpace : index;
}
