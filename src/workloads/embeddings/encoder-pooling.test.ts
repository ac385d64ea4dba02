import { describe, expect, test } from 'vitest';
import { normalizeRows, poolTokens } from './encoder-pooling.ts';
import type { Pooling } from './model-folder.ts';

// Two texts of up to three tokens; the second has one, and padding that must not show.
const vectors = { values: Float32Array.of(1, -2, 3, 4, 5, 1, -7, -8, 99, 99, 99, 99), tokens: 3, dims: 2 };

describe('poolTokens', () => {
  test.each<[Pooling, number[]]>([
    ['mean', [3, 1, -7, -8]],
    ['cls', [1, -2, -7, -8]],
    ['max', [5, 4, -7, -8]],
    ['lasttoken', [5, 1, -7, -8]],
  ])('%s', (pooling, expected) => expect(Array.from(poolTokens(vectors, [3, 1], pooling))).toEqual(expected));
});

describe('normalizeRows', () => {
  test('gives rows of length 1 and leaves zeros', () => {
    const rows = normalizeRows(Float32Array.of(3, 4, 0, 0), 2);
    expect(Array.from(rows, (value) => value.toFixed(3))).toEqual(['0.600', '0.800', '0.000', '0.000']);
  });
});
