// Which texts run through the network together.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MAX_PADDING, MIN_BATCH_TOKENS, toBatches } from './encoder-batches.ts';

const textsArb = fc
  .array(fc.integer({ min: 0, max: 128 }), { maxLength: 200 })
  .map((lengths) => lengths.map((length) => Array.from({ length }, () => 7)));

test('every text is in one batch, shortest first, and no batch has too many', () => {
  fc.assert(
    fc.property(textsArb, fc.integer({ min: 1, max: 40 }), (texts, most) => {
      const batches = toBatches(texts, most);
      const order = batches.flat();
      expect(order.toSorted((a, b) => a - b)).toEqual(texts.map((_, index) => index));
      const lengths = order.map((index) => texts[index]?.length ?? -1);
      expect(lengths).toEqual(lengths.toSorted((a, b) => a - b));
      expect(batches.every((batch) => batch.length > 0 && batch.length <= most)).toBe(true);
    }),
  );
});

test('a batch is padded much only while it is small', () => {
  fc.assert(
    fc.property(textsArb, (texts) => {
      for (const batch of toBatches(texts, 32)) {
        const lengths = batch.map((index) => texts[index]?.length ?? 0);
        const [tokens, longest] = [lengths.reduce((sum, length) => sum + length, 0), lengths.at(-1) ?? 0];
        const withoutLast = (lengths.length - 1) * (lengths.at(-2) ?? 0);
        const isLittle = lengths.length * longest <= (1 + MAX_PADDING) * tokens;
        expect(isLittle || withoutLast < MIN_BATCH_TOKENS).toBe(true);
      }
    }),
  );
});

test('texts of one length fill their batches', () => {
  const texts = Array.from({ length: 70 }, () => Array.from({ length: 20 }, () => 7));
  expect(toBatches(texts, 32).map((batch) => batch.length)).toEqual([32, 32, 6]);
});
