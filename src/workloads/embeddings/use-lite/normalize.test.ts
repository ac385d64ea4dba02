import { describe, expect, test } from 'vitest';
import { normalizeForSentencePiece } from './normalize.ts';

describe('normalizeForSentencePiece', () => {
  test.each([
    ['plain words', '▁plain▁words'],
    ['  runs   and ends  ', '▁runs▁and▁ends'],
    ['tab\tand\nline', '▁tab▁and▁line'],
    ['', ''],
    [' \u3000\u200b', ''],
    ['\u0001', ''],
    ['de\u0007leted', '▁deleted'],
    ['ﬁne Ａ①½', '▁fine▁A11⁄2'],
    ['e\u0301', '▁é'],
    ['wave\uff5e', '▁wave\uff5e'],
    ['▁mark▁', '▁mark'],
    ['가', '▁가'],
    ['\ud800lone', '▁lone'],
  ])('%j → %j', (text, expected) => expect(normalizeForSentencePiece(text)).toBe(expected));

  test('composes only what stands in canonical order, as SentencePiece does and NFKC does not', () => {
    const dotBelowAfterAcute = 'a\u0301\u0323';
    expect(dotBelowAfterAcute.normalize('NFKC')).toBe('ạ\u0301');
    expect(normalizeForSentencePiece(dotBelowAfterAcute)).toBe('▁á\u0323');
  });
});
