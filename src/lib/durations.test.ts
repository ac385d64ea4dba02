import { expect, test } from 'vitest';
import { formatDuration, parseDuration } from './durations.ts';

test.each([
  [0, '0ms'],
  [999, '999ms'],
  [3_200, '3.2s'],
  [59_960, '1m 00s'],
  [125_000, '2m 05s'],
  [3_900_000, '1h 05m'],
  [7 * 86_400_000, '7d 00h'],
])('%d ms is %s', (durationMs, text) => expect(formatDuration(durationMs)).toBe(text));

test('what is typed is parsed, or refused with examples', () => {
  expect(parseDuration('1.5h')).toEqual({ ok: true, value: 5_400_000 });
  for (const text of ['', '5', 'h', '-1s', '1 week']) expect(parseDuration(text).ok).toBe(false);
});
