// Owns RangeSet: a compact set of whole numbers kept as sorted, disjoint, non-adjacent half-open ranges.
// Memory is proportional to the number of gaps, never to the number of members.

import { assert } from './assert.ts';

/** A half-open range [start, end) of item indexes. */
export type Range = { readonly start: number; readonly end: number };

export function rangeLength(range: Range): number {
  return range.end - range.start;
}

export class RangeSet {
  #starts: number[] = [];
  #ends: number[] = [];
  #size = 0;

  static of(...ranges: readonly Range[]): RangeSet {
    const set = new RangeSet();
    for (const range of ranges) set.add(range);
    return set;
  }

  /** How many members. */
  get size(): number {
    return this.#size;
  }

  /** How many disjoint ranges. */
  get rangeCount(): number {
    return this.#starts.length;
  }

  /** The lowest range, or undefined when empty. */
  first(): Range | undefined {
    return this.#starts.length === 0 ? undefined : this.#at(0);
  }

  *[Symbol.iterator](): Generator<Range> {
    for (let i = 0; i < this.#starts.length; i++) yield this.#at(i);
  }

  /** True when every member of a non-empty `range` is in the set. */
  covers(range: Range): boolean {
    const i = this.#lastStartAtOrBefore(range.start);
    return i >= 0 && (this.#ends[i] as number) >= range.end;
  }

  /** True when any member of `range` is in the set. */
  overlaps(range: Range): boolean {
    const i = this.#lastStartAtOrBefore(range.end - 1);
    return i >= 0 && (this.#ends[i] as number) > range.start;
  }

  /** Adds all members of `range`; returns the merged range that now contains them and the starts of ranges it absorbed. */
  add(range: Range): { merged: Range; absorbed: number[] } {
    assert(range.start < range.end, `empty range [${range.start}, ${range.end})`);
    const from = this.#firstEndAtOrAfter(range.start);
    let to = from;
    let { start, end } = range;
    const absorbed: number[] = [];
    for (; to < this.#starts.length && (this.#starts[to] as number) <= range.end; to++) {
      const [oldStart, oldEnd] = [this.#starts[to] as number, this.#ends[to] as number];
      absorbed.push(oldStart);
      this.#size -= oldEnd - oldStart;
      start = Math.min(start, oldStart);
      end = Math.max(end, oldEnd);
    }
    this.#replace(from, to, [start], [end]);
    this.#size += end - start;
    return { merged: { start, end }, absorbed: absorbed.filter((oldStart) => oldStart !== start) };
  }

  /** Removes all members of `range`; members that are not in the set are ignored. */
  remove(range: Range): void {
    const from = this.#firstEndAtOrAfter(range.start + 1);
    let to = from;
    const [starts, ends]: [number[], number[]] = [[], []];
    for (; to < this.#starts.length && (this.#starts[to] as number) < range.end; to++) {
      const [oldStart, oldEnd] = [this.#starts[to] as number, this.#ends[to] as number];
      this.#size -= Math.min(oldEnd, range.end) - Math.max(oldStart, range.start);
      if (oldStart < range.start) push(starts, ends, oldStart, range.start);
      if (oldEnd > range.end) push(starts, ends, range.end, oldEnd);
    }
    this.#replace(from, to, starts, ends);
  }

  /** Removes and returns up to `maxLength` members from the front of the lowest range. */
  takeFirst(maxLength: number): Range | undefined {
    const first = this.first();
    if (!first) return undefined;
    const taken = { start: first.start, end: Math.min(first.end, first.start + maxLength) };
    this.remove(taken);
    return taken;
  }

  clone(): RangeSet {
    const copy = new RangeSet();
    copy.#starts = [...this.#starts];
    copy.#ends = [...this.#ends];
    copy.#size = this.#size;
    return copy;
  }

  #at(i: number): Range {
    return { start: this.#starts[i] as number, end: this.#ends[i] as number };
  }

  /** Splices only when the count changes: the common case (one range grows or shrinks) moves no memory. */
  #replace(from: number, to: number, starts: readonly number[], ends: readonly number[]): void {
    if (to - from === 1 && starts.length === 1) {
      this.#starts[from] = starts[0] as number;
      this.#ends[from] = ends[0] as number;
      return;
    }
    this.#starts.splice(from, to - from, ...starts);
    this.#ends.splice(from, to - from, ...ends);
  }

  #lastStartAtOrBefore(value: number): number {
    return bisect(this.#starts, value + 1) - 1;
  }

  #firstEndAtOrAfter(value: number): number {
    return bisect(this.#ends, value);
  }
}

function push(starts: number[], ends: number[], start: number, end: number): void {
  starts.push(start);
  ends.push(end);
}

/** The index of the first element >= value in a sorted list. */
function bisect(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const mid = (low + high) >>> 1;
    if ((sorted[mid] as number) < value) low = mid + 1;
    else high = mid;
  }
  return low;
}
