// Owns how a name that somebody else chose is made fit to be shown: no control, bidirectional or invisible characters,
// no letters of several look-alike scripts, bounded. It cannot tell two people apart: the key id does that.

export const MAX_DISPLAY_NAME_CHARS = 64;
const UNNAMED = 'unnamed';

/** Scripts whose letters pass for one another. A name keeps the script of its first letter among them. */
const LOOK_ALIKE_SCRIPTS = [
  /\p{Script=Latin}/u,
  /\p{Script=Cyrillic}/u,
  /\p{Script=Greek}/u,
  /\p{Script=Armenian}/u,
  /\p{Script=Cherokee}/u,
  /\p{Script=Coptic}/u,
  /\p{Script=Lisu}/u,
];

/** Controls, formats (bidi among them), unassigned, private use, lone surrogates, and all that renders as nothing. */
const UNSHOWABLE = /[\p{C}\p{Default_Ignorable_Code_Point}\u2800]/gu;
/** More marks than this on one letter run into the lines around it. */
const MARK_PILE = /(\p{M}{2})\p{M}+/gu;

/** The name as it may be shown: NFKC, at most 64 UTF-16 units, `unnamed` when nothing is left. Idempotent. */
export function toDisplayName(name: string): string {
  const bounded = name.slice(0, 4 * MAX_DISPLAY_NAME_CHARS).toWellFormed();
  const plain = strip(strip(bounded).normalize('NFKC'));
  const shown = cut(keepOneScript(plain), MAX_DISPLAY_NAME_CHARS).trim();
  return shown === '' ? UNNAMED : shown;
}

function strip(text: string): string {
  return text.replace(/\s+/gu, ' ').replace(UNSHOWABLE, '').replace(MARK_PILE, '$1').replace(/ +/g, ' ').trim();
}

function keepOneScript(text: string): string {
  const scriptOf = (char: string) => LOOK_ALIKE_SCRIPTS.findIndex((script) => script.test(char));
  const own = text
    .match(/\p{L}/gu)
    ?.map(scriptOf)
    .find((script) => script >= 0);
  return text.replace(/\p{L}/gu, (char) => (scriptOf(char) >= 0 && scriptOf(char) !== own ? '?' : char));
}

/** Whole code points only, so that no half of a pair is left. */
function cut(text: string, maxChars: number): string {
  let kept = '';
  for (const char of text) {
    if (kept.length + char.length > maxChars) break;
    kept += char;
  }
  return kept;
}
