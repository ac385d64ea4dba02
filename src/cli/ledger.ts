// Owns `swarm ledger`: who gave device time to whom.

import type { Command } from 'commander';
import { formatDuration } from '../lib/durations.ts';
import type { LedgerView } from '../protocol/views.ts';
import { openConnection } from './connect.ts';
import { readGlobals } from './globals.ts';
import { print, toPlain, toTable } from './output.ts';
import { toCount } from './progress-view.ts';

export function registerLedger(program: Command): void {
  program
    .command('ledger')
    .description('show who gave device time and who took it, by week')
    .addHelpText('after', '\nExample:\n  swarm ledger')
    .action(async (_: object, command: Command) => {
      const { home, output } = readGlobals(command);
      using connection = await openConnection(home);
      print(output, await connection.client.call('ledger', {}), toLedgerText);
    });
}

function toLedgerText({ weeks }: LedgerView): string {
  if (weeks.length === 0) return 'nothing has been done for anybody yet';
  return weeks
    .map(({ week, rows }) => {
      const lines = rows.map(({ peerName, submitterName, deviceSeconds, items }) => [
        toPlain(peerName),
        toPlain(submitterName),
        formatDuration(deviceSeconds * 1_000),
        toCount(items),
      ]);
      return `week of ${week}\n${toTable(['GAVE', 'TOOK', 'DEVICE TIME', 'ITEMS'], lines)}`;
    })
    .join('\n\n');
}
