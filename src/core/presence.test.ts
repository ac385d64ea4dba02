import { describe, expect, test } from 'vitest';
import { CoreHarness, key } from '../../test/helpers/core-harness.ts';
import { departureRate, withDepartures } from './presence.ts';

const [ANNA, BEN] = [key(11), key(12)];
const HOUR_MS = 3_600_000;

/** A peer that is heard every few seconds for a while. */
function stay(swarm: CoreHarness, peer: typeof ANNA, durationMs: number): void {
  for (let left = durationMs; left > 0; left -= 10_000) {
    swarm.at += 10_000;
    swarm.send({ kind: 'heartbeat', peer, link: swarm.linkOf(peer), cursors: [] });
    swarm.send({ kind: 'tick' });
  }
}

describe('departures', () => {
  test('a peer that keeps leaving is expected to leave again; one that stays is not', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    stay(swarm, ANNA, 4 * HOUR_MS);
    swarm.join(BEN);
    for (let i = 0; i < 8; i++) {
      stay(swarm, BEN, 600_000);
      swarm.wait(60_000);
      swarm.connect(BEN);
    }
    const [anna, ben] = [departureRate(swarm.state, ANNA, swarm.at), departureRate(swarm.state, BEN, swarm.at)];
    expect(ben).toBeGreaterThan(1 / HOUR_MS);
    expect(anna).toBeLessThan(ben / 5);
    swarm.restart();
    expect(departureRate(swarm.state, BEN, swarm.at)).toBe(ben);
  });

  test('the hours of the week differ, and what was of late counts less and less', () => {
    const swarm = new CoreHarness();
    swarm.join(ANNA);
    for (let i = 0; i < 12; i++) {
      stay(swarm, ANNA, 240_000);
      swarm.wait(60_000);
      swarm.connect(ANNA);
    }
    const sameHour = departureRate(swarm.state, ANNA, swarm.at + 168 * HOUR_MS - 1_000_000);
    const otherHour = departureRate(swarm.state, ANNA, swarm.at + 100 * HOUR_MS);
    expect(sameHour).toBeGreaterThan(2 * otherHour);
    expect(departureRate(swarm.state, ANNA, swarm.at)).toBeGreaterThan(otherHour);
  });

  test('short items hardly notice, long ones cost much more than their length, but never without bound', () => {
    const rate = 1 / HOUR_MS;
    expect(withDepartures(1_000, rate)).toBeCloseTo(1_000, 0);
    expect(withDepartures(HOUR_MS, rate) / HOUR_MS).toBeCloseTo(Math.E - 1, 5);
    expect(withDepartures(100 * HOUR_MS, rate)).toBe(2_000 * HOUR_MS);
    expect(withDepartures(0, rate)).toBe(0);
  });
});
