// Owns the timeline as people use it: how much time is shown, what lies under the pointer, the legend, and the news in
// words for whoever does not see the picture.

import { useEffect, useMemo, useRef, useState, type PointerEvent } from 'react';
import type { JobId, KeyId } from '../../src/lib/ids.ts';
import type { AttemptView, PeerView } from '../../src/protocol/views.ts';
import { formatByteSize, formatCount, formatDuration, formatTime } from './format.ts';
import { usePolling } from './live.ts';
import type { Viewer } from './sign-in.ts';
import { Attempts, layOut, listNews, type Bar, type BarKind, type Layout } from './timeline-model.ts';
import { barAt, heightOf, paint, type Window } from './timeline-paint.ts';

const POLL_MS = 1_000;
const PAGE = 1_000;
const FRAME_MS = 100;
const MAX_NEWS = 8;
/** A job that ended so long ago stands still. */
const SETTLED_MS = 3_000;
const SPANS = [
  { name: '30 s', ms: 30_000 },
  { name: '2 min', ms: 120_000 },
  { name: '10 min', ms: 600_000 },
  { name: 'all', ms: Infinity },
];

const LEGEND: readonly { kind: BarKind; text: string }[] = [
  { kind: 'fresh', text: 'in its turn' },
  { kind: 'stolen', text: 'stolen tail' },
  { kind: 'backup', text: 'backup' },
  { kind: 'retry', text: 'retry' },
  { kind: 'adopted', text: 'adopted' },
  { kind: 'failed', text: 'failed' },
  { kind: 'lost', text: 'lost' },
  { kind: 'stopped', text: 'stopped' },
  { kind: 'queued', text: 'queued' },
];

type Props = {
  readonly client: Viewer;
  readonly peers: readonly PeerView[];
  /** Absent for the whole swarm. */
  readonly job?: JobId;
  readonly onRefused: (error: unknown) => void;
};

export function TimelineSection({ client, peers, job, onRefused }: Props) {
  const heard = useTimeline(client, job, onRefused);
  const [spanMs, setSpanMs] = useState(job === undefined ? 120_000 : Infinity);
  const names = useMemo(() => new Map(peers.map(({ id, name }) => [id, name])), [peers]);
  const order = peers.toSorted((a, b) => a.name.localeCompare(b.name)).map(({ id }) => id);
  const orderKey = order.join();
  const layout = useMemo(() => layOut(heard?.attempts ?? [], order), [heard, orderKey]);
  if (!heard || heard.attempts.length === 0) return null;
  const nameOf = (peer: KeyId) => names.get(peer) ?? peer.slice(8, 16);
  const present = new Set(layout.bars.map(({ kind }) => kind));
  return (
    <section aria-labelledby="timeline-title">
      <h2 id="timeline-title">Timeline</h2>
      <div className="choices" role="group" aria-label="How much time is shown">
        {SPANS.map(({ name, ms }) => (
          <button key={name} type="button" aria-pressed={ms === spanMs} onClick={() => setSpanMs(ms)}>
            {name}
          </button>
        ))}
      </div>
      <Picture layout={layout} heard={heard} spanMs={spanMs} nameOf={nameOf} />
      <ul className="legend">
        {LEGEND.filter(({ kind }) => present.has(kind)).map(({ kind, text }) => (
          <li key={kind}>
            <span className={`swatch ${kind}`} /> {text}
          </li>
        ))}
      </ul>
      <News attempts={heard.attempts} nameOf={nameOf} />
    </section>
  );
}

type Heard = {
  readonly attempts: readonly AttemptView[];
  /** The coordinator's time, and the page's when it was told. */
  readonly now: number;
  readonly at: number;
};

function useTimeline(client: Viewer, job: JobId | undefined, onRefused: Props['onRefused']): Heard | undefined {
  const [heard, setHeard] = useState<Heard>();
  const attempts = useMemo(() => new Attempts(), [client, job]);
  const ask = async (signal: AbortSignal) => {
    for (;;) {
      const { next: from } = attempts;
      const request = { from, limit: PAGE, ...(job !== undefined && { job }) };
      const page = await client.call('timeline', request, { signal });
      const isTaken = attempts.take(page);
      setHeard({ attempts: attempts.list(), now: page.now, at: performance.now() });
      if (isTaken && page.attempts.length < PAGE) return;
    }
  };
  usePolling(ask, POLL_MS, [client, job], onRefused);
  return heard;
}

