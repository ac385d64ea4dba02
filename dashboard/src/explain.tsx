// Owns the dialog that tells why a stage waits, or why it runs where it runs: the scheduler's own words.

import { useEffect, useRef, useState } from 'react';
import type { JobId } from '../../src/lib/ids.ts';
import { usePolling } from './live.ts';
import type { Viewer } from './sign-in.ts';

const POLL_MS = 2_000;

type Props = {
  readonly client: Viewer;
  readonly job: JobId;
  readonly stage: string;
  readonly onClosed: () => void;
};

export function Explain({ client, job, stage, onClosed }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useRef<HTMLHeadingElement>(null);
  const [lines, setLines] = useState<readonly string[]>();
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    // Not the button: the stroke that opened the dialog must not close it, and a screen reader begins at the title.
    title.current?.focus();
    return () => element?.close();
  }, []);
  const ask = async (signal: AbortSignal) => setLines((await client.call('explain', { job, stage }, { signal })).lines);
  usePolling(ask, POLL_MS, [client, job, stage], (error) =>
    setLines([error instanceof Error ? error.message : String(error)]),
  );
  return (
    <dialog ref={dialog} aria-labelledby="explain-title" onClose={onClosed}>
      <h2 id="explain-title" ref={title} tabIndex={-1}>
        Why is “{stage}” as it is?
      </h2>
      {lines?.map((line, i) =>
        line.startsWith('  ') ? (
          <p key={i} className="inset">
            {line.trim()}
          </p>
        ) : (
          <p key={i}>{line}</p>
        ),
      )}
      <form method="dialog">
        <button type="submit">Close</button>
      </form>
    </dialog>
  );
}
