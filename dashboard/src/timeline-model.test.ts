import { expect, test } from 'vitest';
import type { Epoch, JobId, KeyId } from '../../src/lib/ids.ts';
import type { AttemptView } from '../../src/protocol/views.ts';
import { Attempts, layOut, listNews } from './timeline-model.ts';

const [ANNA, BEN] = ['a', 'b'].map((digit) => `ed25519:${digit.repeat(64)}` as KeyId) as [KeyId, KeyId];
let counter = 0;

function attempt(over: Partial<AttemptView>): AttemptView {
  return {
    ...{ epoch: `1.${++counter}` as Epoch, job: '0123456789abcdef' as JobId, stage: 'map', peer: ANNA },
    ...{ start: 0, end: 10, why: 'fresh', startedAt: 0, ...over },
  };
}

test('attempts that overlap stand in lanes of their own, those that follow each other in one', () => {
  const first = attempt({ startedAt: 0, endedAt: 1_000, how: 'accepted' });
  const second = attempt({ startedAt: 500, endedAt: 2_000, how: 'accepted' });
  const third = attempt({ startedAt: 990, endedAt: 1_500, how: 'accepted' });
  const { bars, rows, lanes } = layOut([first, second, third], [BEN, ANNA]);
  expect(bars.map(({ lane }) => lane)).toEqual([0, 1, 0]);
  expect(rows).toEqual([{ peer: ANNA, firstLane: 0, lanes: 2 }]);
  expect(lanes).toBe(2);
});

test('the time in the queue is not drawn as running', () => {
  const { bars } = layOut([attempt({ startedAt: 0, endedAt: 100, durationMs: 30, how: 'accepted' })], [ANNA]);
  expect(bars[0]).toMatchObject({ from: 70, to: 100, kind: 'fresh' });
});

test('of what goes on, the oldest runs and the others wait', () => {
  const { bars } = layOut([attempt({ startedAt: 5 }), attempt({ startedAt: 1, why: 'stolen' })], [ANNA]);
  expect(bars.map(({ kind, to }) => [kind, to])).toEqual([
    ['stolen', undefined],
    ['queued', undefined],
  ]);
});

test('rows follow the order of peers, and those that are gone come last', () => {
  const { rows } = layOut([attempt({ peer: ANNA }), attempt({ peer: BEN })], [BEN]);
  expect(rows.map(({ peer }) => peer)).toEqual([BEN, ANNA]);
});

test('a new coordinator is asked from the beginning, and what was seen before stays, ended', () => {
  const attempts = new Attempts();
  const open = attempt({ startedAt: 10 });
  expect(attempts.take({ incarnation: 1, now: 50, attempts: [open], next: 7 })).toBe(true);
  expect(attempts.next).toBe(7);
  expect(attempts.take({ incarnation: 2, now: 90, attempts: [], next: 3 })).toBe(false);
  expect(attempts.next).toBe(0);
  expect(attempts.list()).toEqual([{ ...open, endedAt: 50 }]);
});

test('no more attempts are kept than can be drawn', () => {
  const attempts = new Attempts();
  for (let i = 0; i < 12; i++)
    attempts.take({ incarnation: 1, now: 0, next: 0, attempts: Array.from({ length: 1_000 }, () => attempt({})) });
  expect(attempts.list()).toHaveLength(10_000);
});

test('news are steals, backups, losses, failures and tails that were given up, the newest first', () => {
  const news = listNews([
    attempt({ startedAt: 1, endedAt: 2, how: 'accepted' }),
    attempt({ startedAt: 3, why: 'stolen' }),
    attempt({ startedAt: 0, endedAt: 4, how: 'lost' }),
    attempt({ startedAt: 0, end: 6, endedAt: 5, how: 'accepted', cutFrom: 10 }),
  ]);
  expect(news.map(({ text }) => text)).toEqual([
    'gave 4 items to a faster peer',
    'was lost with its peer',
    'took over what a slower peer gave up',
  ]);
});
