import { expect, test } from 'vitest';
import { createSteadyNow } from './clock.ts';

test('time follows the wall clock forwards, and goes on at its own pace when that is set back', () => {
  let [wall, monotonic] = [1_000_000, 50];
  const now = createSteadyNow(
    () => wall,
    () => monotonic,
  );
  const pass = (wallMs: number, monotonicMs: number): number => {
    wall += wallMs;
    monotonic += monotonicMs;
    return now();
  };
  expect(now()).toBe(1_000_000);
  expect(pass(10, 10)).toBe(1_000_010);
  // Set back by an hour while 20 ms pass.
  expect(pass(-3_600_000, 20)).toBe(1_000_030);
  expect(pass(5_000, 5_000)).toBe(1_005_030);
  // A suspended machine's monotonic clock stands still; its wall clock does not.
  expect(pass(7_200_000, 1)).toBe(wall);
});
