import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_TEXT_BYTES } from './list-item.ts';
import { normaliseText } from './normalise.ts';
import { splitText, TextCleaner, TextSplitter, type SplitOptions } from './split.ts';

const SENTENCES: SplitOptions = { split: 'sentence' };

/** `|` marks where a sentence should end; the text is split without the marks. */
function check(marked: string, options: SplitOptions = SENTENCES): void {
  const expected = marked.split('|').map((piece) => normaliseText(piece));
  expect(splitText(marked.replaceAll('|', ''), options)).toEqual(expected);
}

describe('sentences', () => {
  test.each([
    'It rained. |We stayed in! |Did you? |Yes.',
    'Mr. Smith met Dr. Jones and Mrs. B. White on Main St. yesterday. |They spoke.',
    'Harry S. Truman spoke. |So did J. F. K. and George W. Bush.',
    'The U.S. Senate met in the U.S. |We watched.',
    'It cost $3.50 or 4.2 percent. |No. 5 won. |No. |We lost.',
    'He came at 5 p.m. |The door was shut. |She came at 6 p.m. on Monday.',
    'Bread, milk, etc. |They ate. |Cats, e.g. Tom, and dogs, i.e. Rex, slept.',
    '"Go away!" he said. |"I will." |Then she left.',
    'He wrote “All is well.” |Nobody believed it.',
    '“Stop.” |‘Why?’ |(Because.) |Fine.',
    'Well... maybe. |Well… |Perhaps.',
    'Really?! |Yes!!! |Then go.',
    '1. First point. |2. Second point.',
    'On Jan. 5 we left. |It was Jan. |The snow fell.',
    'Acme Inc. makes things. |It was founded by Acme Inc. |They grew.',
    'See fig. 3 and vol. II of it. |Then p. 12.',
    'World War I. |The end.',
    'one line\nwrapped here. |Next para\n\n|Heading without a dot\n\n|Body.',
    'lower case follows. like this',
    '今日は雨です。|明日は晴れ。|「はい。」|終わり',
    'Visit example.com or a.b.c today. |Version 2.0.1 is out.',
  ])('%s', (marked) => check(marked));

  test('markdown headings and lists end a sentence, in plain text they do not', () => {
    const text = '# The title\nSome prose that\nwraps. |More:\n|- first entry\n|- second entry\n|12. third entry';
    check(text.replace('title\n', 'title\n|'), { split: 'sentence', isMarkdown: true });
    expect(splitText('a dash\n- is no list here', SENTENCES)).toEqual(['a dash - is no list here']);
  });

  test('a text without any end is cut between words at the limit', () => {
    const pieces = splitText('word '.repeat(10_000), SENTENCES);
    expect(pieces.every((piece) => Buffer.byteLength(piece) <= MAX_TEXT_BYTES && /^(word ?)+$/.test(piece))).toBe(true);
    expect(pieces.join(' ').split(' ')).toHaveLength(10_000);
    expect(pieces.length).toBeLessThan(10);
  });

  test.each([
    '.'.repeat(200_000),
    '. '.repeat(100_000),
    ' '.repeat(200_000),
    '\r\n'.repeat(50_000),
    `"${"'".repeat(99_999)}`,
  ])('hostile text costs no more than its length', (text) => {
    const splitter = new TextSplitter(SENTENCES);
    for (let i = 0; i < text.length; i += 65_536) splitter.push(text.slice(i, i + 65_536));
    expect(splitter.end().every((piece) => Buffer.byteLength(piece) <= MAX_TEXT_BYTES)).toBe(true);
  });
});

describe('chunks', () => {
  test('end at a space', () => {
    expect(splitText('aaa bbb ccc ddd eee', { split: 'chunk', chunkChars: 8 })).toEqual(['aaa bbb', 'ccc ddd', 'eee']);
  });

  test('none leaves a short text whole', () => {
    expect(splitText('One. Two.\n\nThree.', { split: 'none' })).toEqual(['One. Two. Three.']);
  });
});

const prose = fc
  .array(
    fc.oneof(
      { weight: 8, arbitrary: fc.stringMatching(/^[A-Za-z0-9'é😀]{1,9}$/u) },
      fc.constantFrom(
        '.',
        '. ',
        '! ',
        '? ',
        '.” ',
        ' ',
        '\n',
        '\r\n',
        '\n\n',
        '\t',
        ', ',
        ' Mr. ',
        ' U.S. ',
        '。',
        '\u0007',
      ),
      fc.string({ unit: 'binary', maxLength: 5 }),
      fc.constant('x'.repeat(9_000)),
    ),
    { maxLength: 80 },
  )
  .map((parts) => parts.join(''));
const options = fc.record({
  split: fc.constantFrom('sentence' as const, 'chunk' as const, 'none' as const),
  chunkChars: fc.integer({ min: 16, max: 600 }),
  isMarkdown: fc.boolean(),
});

const letters = (text: string): string => text.replace(/[^\p{L}\p{N}]/gu, '').normalize('NFC');

describe('splitting', () => {
  test('loses no letter, keeps the order, and every piece is clean and within the limit', () => {
    fc.assert(
      fc.property(prose, options, (text, given) => {
        const pieces = splitText(text, given);
        for (const piece of pieces) {
          expect(piece).toBe(normaliseText(piece));
          expect(piece).not.toBe('');
          expect(Buffer.byteLength(piece)).toBeLessThanOrEqual(MAX_TEXT_BYTES);
        }
        expect(letters(pieces.join(''))).toBe(letters(normaliseText(text)));
      }),
    );
  });

  test('keeps words whole', () => {
    const words = fc.array(fc.constantFrom('The', 'cat.', 'Mr.', 'dog', '"Sat!"', 'U.S.', 'on', '3.5', 'mats?', 'A.'), {
      maxLength: 300,
    });
    fc.assert(
      fc.property(words, options, (list, given) => {
        expect(splitText(list.join(' '), given).flatMap((piece) => piece.split(' '))).toEqual(list);
      }),
    );
  });

  test('does not depend on how the text was read', () => {
    fc.assert(
      fc.property(prose, options, fc.array(fc.nat(200), { minLength: 1, maxLength: 50 }), (text, given, sizes) => {
        const splitter = new TextSplitter(given);
        const pieces: string[] = [];
        for (let at = 0, i = 0; at < text.length; i++) {
          const size = 1 + (sizes[i % sizes.length] as number) * (i % 7 === 0 ? 40 : 1);
          pieces.push(...splitter.push(text.slice(at, at + size)));
          at += size;
        }
        const whole = new TextSplitter(given);
        expect([...pieces, ...splitter.end()]).toEqual([...whole.push(text), ...whole.end()]);
      }),
    );
  });
});

test('the cleaner keeps line and paragraph ends apart across portions', () => {
  const cleaner = new TextCleaner();
  expect(['a\r', '\nb \n', '  \n c', '\t', 'd\n'].map((text) => cleaner.push(text)).join('')).toBe('a\nb\n\nc d');
});
