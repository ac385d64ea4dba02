import { expect, test } from 'vitest';
import { openEvents } from './events.ts';
import { Session } from './session.ts';

/** A session whose live stream says these things and ends. */
function sessionOf(...events: unknown[]): Session {
  const text = events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(': still here\n\n');
  return Object.assign(Object.create(Session.prototype) as Session, { fetch: async () => new Response(text) });
}

const SWARM = { type: 'swarm', peers: [], jobs: [] };

test('comments and kinds of events that are unknown are passed over', async () => {
  const events = openEvents(sessionOf({ type: 'weather', sunny: true }, SWARM), {});
  expect((await events.next()).value).toEqual(SWARM);
  await events.return(undefined);
});

test('a known event in an unknown shape ends the watching with the reason, rather than never', async () => {
  const events = openEvents(sessionOf({ ...SWARM, rooms: [] }), {});
  await expect(events.next()).rejects.toMatchObject({ code: 'old-protocol' });
});
