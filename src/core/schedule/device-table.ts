// Owns what is believed of a device before it has run anything: how fast it is beside others of its kind, from its
// name. A first guess only; what is measured replaces it. Figures are dense half-precision TFLOPS as vendors state them.

import type { Device } from '../../protocol/device.ts';

/** The first pattern that fits counts, so the longer names come first. */
const TFLOPS: readonly (readonly [RegExp, number])[] = [
  [/5090/, 209],
  [/5080/, 112],
  [/5070 ?ti/i, 88],
  [/5070/, 62],
  [/5060 ?ti/i, 47],
  [/5060/, 38],
  [/4090/, 165],
  [/4080/, 97],
  [/4070 ?ti/i, 80],
  [/4070/, 58],
  [/4060 ?ti/i, 44],
  [/4060/, 30],
  [/3090/, 71],
  [/3080/, 60],
  [/3070 ?ti/i, 44],
  [/3070/, 41],
  [/3060 ?ti/i, 33],
  [/3060/, 26],
  [/3050/, 18],
  [/2080/, 43],
  [/2070/, 30],
  [/2060/, 26],
  [/1080/, 9],
  [/1070/, 6],
  [/7900/, 103],
  [/7800/, 74],
  [/7600/, 43],
  [/6900|6950/, 46],
  [/6800/, 40],
  [/6700/, 26],
  [/M4 (max|ultra)/i, 34],
  [/M[1-5]/, 8],
];
const TYPICAL_GPU_TFLOPS = 30;
/** One thread of a common CPU with vector instructions. */
const TFLOPS_A_THREAD = 0.05;
/** Laptop parts of the same name have about this share of the power. */
const LAPTOP = 0.6;

/**
 * Natural log of how many times slower a device is than one of 1 TFLOPS: to be added to log(ms per item) of work
 * measured elsewhere. Lower is faster.
 */
export function deviceLogSlowness(device: Device): number {
  return -Math.log(tflopsOf(device));
}

function tflopsOf({ kind, name, threads }: Device): number {
  if (kind === 'cpu') return TFLOPS_A_THREAD * threads;
  const known = TFLOPS.find(([pattern]) => pattern.test(name))?.[1] ?? TYPICAL_GPU_TFLOPS;
  return /laptop|mobile|max-q/i.test(name) ? known * LAPTOP : known;
}
