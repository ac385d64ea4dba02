// Owns the bound of the dispatch benchmark: the pure core alone, fed with what two agents would say, without a store,
// a codec or sockets.

import type { EventBody } from '../src/core/event.ts';
import { createState } from '../src/core/state.ts';
import { step } from '../src/core/step.ts';
import type { JobId, KeyId } from '../src/lib/ids.ts';
import { parseJobSpec } from '../src/protocol/job-spec.ts';
import type { AssignedTask } from '../src/protocol/to-agent.ts';

const BACKLOG = 2_048;
const PEERS = [1, 2].map((digit) => `ed25519:${String(digit).repeat(64)}` as KeyId);
const SUBMITTER = `ed25519:${'9'.repeat(64)}` as KeyId;

/** Tasks per second of `count` one-item tasks. */
export function measureCore(count: number): number {
  const state = createState(1);
  const assigned = new Map<KeyId, AssignedTask[]>(PEERS.map((peer) => [peer, []]));
  let at = 0;
  const send = (body: EventBody): void => {
    for (const event of [body, { kind: 'schedule' } as const])
      for (const effect of step(state, { ...event, at: ++at }).effects)
        if (effect.kind === 'send' && effect.message.type === 'assign')
          assigned.get(effect.peer)?.push(...effect.message.tasks);
  };
  for (const [i, peer] of PEERS.entries()) {
    send({ kind: 'member-enrolled', request: 0, key: peer, name: `peer ${i}`, role: 'peer' });
    const devices = [{ id: 'cpu', kind: 'cpu' as const, name: 'bench', memoryBytes: 1e9, threads: 1 }];
    const hello = { protocol: 1, version: 'bench', name: 'bench', devices, backlog: BACKLOG, attempts: [] };
    send({ kind: 'link-opened', peer, link: i, hello: { type: 'hello', ...hello } });
  }
  const startedAt = performance.now();
  send(toSubmission(count));
  for (let done = 0; done < count;)
    for (const [i, peer] of PEERS.entries()) {
      const tasks = assigned.get(peer)?.splice(0) ?? [];
      if (tasks.length === 0) continue;
      const reports = tasks.map(({ epoch }) => ({ epoch, outcome: { kind: 'done' as const, durationMs: 0.01 } }));
      send({ kind: 'reported', peer, link: i, reports });
      done += tasks.length;
    }
  return count / ((performance.now() - startedAt) / 1_000);
}

function toSubmission(count: number): EventBody {
  const items = { kind: 'count', count } as const;
  const stages = [{ name: 'map', workload: 'noop', items, taskItems: 1, yieldsParts: false }];
  const spec = parseJobSpec({ v: 1, swarm: SUBMITTER, clientKey: 'bench', name: 'bench', stages });
  if (!spec.ok) throw new Error(spec.error);
  const jobId = '0123456789abcdef' as JobId;
  return { kind: 'job-submitted', request: 0, jobId, submitter: SUBMITTER, spec: spec.value, envelope: '{}' };
}
