// Owns the words for the scheduler's explanations: why a stage is not running, what would make it run, and why what
// runs is where it is.

import type { Explanation, Placement, Remedy } from '../core/schedule/explain.ts';
import type { Obstacle } from '../core/schedule/share.ts';
import type { StartReason } from '../core/trace.ts';
import { formatByteSize } from '../lib/byte-sizes.ts';
import type { PeerId } from '../lib/ids.ts';

type NameOf = (peer: PeerId) => string;

/** Sentences for people; the first one is the answer. */
export function explainInWords(explanation: Explanation, nameOf: NameOf, now: number): string[] {
  switch (explanation.kind) {
    case 'ended':
      return ['It has ended.'];
    case 'paused':
      return ['The job is paused: swarm resume lets it go on.'];
    case 'waits-for-stages':
      return [`It starts when these stages have finished: ${explanation.stages.join(', ')}.`];
    case 'all-assigned':
      return ['Everything that is left is handed out.'];
    case 'waits-to-retry':
      return [
        `What is left failed before and is tried again in ${toSeconds(Math.max(0, explanation.at - now))}.`,
        `The last reason: ${explanation.reason}`,
      ];
    case 'no-peer-connected':
      return ['No peer is connected: start an agent (swarm agent), or invite a friend (swarm invite).'];
    case 'peers':
      return describePeers(explanation, nameOf, now);
  }
}

function describePeers(
  { obstacles, cheapest }: Extract<Explanation, { kind: 'peers' }>,
  nameOf: NameOf,
  now: number,
): string[] {
  if (obstacles.length === 0) return ['Nothing stands in the way: it is handed out with the next plan.'];
  const first = cheapest
    ? `Cheapest change: ${describeRemedy(cheapest, nameOf)}.`
    : 'No connected peer can take more of it now; it goes on as soon as one can:';
  return [first, ...obstacles.map(({ peer, obstacle }) => `  ${nameOf(peer)}: ${describe(obstacle, nameOf, now)}`)];
}

function describeRemedy({ peer, obstacle }: Remedy, nameOf: NameOf): string {
  const name = nameOf(peer);
  switch (obstacle.kind) {
    case 'drained':
      return `let ${name} work again: swarm drain ${name} --undo`;
    case 'quarantined':
      return `if ${name} is well again: swarm drain ${name} --undo`;
    case 'memory': {
      const { neededBytes, presentBytes, freeBytes } = obstacle;
      const has = freeBytes ?? presentBytes;
      const what = `${name} has ${formatByteSize(has)} of ${formatByteSize(neededBytes)} needed`;
      if (freeBytes === undefined) return `${what}: invite a peer with more memory, or submit it with a smaller model`;
      return `${what}: free ${formatByteSize(neededBytes - has)} there, or submit it with lower precision`;
    }
    case 'disk':
      return `free ${formatByteSize(obstacle.neededBytes - obstacle.freeBytes)} of disk on ${name}`;
    case 'labels':
      return `give ${name} the label ${obstacle.missing.join(', ')}, if it fits: swarm agent --label, on that machine`;
    case 'refused':
      return `the owner of ${name} can allow it (swarm trust, on that machine); it said: ${obstacle.reason}`;
    case 'job-peers':
      return `the job runs on ${obstacle.limit} peers, as its limit says: submit it with a higher one`;
  }
}

function describe(obstacle: Obstacle, nameOf: NameOf, now: number): string {
  switch (obstacle.kind) {
    case 'drained':
      return 'is drained';
    case 'quarantined':
      return `is quarantined for another ${toSeconds(Math.max(0, obstacle.until - now))}: ${obstacle.reason}`;
    case 'memory':
      return `has ${formatByteSize(obstacle.freeBytes ?? obstacle.presentBytes)} of memory${obstacle.freeBytes === undefined ? '' : ' free'}; ${formatByteSize(obstacle.neededBytes)} are needed`;
    case 'disk':
      return `has ${formatByteSize(obstacle.freeBytes)} of disk free; ${formatByteSize(obstacle.neededBytes)} are needed`;
    case 'labels':
      return `lacks the label ${obstacle.missing.join(', ')}`;
    case 'refused':
      return `refused: ${obstacle.reason}`;
    case 'job-peers':
      return `is one more than the ${obstacle.limit} peers that the job may run on at once`;
    case 'no-free-slot':
      return 'holds as many tasks as it takes';
    case 'busy':
      return `has work for another ${toSeconds(obstacle.queuedMs)}`;
    case 'measuring':
      return 'is doing a first small task, from which its speed is learned';
    case 'others-finish-sooner':
      return `would take ${toSeconds(obstacle.ownMs)} for the next item; ${nameOf(obstacle.best)} is through with it in ${toSeconds(obstacle.bestMs)}`;
  }
}

const WHY: Readonly<Record<StartReason, string>> = {
  fresh: 'handed out in its turn',
  retry: 'a retry of what failed elsewhere',
  stolen: 'taken from a slower peer',
  backup: 'a second attempt at what is late elsewhere',
  adopted: 'gone on with after a cut or a restart',
};

/** A sentence for each running attempt. */
export function explainPlacements(placements: readonly Placement[], nameOf: NameOf): string[] {
  return placements.map(({ peer, start, end, cursor, why, elapsedMs, leftMs, secondBest }) => {
    const left = leftMs === undefined ? 'how long it takes is not known yet' : `${toSeconds(leftMs)} to go`;
    const second = secondBest ? `; ${nameOf(secondBest.peer)} would need ${toSeconds(secondBest.ms)} for the rest` : '';
    return `  ${nameOf(peer)}: items ${start}–${end - 1}, at ${cursor} after ${toSeconds(elapsedMs)}, ${left} (${WHY[why]})${second}`;
  });
}

function toSeconds(ms: number): string {
  return ms < 10_000 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.round(ms / 1_000)} s`;
}
