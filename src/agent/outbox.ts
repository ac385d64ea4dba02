// Owns messages on their way to the link: those of a moment leave together, and small reports become one. While the loop
// is busy they wait a few milliseconds for company, which is what makes tiny tasks cheap.

import type { ToCoordinator } from '../protocol/to-coordinator.ts';

/** No message waits longer, however busy the loop is. */
const MAX_WAIT_MS = 4;
const MAX_WAITING = 256;
/** As the core bounds it, so that long reasons fit a frame. */
const MAX_REPORTS = 256;

export class Outbox {
  readonly #send: (messages: readonly ToCoordinator[]) => void;
  readonly #isBusy: () => boolean;
  #waiting: ToCoordinator[] = [];
  #since = 0;
  #scheduled = false;

  /** `isBusy` says that more is about to come. */
  constructor(send: (messages: readonly ToCoordinator[]) => void, isBusy: () => boolean) {
    this.#send = send;
    this.#isBusy = isBusy;
  }

  add(message: ToCoordinator): void {
    if (this.#waiting.length === 0) this.#since = performance.now();
    const last = this.#waiting.at(-1);
    if (message.type === 'report' && last?.type === 'report' && last.reports.length < MAX_REPORTS)
      last.reports.push(...message.reports);
    else this.#waiting.push(message.type === 'report' ? { ...message, reports: [...message.reports] } : message);
    this.#schedule();
  }

  /** The link is gone, and with it what was meant for it: the next hello settles it. */
  clear(): void {
    this.#waiting = [];
  }

  flush(): void {
    const messages = this.#waiting;
    this.#waiting = [];
    if (messages.length > 0) this.#send(messages);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#onImmediate());
  }

  #onImmediate(): void {
    this.#scheduled = false;
    const isLate = this.#waiting.length >= MAX_WAITING || performance.now() - this.#since >= MAX_WAIT_MS;
    if (isLate || !this.#isBusy()) this.flush();
    else this.#schedule();
  }
}
