// Owns what is live: the newest event of a stream, kept while the coordinator is away, so that nothing flickers; and how
// long it has been silent.

import { useEffect, useState } from 'react';
import type { JobId } from '../../src/lib/ids.ts';
import { SwarmError } from '../../src/protocol/errors.ts';
import type { JobDetail, LiveEvent } from '../../src/protocol/views.ts';
import type { Viewer } from './sign-in.ts';

export type SwarmEvent = Extract<LiveEvent, { type: 'swarm' }>;
type OnRefused = (error: unknown) => void;

/** Peers and jobs as of the last word of the coordinator, and when that came (the page's clock). */
export function useSwarm(
  client: Viewer,
  onRefused: OnRefused,
): { readonly event: SwarmEvent; readonly at: number } | undefined {
  const [seen, setSeen] = useState<{ event: SwarmEvent; at: number }>();
  useStream(
    (signal) => client.watchSwarm({ signal }),
    (event) => setSeen({ event, at: performance.now() }),
    [client],
    onRefused,
  );
  return seen;
}

/** A job as it is; the one shown before is not shown for another. */
export function useJob(client: Viewer, id: JobId, onRefused: OnRefused): JobDetail | undefined {
  const [job, setJob] = useState<JobDetail>();
  useStream((signal) => client.watchJob(id, { signal }), setJob, [client, id], onRefused);
  return job?.id === id ? job : undefined;
}

function useStream<T>(
  open: (signal: AbortSignal) => AsyncGenerator<T>,
  onEvent: (event: T) => void,
  dependencies: readonly unknown[],
  onRefused: OnRefused,
): void {
  useEffect(() => {
    const ended = new AbortController();
    const read = async () => {
      for await (const event of open(ended.signal)) if (!ended.signal.aborted) onEvent(event);
    };
    read().catch((error: unknown) => {
      if (!ended.signal.aborted) onRefused(error);
    });
    return () => ended.abort();
  }, dependencies);
}

/** Calls `ask` now and every `everyMs` until the component goes; a coordinator that is away is asked again. */
export function usePolling(
  ask: (signal: AbortSignal) => Promise<void>,
  everyMs: number,
  dependencies: readonly unknown[],
  onRefused: OnRefused,
): void {
  useEffect(() => {
    const ended = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const next = async () => {
      try {
        await ask(ended.signal);
      } catch (error) {
        if (ended.signal.aborted) return;
        if (!(error instanceof SwarmError && error.retryable)) return onRefused(error);
      }
      if (!ended.signal.aborted) timer = setTimeout(() => void next(), everyMs);
    };
    void next();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, dependencies);
}

/** The page's clock, told again every second. */
export function useNow(): number {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
