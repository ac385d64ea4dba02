// Owns Ctrl-C: the first one asks for an orderly end, the second one ends at once.

import { EXIT_CODES } from './exit-codes.ts';

export type Interrupt = Disposable & {
  /** Fires at the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
  /** For a command that was to reach an end and did not. */
  readonly exitCode: () => number;
  /** For a program that runs until it is told to end: SIGTERM is how service managers tell it. */
  readonly serviceExitCode: () => number;
};

/** Listens until it is disposed. */
export function onInterrupt(): Interrupt {
  const controller = new AbortController();
  let by: NodeJS.Signals = 'SIGINT';
  const toExitCode = () => (by === 'SIGTERM' ? EXIT_CODES.terminated : EXIT_CODES.interrupted);
  const onSignal = (name: NodeJS.Signals) => {
    by = name;
    if (controller.signal.aborted) process.exit(toExitCode());
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    exitCode: toExitCode,
    serviceExitCode: () => (by === 'SIGTERM' ? EXIT_CODES.ok : EXIT_CODES.interrupted),
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