type PictureProps = {
  readonly layout: Layout;
  readonly heard: Heard;
  readonly spanMs: number;
  readonly nameOf: (peer: KeyId) => string;
};

function Picture({ layout, heard, spanMs, nameOf }: PictureProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [pointed, setPointed] = useState<{ bar: Bar; x: number; y: number }>();
  useEffect(() => {
    let frame = 0;
    let paintedAt = -Infinity;
    const next = (at: number) => {
      frame = requestAnimationFrame(next);
      if (at - paintedAt < FRAME_MS || !canvas.current) return;
      paintedAt = at;
      paint(canvas.current, layout, toWindow(layout, heard, spanMs), nameOf);
    };
    frame = requestAnimationFrame(next);
    return () => cancelAnimationFrame(frame);
  }, [layout, heard, spanMs, nameOf]);
  const onPoint = ({ nativeEvent: { offsetX: x, offsetY: y }, currentTarget }: PointerEvent<HTMLCanvasElement>) => {
    const bar = barAt(layout, toWindow(layout, heard, spanMs), currentTarget.clientWidth, x, y);
    setPointed(bar && { bar, x, y });
  };
  return (
    <div className="picture">
      <canvas
        ref={canvas}
        style={{ height: heightOf(layout) }}
        role="img"
        aria-label={`${layout.bars.length} attempts on ${layout.rows.length} peers; what was out of the ordinary is listed below`}
        onPointerMove={onPoint}
        onPointerDown={onPoint}
        onPointerLeave={() => setPointed(undefined)}
      />
      {pointed && <Tip {...pointed} nameOf={nameOf} />}
    </div>
  );
}

/** What time is shown: up to now while something goes on. */
function toWindow(layout: Layout, { now, at }: Heard, spanMs: number): Window {
  const present = now + performance.now() - at;
  const last = layout.bars.reduce((latest, { to }) => Math.max(latest, to ?? Infinity), 0);
  const to = spanMs === Infinity && last < present - SETTLED_MS ? last : present;
  const first = layout.bars.reduce((earliest, { from }) => Math.min(earliest, from), to);
  return { from: Math.max(first, to - spanMs), to };
}

type TipProps = { readonly bar: Bar; readonly x: number; readonly y: number; readonly nameOf: PictureProps['nameOf'] };

function Tip({ bar: { attempt, kind, from, to }, x, y, nameOf }: TipProps) {
  const { stage, peer, start, end, expectedMs, cutFrom, sizeBytes, reason } = attempt;
  const legend = LEGEND.find((entry) => entry.kind === kind)?.text;
  return (
    <div className="tip" style={{ left: x, top: y }}>
      <b>
        {nameOf(peer)} · {stage}
      </b>
      <br />
      items {formatCount(start)}–{formatCount(end - 1)}
      {cutFrom !== undefined && `, of ${formatCount(cutFrom - start)} at first`}
      <br />
      {to === undefined ? `since ${formatTime(from)}` : `${formatDuration(to - from)} from ${formatTime(from)}`}
      {expectedMs !== undefined && `, expected ${formatDuration(expectedMs)}`}
      <br />
      {legend}
      {sizeBytes !== undefined && ` · ${formatByteSize(sizeBytes)}`}
      {reason !== undefined && ` · ${reason.slice(0, 200)}`}
    </div>
  );
}

function News({ attempts, nameOf }: { attempts: readonly AttemptView[]; nameOf: (peer: KeyId) => string }) {
  const news = useMemo(() => listNews(attempts), [attempts]);
  if (news.length === 0) return null;
  return (
    <>
      <h3>Out of the ordinary</h3>
      <ol className="news">
        {news.slice(0, MAX_NEWS).map(({ at, text, attempt }) => (
          <li key={`${attempt.epoch} ${text}`}>
            <time className="dim">{formatTime(at)}</time> <b>{nameOf(attempt.peer)}</b> {text}{' '}
            <span className="dim">
              ({attempt.stage} {formatCount(attempt.start)}–{formatCount(attempt.end - 1)})
            </span>
          </li>
        ))}
      </ol>
      {news.length > MAX_NEWS && <p className="dim">and {formatCount(news.length - MAX_NEWS)} more before</p>}
    </>
  );
}
