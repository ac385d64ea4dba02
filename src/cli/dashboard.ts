// Owns `swarm dashboard`: a sign-in link for a browser on this machine. Where the coordinator speaks TLS under a pinned
// key, which no browser knows, the browser goes through a proxy here that does.

import type { Command } from 'commander';
import { openConnection } from './connect.ts';
import { startDashboardProxy } from './dashboard-proxy.ts';
import { readGlobals, type Globals } from './globals.ts';
import { aborted, onInterrupt } from './interrupt.ts';
import { print } from './output.ts';
import { toPort } from './settings.ts';

export function registerDashboard(program: Command): void {
  program
    .command('dashboard')
    .description('print a link that opens the dashboard in a browser on this machine')
    .option('--port <port>', 'port of the proxy, where one is needed; any free one unless told')
    .addHelpText('after', '\nThe link works once, within ten minutes; the browser can look, and change nothing.')
    .addHelpText('after', '\nExample:\n  swarm dashboard')
    .action(async ({ port }: { port?: string }, command: Command) => {
      process.exitCode = await runDashboard(readGlobals(command), toPort(port ?? '0'));
    });
}

async function runDashboard({ home, output }: Globals, port: number): Promise<number> {
  using connection = await openConnection(home);
  const { client } = connection;
  const { code } = await client.call('link', {});
  const { url, fetch } = client.session.options;
  if (!fetch) {
    print(output, { url: `${url}/#${code}` }, (shown) => shown.url);
    return 0;
  }
  using interrupt = onInterrupt();
  await using proxy = await startDashboardProxy({ url, fetch, port });
  print(
    output,
    { url: `${proxy.url}/#${code}` },
    (shown) => `${shown.url}\n\nThe page lives as long as this command: Ctrl-C ends it.`,
  );
  await aborted(interrupt.signal);
  return interrupt.serviceExitCode();
}
