// Owns SentencePiece's text normalisation (rule "nmt_nfkc", whitespace collapsed, one dummy prefix) without its
// 240 KB table: the table equals NFKC applied to the longest composable run of at most four code points, plus the
// exceptions below. Does not know pieces or ids.

/** SentencePiece's visible space, U+2581. */
const SPACE_MARK = '▁';

const MAX_RUN = 4;
/** Code points, first and last, that are dropped; and those that become a space. */
const DELETED = [
  [0x01, 0x08],
  [0x0b, 0x0b],
  [0x0e, 0x1f],
  [0x7f, 0x7f],
  [0x8f, 0x8f],
  [0x9f, 0x9f],
] as const;
const BLANK = '\t\n\f\r\u061c\u1680\u200b\u200c\u200e\u200f\u2028\u2029\u2581\ufeff\ufffd';
const EXCEPTIONS = buildExceptions();
const PLAIN = /^[\x20-\x7e]*$/;
/** What may stand second in a composable run, once decomposed: marks, Hangul vowels and finals, Kirat Rai vowels. */
const COMPOSES = /^(?:\p{M}|[\u1161-\u1175\u11a8-\u11c2\u{16d67}])$/u;

/** The text as SentencePiece's unigram model sees it: '' or pieces of '▁word▁word'. Lone surrogates become spaces. */
export function normalizeForSentencePiece(text: string): string {
  const mapped = PLAIN.test(text) ? text : mapCharacters(text.toWellFormed());
  const collapsed = mapped.replace(/ +/g, ' ').replace(/^ | $/g, '');
  return collapsed === '' ? '' : SPACE_MARK + collapsed.replaceAll(' ', SPACE_MARK);
}

function mapCharacters(text: string): string {
  const characters = Array.from(text);
  if (!characters.some((character) => EXCEPTIONS.has(character)) && text.normalize('NFKC') === text) return text;
  let mapped = '';
  for (let at = 0; at < characters.length;) {
    const run = composableRun(characters, at);
    mapped += run.output;
    at += run.length;
  }
  return mapped;
}

type Run = { readonly length: number; readonly output: string };

function composableRun(characters: readonly string[], at: number): Run {
  const second = characters[at + 1];
  if (second !== undefined && COMPOSES.test(second.normalize('NFKD'))) {
    for (let length = Math.min(MAX_RUN, characters.length - at); length > 1; length -= 1) {
      const output = composeRun(characters.slice(at, at + length));
      if (output !== undefined) return { length, output };
    }
  }
  return { length: 1, output: mapCharacter(characters[at] ?? '') };
}

/** The one character that a run composes to, if its parts are simple and already in canonical order. */
function composeRun(run: readonly string[]): string | undefined {
  const parts = run.map((character) => character.normalize('NFKD'));
  if (parts.some((part) => codePoints(part) !== 1)) return undefined;
  const output = run.join('').normalize('NFKC');
  return codePoints(output) === 1 && output.normalize('NFKD') === parts.join('') ? output : undefined;
}

function mapCharacter(character: string): string {
  return EXCEPTIONS.get(character) ?? character.normalize('NFKC');
}

function buildExceptions(): ReadonlyMap<string, string> {
  const exceptions = new Map([['\uff5e', '\uff5e']]);
  for (const blank of BLANK) exceptions.set(blank, ' ');
  for (const [first, last] of DELETED) {
    for (let code = first; code <= last; code += 1) exceptions.set(String.fromCodePoint(code), '');
  }
  return exceptions;
}

function codePoints(text: string): number {
  return Array.from(text).length;
}
