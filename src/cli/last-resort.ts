// Owns what must happen even when this process ends at once, as at a second Ctrl-C: only what can be done without waiting.

export type LastResort = Disposable;

/** Runs `clean` when the process exits. Disposing it means that the orderly way has done the work. */
export function onExit(clean: () => void): LastResort {
  process.on('exit', clean);
  return { [Symbol.dispose]: () => process.off('exit', clean) };
}
