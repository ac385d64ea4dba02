// Owns how figures are written.

export { formatByteSize } from '../../src/lib/byte-sizes.ts';
export { formatDuration } from '../../src/lib/durations.ts';

const COUNT = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const SMALL = new Intl.NumberFormat('en', { maximumSignificantDigits: 2 });

export function formatCount(count: number): string {
  return COUNT.format(count);
}

/** Items a second: whole ones where they are many. */
export function formatRate(perSecond: number): string {
  return `${perSecond >= 10 ? COUNT.format(perSecond) : SMALL.format(perSecond)}/s`;
}

export function formatShare(share: number): string {
  return `${(100 * Math.min(1, Math.max(0, share))).toFixed(0)} %`;
}

export function formatTime(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, { hour12: false });
}
