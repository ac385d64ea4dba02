// Owns the attempts that a page has heard of, and where each is drawn: a row per peer, lanes in it where attempts overlap.
// Pure: no clock, no drawing.

import type { KeyId } from '../../src/lib/ids.ts';
import type { AttemptView, TimelineView } from '../../src/protocol/views.ts';

/** What an attempt looks like: how it ended where that is news, why it began otherwise. */
export type BarKind = 'fresh' | 'retry' | 'stolen' | 'backup' | 'adopted' | 'queued' | 'stopped' | 'failed' | 'lost';

export type Bar = {
  readonly attempt: AttemptView;
  readonly kind: BarKind;
  readonly lane: number;
  readonly from: number;
  /** Absent while it goes on. */
  readonly to: number | undefined;
};

export type Row = { readonly peer: KeyId; readonly firstLane: number; readonly lanes: number };
export type Layout = { readonly rows: readonly Row[]; readonly bars: readonly Bar[]; readonly lanes: number };

/** As many as the coordinator keeps. */
const MAX_ATTEMPTS = 10_000;
/** More that overlap than this share the last lane. */
const MAX_LANES = 4;
/** Times of two clocks and of a report on its way: an overlap that short is none. */
const SLACK_MS = 50;

/** Everything heard so far, by epoch; survives a restart of the coordinator, which forgets. */
export class Attempts {
  readonly #byEpoch = new Map<string, AttemptView>();
  #incarnation: number | undefined;
  #heardAt = 0;
  next = 0;

  /** Takes a page in; false when it is that of a new coordinator, which has to be asked from the beginning. */
  take({ incarnation, now, attempts, next }: TimelineView): boolean {
    if (this.#incarnation !== undefined && this.#incarnation !== incarnation) {
      this.#incarnation = incarnation;
      this.next = 0;
      // The peers go on with them under new epochs.
      for (const [epoch, attempt] of this.#byEpoch)
        if (attempt.endedAt === undefined) this.#byEpoch.set(epoch, { ...attempt, endedAt: this.#heardAt });
      return false;
    }
    this.#incarnation = incarnation;
    this.#heardAt = now;
    this.next = next;
    for (const attempt of attempts) this.#byEpoch.set(attempt.epoch, attempt);
    for (const epoch of this.#byEpoch.keys()) {
      if (this.#byEpoch.size <= MAX_ATTEMPTS) break;
      this.#byEpoch.delete(epoch);
    }
    return true;
  }

  list(): AttemptView[] {
    return [...this.#byEpoch.values()];
  }
}

/** When an attempt really ran: it may have stood in the peer's queue first. */
function startOf({ startedAt, endedAt, durationMs }: AttemptView): number {
  if (endedAt === undefined || durationMs === undefined) return startedAt;
  return Math.max(startedAt, endedAt - durationMs);
}

/** Rows in the order of `peers`, then peers that are not known any more. */
export function layOut(attempts: readonly AttemptView[], peers: readonly KeyId[]): Layout {
  const byPeer = Map.groupBy(attempts, ({ peer }) => peer);
  const order = [...new Set([...peers, ...byPeer.keys()])].filter((peer) => byPeer.has(peer));
  const rows: Row[] = [];
  const bars: Bar[] = [];
  let firstLane = 0;
  for (const peer of order) {
    const placed = placeBars(byPeer.get(peer) ?? [], firstLane);
    bars.push(...placed.bars);
    rows.push({ peer, firstLane, lanes: placed.lanes });
    firstLane += placed.lanes;
  }
  return { rows, bars, lanes: firstLane };
}

/** Each bar goes to the first lane that is free when it begins. */
function placeBars(attempts: readonly AttemptView[], firstLane: number): { bars: Bar[]; lanes: number } {
  const sorted = attempts
    .map((attempt) => ({ attempt, from: startOf(attempt) }))
    .sort((a, b) => a.from - b.from || a.attempt.startedAt - b.attempt.startedAt);
  const running = sorted.find(({ attempt }) => attempt.endedAt === undefined)?.attempt;
  const freeAt: number[] = [];
  const bars = sorted.map(({ attempt, from }): Bar => {
    const free = freeAt.findIndex((at) => at <= from + SLACK_MS);
    const lane = free >= 0 ? free : Math.min(freeAt.length, MAX_LANES - 1);
    freeAt[lane] = Math.max(freeAt[lane] ?? 0, attempt.endedAt ?? Infinity);
    return { attempt, kind: kindOf(attempt, running), lane: firstLane + lane, from, to: attempt.endedAt };
  });
  return { bars, lanes: Math.max(1, freeAt.length) };
}

function kindOf(attempt: AttemptView, running: AttemptView | undefined): BarKind {
  const { how, why, endedAt } = attempt;
  if (endedAt === undefined) return attempt === running ? why : 'queued';
  if (how === 'lost' || how === 'failed') return how;
  return how === 'accepted' || how === undefined ? why : 'stopped';
}

/** What happened beside the ordinary, the newest first. */
export function listNews(attempts: readonly AttemptView[]): { at: number; text: string; attempt: AttemptView }[] {
  const news = attempts.flatMap((attempt) => {
    const { why, how, startedAt, endedAt, cutFrom, reason } = attempt;
    const said: { at: number; text: string; attempt: AttemptView }[] = [];
    const say = (at: number, text: string) => said.push({ at, text, attempt });
    if (why !== 'fresh') say(startedAt, BEGINNINGS[why]);
    if (cutFrom !== undefined) say(endedAt ?? startedAt, `gave ${cutFrom - attempt.end} items to a faster peer`);
    if (endedAt !== undefined && how === 'lost') say(endedAt, 'was lost with its peer');
    if (endedAt !== undefined && how === 'failed') say(endedAt, `failed: ${reason ?? 'no reason given'}`);
    if (endedAt !== undefined && how === 'duplicate')
      say(endedAt, 'came second: its result is a sample for comparison');
    return said;
  });
  return news.sort((a, b) => b.at - a.at);
}

const BEGINNINGS: Readonly<Record<Exclude<AttemptView['why'], 'fresh'>, string>> = {
  retry: 'tries again what failed',
  stolen: 'took over what a slower peer gave up',
  backup: 'does what is late elsewhere a second time',
  adopted: 'goes on after a cut or a restart',
};
