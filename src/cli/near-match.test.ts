import { expect, test } from 'vitest';
import { findNear } from './near-match.ts';

const WORDS = ['port', 'publicHosts', 'quota', 'threads', 'slots'];

test.each([
  ['prot', 'port'],
  ['Quota', 'quota'],
  ['qutoa', 'quota'],
  ['theads', 'threads'],
  ['publichost', 'publicHosts'],
  ['slotz', 'slots'],
  ['zebra', undefined],
  ['', undefined],
])('"%s" is near %s', (word, expected) => expect(findNear(word, WORDS)).toBe(expected));

test('the nearest of several wins', () => expect(findNear('slot', ['slow', 'slots', 'slot'])).toBe('slot'));
