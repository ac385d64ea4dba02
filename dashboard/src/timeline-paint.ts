// Owns the drawing of the timeline on a canvas, and which bar lies under a point. Colours come from the style sheet.

import type { KeyId } from '../../src/lib/ids.ts';
import type { Bar, BarKind, Layout } from './timeline-model.ts';

export type Window = { readonly from: number; readonly to: number };

export const LANE_HEIGHT = 16;
export const AXIS_HEIGHT = 22;
const ROW_GAP = 8;
const NAME_WIDTH = 112;
const MIN_BAR = 1.5;
const KINDS: readonly BarKind[] = [
  ...(['fresh', 'retry', 'stolen', 'backup', 'adopted', 'queued', 'stopped', 'failed', 'lost'] as const),
];

export function heightOf({ lanes, rows }: Layout): number {
  return lanes * LANE_HEIGHT + rows.length * ROW_GAP + AXIS_HEIGHT;
}

/** Paints everything; 10,000 bars take a few milliseconds. */
export function paint(
  canvas: HTMLCanvasElement,
  layout: Layout,
  window: Window,
  nameOf: (peer: KeyId) => string,
): void {
  const context = canvas.getContext('2d');
  if (!context) return;
  const style = getComputedStyle(canvas);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const ratio = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = `12px ${style.fontFamily}`;
  context.textBaseline = 'middle';
  paintAxis(context, window, { width, height, ink: colour('dim'), line: colour('line') });
  const toX = toScale(window, width);
  const colours = new Map(KINDS.map((kind) => [kind, colour(`bar-${kind}`)]));
  const tops = topsOf(layout);
  context.save();
  context.beginPath();
  context.rect(NAME_WIDTH, 0, width - NAME_WIDTH, height);
  context.clip();
  for (const bar of layout.bars) {
    if ((bar.to ?? window.to) < window.from || bar.from > window.to) continue;
    const [x, right] = [toX(bar.from), toX(Math.min(bar.to ?? window.to, window.to))];
    const top = (tops[bar.lane] ?? 0) + 2;
    const barWidth = Math.max(MIN_BAR, right - x - 0.5);
    context.fillStyle = context.strokeStyle = colours.get(bar.kind) ?? '';
    if (bar.kind === 'queued' || bar.kind === 'stopped')
      context.strokeRect(x + 0.5, top + 0.5, barWidth - 1, LANE_HEIGHT - 5);
    else context.fillRect(x, top, barWidth, LANE_HEIGHT - 4);
    if (bar.attempt.cutFrom !== undefined) {
      context.fillStyle = colours.get('stolen') ?? '';
      context.fillRect(x + barWidth - 2, top - 1, 3, LANE_HEIGHT - 2);
    }
  }
  context.restore();
  context.fillStyle = colour('ink');
  for (const { peer, firstLane } of layout.rows)
    context.fillText(shorten(context, nameOf(peer)), 0, (tops[firstLane] ?? 0) + LANE_HEIGHT / 2);
}

/** The bar at a place of the canvas, in CSS pixels. */
export function barAt(layout: Layout, window: Window, width: number, x: number, y: number): Bar | undefined {
  const tops = topsOf(layout);
  const lane = tops.findIndex((top) => y >= top && y < top + LANE_HEIGHT);
  if (lane < 0 || x < NAME_WIDTH) return undefined;
  const toX = toScale(window, width);
  return layout.bars.findLast(
    (bar) => bar.lane === lane && x >= toX(bar.from) - 2 && x <= toX(bar.to ?? window.to) + 2,
  );
}

function toScale({ from, to }: Window, width: number): (at: number) => number {
  const perMs = (width - NAME_WIDTH) / Math.max(1, to - from);
  return (at) => NAME_WIDTH + (at - from) * perMs;
}

/** Where each lane begins. */
function topsOf({ rows }: Layout): number[] {
  return rows.flatMap(({ firstLane, lanes }, row) =>
    Array.from({ length: lanes }, (_, i) => (firstLane + i) * LANE_HEIGHT + row * ROW_GAP),
  );
}

const STEPS_MS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600].map((seconds) => 1_000 * seconds);
const MIN_TICK_PX = 90;

type Axis = { readonly width: number; readonly height: number; readonly ink: string; readonly line: string };

function paintAxis(context: CanvasRenderingContext2D, window: Window, { width, height, ink, line }: Axis): void {
  const toX = toScale(window, width);
  const span = window.to - window.from;
  const stepMs = STEPS_MS.find((ms) => (ms / span) * (width - NAME_WIDTH) >= MIN_TICK_PX) ?? span;
  context.fillStyle = ink;
  context.strokeStyle = line;
  for (let at = Math.ceil(window.from / stepMs) * stepMs; at <= window.to; at += stepMs) {
    const x = Math.round(toX(at)) + 0.5;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height - AXIS_HEIGHT);
    context.stroke();
    const text = new Date(at).toLocaleTimeString(undefined, { hour12: false });
    if (x + 30 < width) context.fillText(text, x - 24, height - AXIS_HEIGHT / 2);
  }
}

function shorten(context: CanvasRenderingContext2D, name: string): string {
  let text = name;
  while (context.measureText(text).width > NAME_WIDTH - 10 && text.length > 2) text = `${text.slice(0, -2)}…`;
  return text;
}
