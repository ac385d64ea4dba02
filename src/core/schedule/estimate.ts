// Owns what is known of speed: log(ms per item) as workload effect + device effect + what is particular to the pair,
// learned online from finished tasks. In log space a tenfold mistake up weighs as much as one down. Uncertainty is kept,
// outliers are clipped, a device that changes its speed is believed after a few tasks, and what is old fades, so that
// no peer is shunned for ever for one bad hour. Set-up is learned apart. Knows nothing of placement.

import type { PeerId } from '../../lib/ids.ts';
import type { StageSpec } from '../../protocol/job-spec.ts';

/** A running mean in log space. Durable. */
export type Estimate = {
  /** The table and the key in it: `pair|<class>|<peer>`, `work|<class or family>`, `peer|<peer>`, and so on. */
  readonly id: string;
  readonly mean: number;
  /** Of single observations around the mean. */
  readonly variance: number;
  /** Observations it stands for; at most MEMORY. */
  readonly weight: number;
  /** Surprises in a row, all up (positive) or all down. */
  readonly streak: number;
  readonly at: number;
};

/** All that is known. */
export type EstimateBook = {
  /** By class of work, then by peer. */
  readonly pairs: Map<string, Map<PeerId, Estimate>>;
  /** By class and by family, peers' own effects taken out. */
  readonly work: Map<string, Estimate>;
  readonly peers: Map<PeerId, Estimate>;
  /** By class and peer, and by family alone. */
  readonly setups: Map<string, Estimate>;
  /** ln(ms per byte) that a peer needs to send a result. */
  readonly uplinks: Map<PeerId, Estimate>;
  /** ln(bytes per item) of results, by class. */
  readonly sizes: Map<string, Estimate>;
};

export function createEstimateBook(): EstimateBook {
  return {
    pairs: new Map(),
    work: new Map(),
    peers: new Map(),
    setups: new Map(),
    uplinks: new Map(),
    sizes: new Map(),
  };
}

/** Puts an estimate that was saved back in its place; false when its id says nothing. */
export function restoreEstimate(book: EstimateBook, estimate: Estimate): boolean {
  const { id } = estimate;
  const [kind, rest, last] = [id.slice(0, id.indexOf('|')), id.slice(id.indexOf('|') + 1), id.lastIndexOf('|') + 1];
  if (kind === 'pair') pairsOf(book, id.slice('pair|'.length, last - 1)).set(id.slice(last) as PeerId, estimate);
  else if (kind === 'work') book.work.set(rest, estimate);
  else if (kind === 'peer') book.peers.set(rest as PeerId, estimate);
  else if (kind === 'setup') book.setups.set(rest, estimate);
  else if (kind === 'uplink') book.uplinks.set(rest as PeerId, estimate);
  else if (kind === 'size') book.sizes.set(rest, estimate);
  else return false;
  return true;
}

export function* listEstimates(book: EstimateBook): Generator<Estimate> {
  for (const pairs of book.pairs.values()) yield* pairs.values();
  yield* book.work.values();
  yield* book.peers.values();
  yield* book.setups.values();
  yield* book.uplinks.values();
  yield* book.sizes.values();
}

function pairsOf(book: EstimateBook, workClass: string): Map<PeerId, Estimate> {
  const known = book.pairs.get(workClass);
  if (known) return known;
  const made = new Map<PeerId, Estimate>();
  book.pairs.set(workClass, made);
  return made;
}

/** What is expected of a stage on a peer. */
export type SpeedEstimate = {
  readonly msPerItem: number;
  /** Standard deviation of its natural log. */
  readonly sigma: number;
  /** The peer itself has run such work of late; otherwise it is a guess from others. */
  readonly measured: boolean;
};

