import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fitText, normaliseText } from './normalise.ts';

describe('normaliseText', () => {
  test.each([
    ['  a \t\r\n  b  ', 'a b'],
    ['a\u0085b\u2028c\u00a0d', 'a b c d'],
    ['e\u0301', 'é'],
    ['bell\u0007s and \u0000nul', 'bells and nul'],
    ['a \u0007 b', 'a b'],
    ['\ufeffmark', 'mark'],
    ['half \ud83d pair', 'half \ufffd pair'],
    ['\u200b\u2060 \u00ad', ''],
    ['👩‍👩‍👧', '👩‍👩‍👧'],
  ])('%j → %j', (text, expected) => {
    expect(normaliseText(text)).toBe(expected);
  });

  test('normalising twice changes nothing, and the result is clean', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        const once = normaliseText(text);
        expect(normaliseText(once)).toBe(once);
        expect(once).not.toMatch(/\p{Cc}|\s\s|^\s|\s$/u);
        expect(once.isWellFormed()).toBe(true);
      }),
    );
  });
});

describe('fitText', () => {
  test('cuts between words', () => {
    expect(fitText('one two three four', 9)).toEqual(['one two', 'three', 'four']);
  });

  test('cuts a word that is too long without halving a character', () => {
    expect(fitText('ééééé', 5)).toEqual(['éé', 'éé', 'é']);
    expect(fitText('😀😀😀', 9)).toEqual(['😀😀', '😀']);
  });

  test('pieces fit, none is empty, and together they are the text', () => {
    const words = fc.array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }), { maxLength: 60 });
    fc.assert(
      fc.property(words, fc.integer({ min: 4, max: 200 }), (parts, maxBytes) => {
        const text = normaliseText(parts.join(' '));
        const pieces = fitText(text, maxBytes);
        for (const piece of pieces) {
          expect(Buffer.byteLength(piece)).toBeLessThanOrEqual(maxBytes);
          expect(piece).not.toBe('');
        }
        expect(pieces.join('').replaceAll(' ', '')).toBe(text.replaceAll(' ', ''));
      }),
    );
  });
});
