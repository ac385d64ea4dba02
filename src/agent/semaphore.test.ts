// Places are bounded, handed on in order, and waiting can be given up.

import { expect, test } from 'vitest';
import { Semaphore } from './semaphore.ts';

const SIGNAL = new AbortController().signal;

test('no more work at once than places, in the order in which it came', async () => {
  const semaphore = new Semaphore(2);
  const begun: number[] = [];
  const ends: (() => void)[] = [];
  const works = [0, 1, 2, 3].map((i) =>
    semaphore.run(SIGNAL, () => {
      begun.push(i);
      return new Promise<void>((resolve) => ends.push(resolve));
    }),
  );
  await expect.poll(() => begun).toEqual([0, 1]);
  ends[1]?.();
  await works[1];
  await expect.poll(() => begun).toEqual([0, 1, 2]);
  ends[0]?.();
  await works[0];
  await expect.poll(() => begun).toEqual([0, 1, 2, 3]);
  for (const end of ends) end();
  await Promise.all(works);
});

test('who gives up waiting takes no place, and failed work gives its own back', async () => {
  const semaphore = new Semaphore(1);
  const first = Promise.withResolvers<void>();
  const running = semaphore.run(SIGNAL, () => first.promise);
  const impatient = new AbortController();
  const waiting = semaphore.run(impatient.signal, () => Promise.resolve('never'));
  impatient.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
  first.reject(new Error('broken'));
  await expect(running).rejects.toThrow('broken');
  expect(await semaphore.run(SIGNAL, () => Promise.resolve('next'))).toBe('next');
});
