// Owns the live stream: server-sent events that each carry the present whole. An event is made only when its reader is
// ready for one, so a slow reader gets fewer and nothing piles up; one that does not read at all is cut off.

import type { JobId, KeyId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { LiveEvent } from '../protocol/views.ts';

/** Changes within this time are told together. Something of the whole swarm changes with every heartbeat. */
const COALESCE_JOB_MS = 250;
const COALESCE_SWARM_MS = 1_000;
/** Streams of one thing that ask within this time get the same event: it is made once, however many watch. */
const SHARE_MS = 125;
/** A comment tells that the connection lives. */
const KEEP_ALIVE_MS = 10_000;
const STALL_MS = 30_000;
const MAX_STREAMS = 200;
/** One member cannot take all. */
const MAX_STREAMS_PER_MEMBER = 32;

export type LiveStreamsOptions = {
  /** The event for one job, or for the whole swarm. Throws 'not-found'. */
  readonly toEvent: (job: JobId | undefined) => LiveEvent;
  /** Resolves when what the state shows now is durable. */
  readonly whenDurable: () => Promise<void>;
};

export class LiveStreams {
  readonly #options: LiveStreamsOptions;
  readonly #streams = new Map<LiveStream, { readonly member: KeyId; readonly job: JobId | undefined }>();
  readonly #made = new Map<JobId | undefined, { readonly at: number; readonly data: string }>();

  constructor(options: LiveStreamsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#streams.size;
  }

  /** Opens a stream. Throws 'not-found' for an unknown job, 'too-many-requests' when there are too many. */
  open(job: JobId | undefined, member: KeyId): Response {
    const own = [...this.#streams.values()].filter((stream) => stream.member === member).length;
    if (this.#streams.size >= MAX_STREAMS || own >= MAX_STREAMS_PER_MEMBER)
      throw new SwarmError(
        'too-many-requests',
        `${this.#streams.size} live streams are open, ${own} of them yours; close some and try again`,
      );
    this.#toData(job);
    const stream = new LiveStream({
      toData: () => this.#toData(job),
      whenDurable: this.#options.whenDurable,
      coalesceMs: job === undefined ? COALESCE_SWARM_MS : COALESCE_JOB_MS,
      onClosed: () => this.#forget(stream, job),
    });
    this.#streams.set(stream, { member, job });
    return new Response(stream.readable, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } });
  }

  stop(): void {
    for (const stream of this.#streams.keys()) stream.end();
  }

  #toData(job: JobId | undefined): string {
    const at = performance.now();
    const made = this.#made.get(job);
    if (made && at - made.at < SHARE_MS) return made.data;
    const data = JSON.stringify(this.#options.toEvent(job));
    if (this.#streams.size > 0) this.#made.set(job, { at, data });
    return data;
  }

  #forget(stream: LiveStream, job: JobId | undefined): void {
    this.#streams.delete(stream);
    if (![...this.#streams.values()].some((other) => other.job === job)) this.#made.delete(job);
  }
}

type LiveStreamOptions = {
  readonly toData: () => string;
  readonly whenDurable: () => Promise<void>;
  readonly coalesceMs: number;
  readonly onClosed: () => void;
};

class LiveStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly #options: LiveStreamOptions;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #watchdog: NodeJS.Timeout | undefined;
  #sent = '';
  #sentAt = -Infinity;
  #closed = false;

  constructor(options: LiveStreamOptions) {
    this.#options = options;
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => void (this.#controller = controller),
        pull: () => this.#next(),
        cancel: () => this.#close(),
      },
      { highWaterMark: 1 },
    );
  }

  end(): void {
    if (this.#closed) return;
    this.#close();
    this.#controller?.close();
  }

  /** The reader wants more: waits until there is something to tell. */
  async #next(): Promise<void> {
    clearTimeout(this.#watchdog);
    while (!this.#closed) {
      const waitMs = this.#sentAt + this.#options.coalesceMs - performance.now();
      if (waitMs > 0) await this.#sleep(waitMs);
      const text = this.#toText();
      // Looked at first, told when it cannot be taken back.
      if (text !== undefined) await this.#options.whenDurable();
      if (this.#closed) return;
      if (text !== undefined) return this.#send(text);
      await this.#sleep(this.#options.coalesceMs);
    }
  }

  /** What is new; a comment after a long silence. */
  #toText(): string | undefined {
    const data = this.#options.toData();
    if (data !== this.#sent) {
      this.#sent = data;
      return `data: ${data}\n\n`;
    }
    return performance.now() - this.#sentAt > KEEP_ALIVE_MS ? ': still here\n\n' : undefined;
  }

  #send(text: string): void {
    this.#sentAt = performance.now();
    this.#controller?.enqueue(new TextEncoder().encode(text));
    this.#watchdog = setTimeout(() => this.#cutOff(), STALL_MS);
    this.#watchdog.unref();
  }

  #cutOff(): void {
    if (this.#closed) return;
    this.#close();
    this.#controller?.error(new SwarmError('timeout', 'the reader of a live stream does not read'));
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#timer = setTimeout(resolve, ms);
    });
  }

  #close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    this.#options.onClosed();
  }
}