/** Below this a clock tells nothing; above it nobody waits. Also what a lie can do at most. */
const [MIN_MS, MAX_MS] = [0.001, 86_400_000];
/** How many observations a mean remembers: a drift is followed within about as many tasks. */
const MEMORY = 8;
/** What a first observation may be off by: e^0.5, a factor of 1.6. */
const FIRST_VARIANCE = 0.25;
const MIN_VARIANCE = 0.0025;
/** Farther off than so many standard deviations is a surprise… */
const SURPRISE = 2.5;
/** …and so many surprises in a row, all to one side, are a change of speed, not bad luck. */
const CHANGE_AFTER = 3;
/** After so long an estimate weighs half, against what is known of the peer and of the work at large. */
const HALF_LIFE_MS = 1_800_000;
/** Less evidence than this is none: the peer is measured again. */
const MIN_WEIGHT = 0.1;
/** What work and peer at large weigh against observations of the pair. */
const PRIOR_WEIGHT = 0.25;
const PRIOR_VARIANCE = 0.5;

/** Parts smaller than this do not measure a link. */
const MIN_TELLING_BYTES = 65_536;

/** Work that costs the same: workload, step, model and parameters. */
export function workClassOf(spec: StageSpec): string {
  return `${workFamilyOf(spec)}|${hashText(canonical(spec.params))}`;
}

/** Work that is akin: parameters left out. A merge and a map of one workload, or two models, are different work. */
export function workFamilyOf(spec: StageSpec): string {
  const step = spec.items.kind === 'parts' ? 'merge' : 'map';
  return `${spec.workload}|${step}|${spec.model?.sha256.slice(0, 16) ?? ''}`;
}

/** What work is done by whom, and when. */
export type Observation = {
  readonly workClass: string;
  readonly family: string;
  readonly peer: PeerId;
  /** From the device table: what is believed of the peer before it has run anything. */
  readonly logSlowness: number;
  readonly at: number;
};

/** Learns from one finished task; returns the estimates that changed. */
export function learnSpeed(book: EstimateBook, seen: Observation, msPerItem: number): Estimate[] {
  const observed = Math.log(clamp(msPerItem));
  const { workClass, family, peer, at } = seen;
  const effect = effectOf(book, seen);
  const work = book.work.get(workClass) ?? book.work.get(family);
  const changed = [
    learn(pairsOf(book, workClass), peer, 'pair', workClass, observed, at),
    learn(book.work, workClass, 'work', '', observed - effect, at),
  ];
  if (family !== workClass) changed.push(learn(book.work, family, 'work', '', observed - effect, at));
  // What the first peer ever to do a kind of work shows cannot be told apart into work and peer.
  if (work) changed.push(learn(book.peers, peer, 'peer', '', observed - work.mean, at));
  return changed;
}

/** Learns what a cold start cost: runner, model, inputs; returns the estimates that changed. */
export function learnSetup(book: EstimateBook, seen: Observation, setupMs: number): Estimate[] {
  const observed = Math.log(clamp(setupMs));
  const { workClass, family, peer, at } = seen;
  return [`${workClass}|${peer}`, family].map((key) => learn(book.setups, key, 'setup', '', observed, at));
}

/** Learns how big results are, and how fast the peer sends them; returns the estimates that changed. */
export function learnTransfer(book: EstimateBook, seen: Observation, sent: Transfer): Estimate[] {
  const { sizeBytes, items, uploadMs } = sent;
  const { workClass, peer, at } = seen;
  const changed = [learn(book.sizes, workClass, 'size', '', Math.log(Math.max(1, sizeBytes) / items), at)];
  // A small part tells of the round trip, not of the rate.
  if (uploadMs === undefined || sizeBytes < MIN_TELLING_BYTES) return changed;
  return [...changed, learn(book.uplinks, peer, 'uplink', '', Math.log(clamp(uploadMs) / sizeBytes), at)];
}

export type Transfer = { readonly sizeBytes: number; readonly items: number; readonly uploadMs: number | undefined };

/** Expected ms that the uplink of a peer is busy for one item's result; 0 while its rate or the size is not known. */
export function estimateUploadMs(book: EstimateBook, { workClass, peer }: Observation): number {
  const [size, uplink] = [book.sizes.get(workClass), book.uplinks.get(peer)];
  return size && uplink ? Math.exp(size.mean + uplink.mean) : 0;
}

