// Owns what is known of speed: a running mean of log(ms per item) for each workload and peer, learned from finished
// tasks. In log space a tenfold mistake up weighs as much as one down. Knows nothing of placement.

import type { PeerId } from '../../lib/ids.ts';
import type { StageSpec } from '../../protocol/job-spec.ts';
import type { Speed } from '../state.ts';

/** Below this a clock tells nothing; also keeps the logarithm finite. */
const MIN_MS_PER_ITEM = 0.001;
/** How many observations the mean remembers: a peer that slows down is noticed within about as many tasks. */
const MEMORY = 4;

/** Learns from one finished task, for the peer and for the workload at large. */
export function learnSpeed(speeds: Map<string, Speed>, spec: StageSpec, peer: PeerId, msPerItem: number): void {
  const observed = Math.log(Math.max(msPerItem, MIN_MS_PER_ITEM));
  for (const key of [peerKey(spec, peer), workloadKey(spec)]) speeds.set(key, average(speeds.get(key), observed));
}

/** Expected ms per item of a stage on a peer, or undefined before its first task there. */
export function estimateMsPerItem(
  speeds: ReadonlyMap<string, Speed>,
  spec: StageSpec,
  peer: PeerId,
): number | undefined {
  const speed = speeds.get(peerKey(spec, peer));
  return speed && Math.exp(speed.logMsPerItem);
}

/** The swarm's own middle speed for a stage: stands in for peers that have not run it. */
export function estimateWorkloadMsPerItem(speeds: ReadonlyMap<string, Speed>, spec: StageSpec): number | undefined {
  const speed = speeds.get(workloadKey(spec));
  return speed && Math.exp(speed.logMsPerItem);
}

function average(before: Speed | undefined, observed: number): Speed {
  if (!before) return { logMsPerItem: observed, weight: 1 };
  const weight = Math.min(before.weight + 1, MEMORY);
  return { logMsPerItem: before.logMsPerItem + (observed - before.logMsPerItem) / weight, weight };
}

function peerKey(spec: StageSpec, peer: PeerId): string {
  return `${workloadKey(spec)}|${peer}`;
}

/** A merge and a map of one workload, or two models, are different work. */
function workloadKey(spec: StageSpec): string {
  return `${spec.workload}|${spec.items.kind === 'parts' ? 'merge' : 'map'}|${spec.model?.sha256 ?? ''}`;
}
