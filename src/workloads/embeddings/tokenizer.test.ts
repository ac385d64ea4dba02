import { describe, expect, test } from 'vitest';
import { UnigramTokenizer, type Piece } from './tokenizer.ts';

const PIECES: readonly Piece[] = [
  ['<unk>', 0],
  ['▁', -4],
  ['a', -3],
  ['b', -3],
  ['ab', -5],
  ['▁ab', -7.5],
  ['abab', -10],
];
const tokenizer = new UnigramTokenizer({ pieces: PIECES, unknownId: 0, firstNormalId: 1 });

function check(text: string, expected: readonly number[], maxTokens = 100): void {
  expect(tokenizer.encode(text, maxTokens), JSON.stringify(text)).toEqual(expected);
}

describe('UnigramTokenizer', () => {
  test('takes the split with the highest sum of scores', () => {
    check('▁ab', [5]);
    check('ab', [4]);
    check('▁ba', [1, 3, 2]);
  });

  test('keeps the path found first when two score alike', () => {
    check('abab', [6]);
  });

  test('has no ids for no text', () => check('', []));

  test('merges a run of unknown characters, and counts a surrogate pair as one character', () => {
    check('xyz', [0]);
    check('a\u{1f44b}\u{1f44b}b', [2, 0, 3]);
    check('xax', [0, 2, 0]);
  });

  test('truncates after segmentation', () => check('ba', [3], 1));
});
