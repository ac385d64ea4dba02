// Owns the words for the scheduler's explanation of why a stage is not running.

import type { Explanation } from '../core/schedule/explain.ts';
import type { PeerId } from '../lib/ids.ts';
import type { Obstacle } from '../core/schedule/plan.ts';
import { formatByteSize } from '../lib/byte-sizes.ts';

/** Sentences for people; the first one is the answer. */
export function explainInWords(explanation: Explanation, nameOf: (peer: PeerId) => string, now: number): string[] {
  switch (explanation.kind) {
    case 'ended':
      return ['It has ended.'];
    case 'paused':
      return ['The job is paused: swarm resume lets it go on.'];
    case 'waits-for-stages':
      return [`It starts when these stages have finished: ${explanation.stages.join(', ')}.`];
    case 'all-assigned':
      return [`Everything that is left is handed out: ${explanation.runningTasks} tasks are with peers.`];
    case 'waits-to-retry':
      return [
        `What is left failed before and is tried again in ${Math.max(0, Math.ceil((explanation.at - now) / 1_000))} s.`,
        `The last reason: ${explanation.reason}`,
      ];
    case 'no-peer-connected':
      return ['No peer is connected: start an agent (swarm agent), or invite a friend (swarm invite).'];
    case 'peers':
      return explanation.obstacles.length === 0
        ? ['Nothing stands in the way: it is handed out with the next plan.']
        : ['No connected peer can take more of it now:', ...explanation.obstacles.map(toLine)];
  }

  function toLine({ peer, obstacle }: { readonly peer: PeerId; readonly obstacle: Obstacle }): string {
    return `  ${nameOf(peer)}: ${describe(obstacle)}`;
  }
}

function describe(obstacle: Obstacle): string {
  switch (obstacle.kind) {
    case 'drained':
      return 'is drained: swarm drain --undo gives it work again';
    case 'memory':
      return `has ${formatByteSize(obstacle.presentBytes)} of memory; ${formatByteSize(obstacle.neededBytes)} are needed`;
    case 'refused':
      return `refused: ${obstacle.reason}`;
    case 'no-free-slot':
      return 'holds as many tasks as it takes';
    case 'busy':
      return `has work for another ${(obstacle.queuedMs / 1_000).toFixed(1)} s`;
    case 'measuring':
      return 'is doing a first small task, from which its speed is learned';
    case 'others-finish-sooner':
      return 'would be the last to finish: faster peers do the rest sooner';
  }
}