/** Expected ms of a cold start of this work on this peer; 0 when nobody has seen one. */
export function estimateSetupMs(book: EstimateBook, { workClass, family, peer }: Observation): number {
  const known = book.setups.get(`${workClass}|${peer}`) ?? book.setups.get(family);
  return known ? Math.exp(known.mean) : 0;
}

/** What is expected, or undefined when nobody has run anything like it. */
export function estimateSpeed(book: EstimateBook, seen: Observation): SpeedEstimate | undefined {
  const { workClass, family, peer, at } = seen;
  const pair = book.pairs.get(workClass)?.get(peer);
  const work = book.work.get(workClass) ?? book.work.get(family);
  const prior = work && work.mean + effectOf(book, seen);
  if (!pair) return prior === undefined ? undefined : toSpeed(prior, PRIOR_VARIANCE, false);
  const weight = fade(pair, at);
  const priorWeight = prior === undefined ? 0 : PRIOR_WEIGHT / (1 + weight);
  const mean = (weight * pair.mean + priorWeight * (prior ?? 0)) / (weight + priorWeight);
  return toSpeed(mean, pair.variance + PRIOR_VARIANCE / (1 + 4 * weight), weight >= MIN_WEIGHT);
}

/** Whether the peer itself has run such work of late. */
export function hasMeasured(book: EstimateBook, workClass: string, peer: PeerId, at: number): boolean {
  const pair = book.pairs.get(workClass)?.get(peer);
  return pair !== undefined && fade(pair, at) >= MIN_WEIGHT;
}

/** How much slower than others a peer is, whatever the work. */
function effectOf(book: EstimateBook, { peer, logSlowness }: Observation): number {
  return book.peers.get(peer)?.mean ?? logSlowness;
}

function fade({ weight, at: then }: Estimate, at: number): number {
  return weight * 2 ** (-Math.max(0, at - then) / HALF_LIFE_MS);
}

function toSpeed(logMs: number, variance: number, measured: boolean): SpeedEstimate {
  return { msPerItem: clamp(Math.exp(logMs)), sigma: Math.sqrt(variance), measured };
}

function learn<K extends string>(
  book: Map<K, Estimate>,
  key: K,
  kind: string,
  prefix: string,
  observed: number,
  at: number,
): Estimate {
  const before = book.get(key);
  const id = before?.id ?? [kind, ...(prefix === '' ? [] : [prefix]), key].join('|');
  const after = before ? update(before, observed, at) : first(id, observed, at);
  book.set(key, after);
  return after;
}

function first(id: string, observed: number, at: number): Estimate {
  return { id, mean: observed, variance: FIRST_VARIANCE, weight: 1, streak: 0, at };
}

/** A clipped step toward the observation; a streak of surprises begins anew where they point. */
function update(before: Estimate, observed: number, at: number): Estimate {
  const residual = observed - before.mean;
  const limit = SURPRISE * Math.sqrt(before.variance);
  const isSurprise = Math.abs(residual) > limit;
  const streak = isSurprise ? Math.sign(residual) + (before.streak * residual > 0 ? before.streak : 0) : 0;
  if (Math.abs(streak) >= CHANGE_AFTER) return first(before.id, observed, at);
  const weight = Math.min(fade(before, at) + 1, MEMORY);
  const step = isSurprise ? Math.sign(residual) * limit : residual;
  const variance = Math.max(MIN_VARIANCE, before.variance + (step * step - before.variance) / weight);
  return { id: before.id, mean: before.mean + step / weight, variance, weight, streak, at };
}

function clamp(ms: number): number {
  return Number.isFinite(ms) ? Math.min(MAX_MS, Math.max(MIN_MS, ms)) : MAX_MS;
}

/** Keys in a fixed order: parameters that are the same give the same class. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** FNV-1a, 32 bits: a collision makes two kinds of work one class, which costs speed and nothing else. */
function hashText(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(16);
}
