// Owns the frame of the dashboard: who is signed in, which page is shown, and whether the coordinator is heard.

import { useCallback, useEffect, useState } from 'react';
import type { JobId } from '../../src/lib/ids.ts';
import { formatDuration } from './format.ts';
import { JobPage } from './job-page.tsx';
import { JobList } from './job-list.tsx';
import { Ledger } from './ledger.tsx';
import { useNow, useSwarm } from './live.ts';
import { PeerList } from './peer-list.tsx';
import { useSignIn, type Viewer } from './sign-in.ts';
import { TimelineSection } from './timeline-section.tsx';

/** The coordinator tells something every second; after so long something is wrong. */
const SILENT_MS = 5_000;

export function App() {
  const { signIn, signOut } = useSignIn();
  const onRefused = useCallback(
    (error: unknown) => signOut(error instanceof Error ? error.message : String(error)),
    [signOut],
  );
  switch (signIn.kind) {
    case 'signing-in':
      return <Notice title="Signing in …" />;
    case 'out':
      return <Notice title="Backyard Swarm">{signIn.reason}</Notice>;
    case 'in':
      return <Swarm client={signIn.client} onRefused={onRefused} />;
  }
}

function Notice({ title, children }: { title: string; children?: string }) {
  return (
    <main className="notice">
      <img src="/icon.svg" alt="" width="48" height="48" />
      <h1>{title}</h1>
      <p>{children}</p>
    </main>
  );
}

type SwarmProps = { client: Viewer; onRefused: (error: unknown) => void };

function Swarm({ client, onRefused }: SwarmProps) {
  const page = usePage();
  const seen = useSwarm(client, onRefused);
  return (
    <>
      <header>
        <a className="brand" href="#/">
          <img src="/icon.svg" alt="" width="24" height="24" /> Backyard Swarm
        </a>
        <nav aria-label="Pages">
          <a href="#/" aria-current={page.kind === 'overview' ? 'page' : undefined}>
            Overview
          </a>
          <a href="#/ledger" aria-current={page.kind === 'ledger' ? 'page' : undefined}>
            Ledger
          </a>
        </nav>
        <Pulse at={seen?.at} />
      </header>
      <main>
        {page.kind === 'overview' && (
          <>
            <JobList jobs={seen?.event.jobs} />
            <PeerList peers={seen?.event.peers} />
            <TimelineSection client={client} peers={seen?.event.peers ?? []} onRefused={onRefused} />
          </>
        )}
        {page.kind === 'job' && (
          <JobPage key={page.id} client={client} id={page.id} peers={seen?.event.peers ?? []} onRefused={onRefused} />
        )}
        {page.kind === 'ledger' && <Ledger client={client} onRefused={onRefused} />}
      </main>
    </>
  );
}

/** Says so when the coordinator has not been heard for a while; what was last known stays on the page. */
function Pulse({ at }: { at: number | undefined }) {
  const now = useNow();
  const silentMs = at === undefined ? undefined : Math.max(0, now - at);
  const isSilent = silentMs !== undefined && silentMs > SILENT_MS;
  return (
    <p className={isSilent ? 'pulse silent' : 'pulse'} role="status">
      {at === undefined ? 'connecting …' : isSilent ? `no word for ${formatDuration(silentMs)}; trying again` : 'live'}
    </p>
  );
}

type Page = { kind: 'overview' } | { kind: 'ledger' } | { kind: 'job'; id: JobId };

function usePage(): Page {
  const [page, setPage] = useState(toPage);
  useEffect(() => {
    const onHash = () => setPage(toPage());
    addEventListener('hashchange', onHash);
    return () => removeEventListener('hashchange', onHash);
  }, []);
  return page;
}

function toPage(): Page {
  if (location.hash === '#/ledger') return { kind: 'ledger' };
  const job = /^#\/jobs\/([0-9a-f]{16})$/.exec(location.hash)?.[1];
  return job === undefined ? { kind: 'overview' } : { kind: 'job', id: job as JobId };
}
