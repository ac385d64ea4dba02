// Owns the rule that one call at a time works on an upload, and that the newest wins: after a cut, the dead connection of
// the first try may look alive for minutes, and its uploader has long come back. Knows no bytes.

import { SwarmError } from '../protocol/errors.ts';

type Holder = { readonly abort: AbortController; readonly done: Promise<unknown> };

export class UploadSlots {
  readonly #holders = new Map<string, Holder>();

  /** True while a call works on the upload. */
  isBusy(name: string): boolean {
    return this.#holders.has(name);
  }

  /** Ends whoever works on the upload `name`, waits for it, then runs `work` with a signal that ends it in turn. */
  async run<T>(name: string, signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    for (let holder = this.#holders.get(name); holder; holder = this.#holders.get(name)) {
      holder.abort.abort(new SwarmError('conflict', `a later call took over the upload ${name}; ask where it stands`));
      await holder.done;
    }
    const abort = new AbortController();
    const result = work(signal ? AbortSignal.any([abort.signal, signal]) : abort.signal);
    const holder = { abort, done: result.catch(() => undefined) };
    this.#holders.set(name, holder);
    try {
      return await result;
    } finally {
      this.#holders.delete(name);
    }
  }
}
