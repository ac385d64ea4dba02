// Owns `swarm up`: a coordinator in the foreground. The first time it makes the swarm's key and the admin's.

import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { loadKey, loadOrCreateKey } from '../identity/key-files.ts';
import { loadTrustFile, saveTrustFile, type TrustFile } from '../identity/trust-file.ts';
import type { Coordinator } from '../coordinator/coordinator.ts';
import type { KeyId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { readGlobals, type Globals } from './globals.ts';
import type { Home } from './home.ts';
import { aborted, onInterrupt } from './interrupt.ts';
import { createLogger } from './logger.ts';
import { print } from './output.ts';
import { loadSettings, type Flags } from './settings.ts';
import { DASHBOARD_DIR, readVersion } from './version.ts';

export function registerUp(program: Command): void {
  program
    .command('up')
    .description('start this swarm’s coordinator and keep it running')
    .option('--host <address>', 'address to listen on; beyond loopback everything is TLS (default: 127.0.0.1)')
    .option('--port <port>', 'port to listen on; 0 takes any free one (default: 8080)')
    .option('--allow-public', 'really listen on a public address')
    .option('--quota <size>', 'room for artifacts, such as 50GiB')
    .option('--decision-log <file>', 'append what was planned and what came of it, a line of JSON an attempt')
    .option('--log-level <level>', 'debug, info, warn or error')
    .addHelpText('after', '\nExamples:\n  swarm up\n  swarm up --host 192.168.1.20')
    .action(async (flags: Flags, command: Command) => {
      process.exitCode = await runCoordinator(readGlobals(command), flags);
    });
}

async function runCoordinator({ home, output }: Globals, flags: Flags): Promise<number> {
  const settings = await loadSettings(home.dir, flags);
  const adminKey = await findAdminKey(home);
  const { startCoordinator } = await import('../coordinator/coordinator.ts');
  using interrupt = onInterrupt();
  const fatal = Promise.withResolvers<Error>();
  const logger = createLogger(settings.logLevel, output.isTerminal);
  await using coordinator = await startCoordinator(
    {
      dir: home.coordinatorDir,
      adminKey,
      host: settings.host,
      port: settings.port,
      allowPublic: settings.allowPublic,
      publicHosts: settings.publicHosts,
      quotaBytes: settings.quota,
      version: await readVersion(),
      dashboardDir: DASHBOARD_DIR,
      ...(settings.decisionLog !== undefined && { decisionLog: resolve(settings.decisionLog) }),
      ...(settings.metricsToken !== undefined && { metricsToken: settings.metricsToken }),
    },
    { logger, onFatal: (error) => fatal.resolve(error instanceof Error ? error : new Error(String(error))) },
  );
  await saveOwnTrust(home, coordinator, adminKey);
  const dashboard = coordinator.makeDashboardUrl(adminKey);
  const shown = { swarm: coordinator.swarm, urls: coordinator.urls, ...(dashboard !== undefined && { dashboard }) };
  print(output, shown, () => describe(coordinator, dashboard));
  const failure = await Promise.race([fatal.promise, aborted(interrupt.signal)]);
  if (failure === undefined) return interrupt.serviceExitCode();
  process.stderr.write(`error: the coordinator had to stop: ${failure.message}\n`);
  return EXIT_CODES.failed;
}

/** The admin's own, or the one that was pinned here: the admin's key may live on another machine. */
async function findAdminKey(home: Home): Promise<KeyId> {
  const trust = await loadTrustFile(join(home.clientDir, 'trust.json'));
  if (trust) {
    const own = await loadKey(join(home.coordinatorDir, 'key.pem'));
    const admin = await loadKey(join(home.adminDir, 'key.pem'));
    if (own?.keyId === trust.swarm || admin?.keyId === trust.adminKey) return trust.adminKey;
    throw new SwarmError(
      'conflict',
      `${home.dir} belongs to a member of another swarm, ${trust.swarm}: start your own with swarm up --home FOLDER`,
    );
  }
  await mkdir(home.adminDir, { recursive: true, mode: 0o700 });
  return (await loadOrCreateKey(join(home.adminDir, 'key.pem'))).keyId;
}

/** So that commands on this machine find the coordinator, and invites carry its addresses. */
async function saveOwnTrust(home: Home, { swarm, urls, tlsPin }: Coordinator, adminKey: KeyId): Promise<void> {
  await mkdir(home.clientDir, { recursive: true, mode: 0o700 });
  const path = join(home.clientDir, 'trust.json');
  const { tlsPin: _, ...before } = (await loadTrustFile(path)) ?? { v: 1 as const, rosterVersion: 0, localTrust: [] };
  const trust: TrustFile = {
    ...before,
    swarm,
    adminKey,
    addresses: urls.slice(0, 16),
    ...(tlsPin !== undefined && { tlsPin }),
  };
  await saveTrustFile(path, trust);
}

function describe({ swarm, urls, tlsPin }: Coordinator, dashboard: string | undefined): string {
  const reach = tlsPin === undefined ? 'this machine only' : 'TLS 1.3, by the pin in invites';
  return [
    `swarm ${swarm}`,
    `listening on ${urls.join(', ')} (${reach})`,
    `dashboard    ${dashboard ?? 'swarm dashboard prints a link, here or on any member’s machine'}`,
    '',
    'Next, in another terminal:',
    '  swarm invite              an invite for a friend’s machine, or for this one',
    '  swarm join INVITE         on the machine that lends its power, then: swarm agent',
    '  swarm run embeddings DIR --out FILE',
    '',
    'Ctrl-C stops the coordinator; nothing is lost.',
  ].join('\n');
}
