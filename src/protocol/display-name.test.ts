import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_DISPLAY_NAME_CHARS, toDisplayName } from './display-name.ts';

describe('toDisplayName', () => {
  test.each([
    ['plain', 'Bob the 3070', 'Bob the 3070'],
    ['other scripts', 'Ольга', 'Ольга'],
    ['scripts that nobody mistakes', '田中 PC', '田中 PC'],
    ['emoji', 'gpu 🐉', 'gpu 🐉'],
    ['a Cyrillic а in a Latin name', 'pаul', 'p?ul'],
    ['bidirectional override', 'bob\u202egnp.exe', 'bobgnp.exe'],
    ['zero width', 'b\u200bo\u2060b\ufeff', 'bob'],
    ['control characters and terminal escapes', 'bob\u001b[31m\u0007', 'bob[31m'],
    ['line breaks', 'bob\nadmin:\tyes', 'bob admin: yes'],
    ['fullwidth letters', 'ｂｏｂ', 'bob'],
    ['fillers that render as nothing', '\u3164\u115f\u2800', 'unnamed'],
    ['piled marks', `a${'\u0301'.repeat(40)}b`, 'á\u0301b'],
    ['nothing', '  ', 'unnamed'],
  ])('%s', (_what, name, shown) => {
    expect(toDisplayName(name)).toBe(shown);
  });

  test('is bounded, well formed, and the same when done twice', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (name) => {
        const shown = toDisplayName(name);
        expect(shown.length).toBeLessThanOrEqual(MAX_DISPLAY_NAME_CHARS);
        expect(shown.length).toBeGreaterThan(0);
        expect(shown.isWellFormed()).toBe(true);
        expect(toDisplayName(shown)).toBe(shown);
      }),
      { numRuns: 300 },
    );
    expect(toDisplayName('🐉'.repeat(100))).toBe('🐉'.repeat(32));
  });
});
