// Owns the live stream: server-sent events that each carry the present whole. An event is made only when its reader is
// ready for one, so a slow reader gets fewer and nothing piles up; one that does not read at all is cut off.

import type { JobId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { LiveEvent } from '../protocol/views.ts';

/** Changes within this time are told together. */
const COALESCE_MS = 250;
/** A comment tells that the connection lives. */
const KEEP_ALIVE_MS = 10_000;
const STALL_MS = 30_000;
const MAX_STREAMS = 200;

export type LiveStreamsOptions = {
  /** The event for one job, or for the whole swarm. Throws 'not-found'. */
  readonly toEvent: (job: JobId | undefined) => LiveEvent;
};

export class LiveStreams {
  readonly #options: LiveStreamsOptions;
  readonly #streams = new Set<LiveStream>();

  constructor(options: LiveStreamsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#streams.size;
  }

  /** Opens a stream. Throws 'not-found' for an unknown job, 'too-many-requests' when there are too many. */
  open(job: JobId | undefined): Response {
    if (this.#streams.size >= MAX_STREAMS)
      throw new SwarmError('too-many-requests', `${MAX_STREAMS} live streams are open; close some and try again`);
    this.#options.toEvent(job);
    const stream = new LiveStream(
      () => this.#options.toEvent(job),
      () => this.#streams.delete(stream),
    );
    this.#streams.add(stream);
    return new Response(stream.readable, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } });
  }

  stop(): void {
    for (const stream of this.#streams) stream.end();
  }
}

class LiveStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly #toEvent: () => LiveEvent;
  readonly #onClosed: () => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #watchdog: NodeJS.Timeout | undefined;
  #sent = '';
  #sentAt = -Infinity;
  #closed = false;

  constructor(toEvent: () => LiveEvent, onClosed: () => void) {
    this.#toEvent = toEvent;
    this.#onClosed = onClosed;
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
      const waitMs = this.#sentAt + COALESCE_MS - performance.now();
      if (waitMs > 0) await this.#sleep(waitMs);
      const text = this.#toText();
      if (this.#closed) return;
      if (text !== undefined) return this.#send(text);
      await this.#sleep(COALESCE_MS);
    }
  }

  /** What is new; a comment after a long silence. */
  #toText(): string | undefined {
    const data = JSON.stringify(this.#toEvent());
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
    this.#onClosed();
  }
}
