// Owns the closed list of reasons for which a peer cannot run a stage at all now, however long its queue. The plan and
// the explanation ask the same function.

import type { PeerView, StageView } from './view.ts';

export type Infeasible =
  | { readonly kind: 'drained' }
  | { readonly kind: 'quarantined'; readonly until: number; readonly reason: string }
  | {
      readonly kind: 'memory';
      readonly neededBytes: number;
      readonly presentBytes: number;
      /** Measured; absent when the device as a whole is too small. */
      readonly freeBytes?: number;
    }
  | { readonly kind: 'disk'; readonly neededBytes: number; readonly freeBytes: number }
  | { readonly kind: 'labels'; readonly missing: readonly string[] }
  /** The peer itself said no: signer, model, image or limits that its owner does not allow. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** The job runs on as many peers as its limit allows. */
  | { readonly kind: 'job-peers'; readonly limit: number };

/** Undefined when the peer can run the stage. */
export function checkFeasible(stage: StageView, peer: PeerView): Infeasible | undefined {
  if (peer.drained) return { kind: 'drained' };
  if (peer.quarantine) return { kind: 'quarantined', ...peer.quarantine };
  const refusal = stage.refusals.get(peer.id);
  if (refusal !== undefined) return { kind: 'refused', reason: refusal };
  const missing = stage.labels.filter((label) => !peer.labels.includes(label));
  if (missing.length > 0) return { kind: 'labels', missing };
  return checkRoom(stage, peer);
}

function checkRoom(stage: StageView, peer: PeerView): Infeasible | undefined {
  const { memoryBytes: presentBytes, freeMemoryBytes, freeDiskBytes } = peer;
  const needed = { kind: 'memory' as const, neededBytes: stage.memoryBytes, presentBytes };
  if (stage.memoryBytes > presentBytes) return needed;
  if (freeMemoryBytes !== undefined && stage.memoryBytes > freeMemoryBytes)
    return { ...needed, freeBytes: freeMemoryBytes };
  if (freeDiskBytes !== undefined && stage.diskBytes > freeDiskBytes)
    return { kind: 'disk', neededBytes: stage.diskBytes, freeBytes: freeDiskBytes };
  if (stage.peersAtWork.size >= stage.maxPeers && !stage.peersAtWork.has(peer.id))
    return { kind: 'job-peers', limit: stage.maxPeers };
  return undefined;
}
