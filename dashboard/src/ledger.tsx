// Owns the ledger's page: who gave device time, and who took it, by week.

import { useState } from 'react';
import type { LedgerView } from '../../src/protocol/views.ts';
import { formatCount, formatDuration } from './format.ts';
import { usePolling } from './live.ts';
import type { Viewer } from './sign-in.ts';

const POLL_MS = 5_000;

export function Ledger({ client, onRefused }: { client: Viewer; onRefused: (error: unknown) => void }) {
  const [ledger, setLedger] = useState<LedgerView>();
  const ask = async (signal: AbortSignal) => setLedger(await client.call('ledger', {}, { signal }));
  usePolling(ask, POLL_MS, [client], onRefused);
  return (
    <section aria-labelledby="ledger-title">
      <h2 id="ledger-title">Ledger</h2>
      {ledger?.weeks.length === 0 && <p className="empty">Nothing has been done for anybody yet.</p>}
      {ledger?.weeks.map(({ week, rows }) => (
        <table key={week}>
          <caption>Week of {week}</caption>
          <thead>
            <tr>
              <th scope="col">Gave</th>
              <th scope="col">Took</th>
              <th scope="col" className="figure">
                Device time
              </th>
              <th scope="col" className="figure">
                Items
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.peer + row.submitter}>
                <td>{row.peerName}</td>
                <td>{row.submitterName}</td>
                <td className="figure">{formatDuration(1_000 * row.deviceSeconds)}</td>
                <td className="figure">{formatCount(row.items)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ))}
    </section>
  );
}
