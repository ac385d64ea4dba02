// Owns the guide: the mix for the work and the peers there are, kept for a moment, because making it costs more than a
// plan and it changes slowly.

import type { PeerId } from '../../lib/ids.ts';
import type { State } from '../state.ts';
import { checkFeasible } from './feasible.ts';
import { planMix } from './mix.ts';
import type { View } from './view.ts';

export type Guide = {
  readonly at: number;
  /** The classes and peers that it is for. */
  readonly key: string;
  /** By class of work, by peer: ms of its time. */
  readonly msOf: ReadonlyMap<string, ReadonlyMap<PeerId, number>>;
};

/** Between two guides for the same work and peers. */
const KEEP_MS = 500;
/** With one class of work there is nothing to choose. */
const MIN_CLASSES = 2;

/** The guide for a view: the one that was kept, or a new one; undefined where there is nothing to choose. */
export function guideFor(state: State, view: View): Guide | undefined {
  const { classes, peers, at } = view;
  if (classes.length < MIN_CLASSES || peers.length < 2) return undefined;
  const key = `${classes.map(({ workClass }) => workClass).join()}|${peers.length}`;
  if (state.guide?.key === key && at - state.guide.at < KEEP_MS) return state.guide;
  const mix = planMix(
    classes.map(({ items, sample }) => ({
      items,
      msPerItem: peers.map((peer) =>
        checkFeasible(sample, peer) ? Infinity : (sample.speedOf(peer.id)?.msPerItem ?? Infinity),
      ),
    })),
    peers.map(({ queuedMs }) => queuedMs),
  );
  const msOf = classes.map(({ workClass }, c): [string, ReadonlyMap<PeerId, number>] => [
    workClass,
    new Map(peers.map(({ id }, d) => [id, mix.msOf[c]?.[d] ?? 0])),
  ]);
  state.guide = { at, key, msOf: new Map(msOf) };
  return state.guide;
}
