// Owns Ctrl-C: the first one asks for an orderly end, the second one ends at once.

import { EXIT_CODES } from './exit-codes.ts';

export type Interrupt = Disposable & {
  /** Fires at the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
  /** The exit code that the signal asks for. */
  readonly exitCode: () => number;
};

/** Listens until it is disposed. */
export function onInterrupt(): Interrupt {
  const controller = new AbortController();
  let exitCode: number = EXIT_CODES.ok;
  const onSignal = (name: NodeJS.Signals) => {
    exitCode = name === 'SIGINT' ? EXIT_CODES.interrupted : EXIT_CODES.ok;
    if (controller.signal.aborted) process.exit(EXIT_CODES.interrupted);
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    exitCode: () => exitCode,
    [Symbol.dispose]: () => {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}

/** Resolves when the signal fires. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
