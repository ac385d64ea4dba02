// Owns where an English sentence ends: abbreviations, initials, decimals, enumerations and quotes are no ends.
// Works on text whose whitespace is collapsed (see TextCleaner). Knows no files and no lengths.

/** Quantifiers are bounded: a megabyte of dots must not cost its square. */
const CANDIDATE = /[.!?…]{1,8}["'”’»)\]*_]{0,4}\s+|[。！？]{1,8}[」』”’）]{0,4}\s*|\n\n/gu;
const MARKDOWN_CANDIDATE =
  /[.!?…]{1,8}["'”’»)\]*_]{0,4}\s+|[。！？]{1,8}[」』”’）]{0,4}\s*|\n\n|\n(?=(?:[-*+•>]|#{1,6}|\d{1,3}[.)]) )/gu;
const OPENERS = /^["'“‘«([*_¿¡]+/u;
const LOWER = /^\p{Ll}/u;
const DIGIT = /^\p{N}/u;
/** What stands alone before its dot counts a list: `1.`, `a.`, `iv.` */
const ENUMERATOR = /^\s*["“(]?(?:\d{1,3}|\p{L}|[ivxIVX]{1,6})$/u;
const DOTTED = /^(?:\p{L}\.)+\p{L}$/u;
const SINGLE_LETTER = /^\p{L}$/u;
const NEXT_WORD = /^(\p{L}+)(?:[\s,'’]|$)/u;

/** Always followed by a name. */
const TITLES = words(`
  mr mrs ms messrs mme dr prof rev hon pres gov sen rep gen lt col capt maj sgt cpl pvt cmdr adm brig supt amb e.g i.e
  cf viz vs`);
/** An end only when what follows is no number. */
const NUMBERED = words('no nos p pp');
/** An end only when the next word is one that begins sentences. */
const OPEN_ENDED = words(`
  jan feb mar apr jun jul aug sept sep oct nov dec mon tue wed thu fri sat sun st mt ft art sec vol fig ch ed eds dept
  univ assn bros corp inc ltd co jr sr esq etc al approx est ave blvd rd ph.d`);
const STARTERS = words(`
  a after all also although an and another any as at because before both but by did do does during each even every few
  first for from had has have he her here his how however i if in is it its last let many more moreover most much my
  neither never no nobody none nor not nothing now of on once one only or our over second she since so some still such
  that the their then there therefore these they third this those though through thus to today tomorrow tonight under
  until we well were what when where whether which while who why will with without yes yet you your`);

function words(list: string): ReadonlySet<string> {
  return new Set(list.trim().split(/\s+/));
}

/**
 * The index just behind the first sentence of `text` and the space after it, or undefined when no sentence ends before
 * the text does. The answer may depend on up to 40 characters behind that index.
 */
export function findSentenceEnd(text: string, isMarkdown: boolean): number | undefined {
  const pattern = isMarkdown ? MARKDOWN_CANDIDATE : CANDIDATE;
  const heading = isMarkdown && /^\s*#{1,6} /.test(text) ? text.indexOf('\n', text.search(/\S/)) : -1;
  pattern.lastIndex = 0;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    if (heading >= 0 && heading < match.index) break;
    const end = match.index + match[0].length;
    if (isEnd(text, match.index, match[0], end)) return end;
  }
  return heading >= 0 ? heading + 1 : undefined;
}

function isEnd(text: string, start: number, mark: string, end: number): boolean {
  if (mark.includes('\n\n') || mark === '\n' || /^[。！？]/u.test(mark)) return true;
  const next = text.slice(end, end + 40).replace(OPENERS, '');
  if (LOWER.test(next)) return false;
  return mark.trimEnd().replace(/["'”’»)\]*_]+$/u, '') === '.' ? isEndingDot(text, start, next) : true;
}

function isEndingDot(text: string, start: number, next: string): boolean {
  if (start <= 8 && ENUMERATOR.test(text.slice(0, start))) return false;
  const word = wordBefore(text, start);
  const lower = word.toLowerCase();
  if (TITLES.has(lower)) return false;
  if (NUMBERED.has(lower)) return !DIGIT.test(next);
  if (OPEN_ENDED.has(lower) || DOTTED.test(word) || SINGLE_LETTER.test(word)) return beginsSentence(next);
  return true;
}

function beginsSentence(next: string): boolean {
  const word = NEXT_WORD.exec(next)?.[1];
  return next === '' || (word !== undefined && STARTERS.has(word.toLowerCase()));
}

/** The word that ends at `end`, at most 40 characters of it, without what opens it. */
function wordBefore(text: string, end: number): string {
  const near = text.slice(Math.max(0, end - 40), end);
  const space = Math.max(near.lastIndexOf(' '), near.lastIndexOf('\n'), near.lastIndexOf('-'), near.lastIndexOf('—'));
  return near.slice(space + 1).replace(OPENERS, '');
}
