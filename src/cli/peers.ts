// Owns `swarm peers` and `swarm drain`: the machines of the swarm.

import type { Command } from 'commander';
import { formatByteSize } from '../lib/byte-sizes.ts';
import { formatDuration } from '../lib/durations.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { PeerView } from '../protocol/views.ts';
import { openConnection } from './connect.ts';
import { readGlobals } from './globals.ts';
import { print, toPercent, toTable } from './output.ts';

export function registerPeers(program: Command): void {
  program
    .command('peers')
    .description('list the machines of the swarm')
    .addHelpText('after', '\nExample:\n  swarm peers --json')
    .action(async (_: object, command: Command) => {
      const { home, output } = readGlobals(command);
      using connection = await openConnection(home);
      print(output, await connection.client.call('peers', {}), ({ peers }) => toPeerTable(peers));
    });
  program
    .command('drain <peer>')
    .description('let a machine finish what it has and give it nothing new')
    .option('--undo', 'give it work again; ends a quarantine, too')
    .addHelpText('after', '\nExamples:\n  swarm drain attic-5090\n  swarm drain attic-5090 --undo')
    .action(async (wanted: string, { undo }: { undo?: true }, command: Command) => {
      const { home, output } = readGlobals(command);
      using connection = await openConnection(home);
      const { peers } = await connection.client.call('peers', {});
      const peer = findPeer(peers, wanted);
      const drained = undo !== true;
      const done = await connection.client.call('drain', { peer: peer.id, body: { drained } });
      const text = drained ? 'finishes what it has and gets nothing new' : 'gets work again';
      print(output, done, ({ changed }) => `${peer.name} ${changed ? '' : 'already '}${text}`);
    });
}

function toPeerTable(peers: readonly PeerView[]): string {
  if (peers.length === 0) return 'no machine has joined yet: swarm invite lets one in';
  const sorted = peers.toSorted((a, b) => Number(b.connected) - Number(a.connected) || a.name.localeCompare(b.name));
  return toTable(['NAME', 'STATUS', 'DEVICES', 'CPU', 'TASKS', 'SANDBOX', 'ID'], sorted.map(toRow));
}

function toRow({ name, connected, drained, quarantine, session, id }: PeerView): string[] {
  const status = connected ? toStanding(drained, quarantine) : awayFor(session?.silentMs);
  const devices = session?.devices.map((device) => `${device.name} (${formatByteSize(device.memoryBytes)})`).join(', ');
  const cpu = session?.telemetry?.cpuUtilisation;
  return [
    name,
    status,
    devices ?? '',
    cpu === undefined ? '' : toPercent(cpu),
    String(session?.heldTasks ?? 0),
    session?.sandbox ?? '',
    id.slice(0, 'ed25519:'.length + 12),
  ];
}

function toStanding(drained: boolean, quarantine: PeerView['quarantine']): string {
  if (drained) return 'drained';
  return quarantine ? `quarantined (${formatDuration(quarantine.leftMs)})` : 'connected';
}

function awayFor(silentMs: number | undefined): string {
  return silentMs === undefined ? 'away' : `away for ${formatDuration(silentMs)}`;
}

/** By name, or by the beginning of its id. */
function findPeer(peers: readonly PeerView[], wanted: string): PeerView {
  const found = peers.filter(
    ({ id, name }) => name === wanted || id.startsWith(wanted) || id.startsWith(`ed25519:${wanted}`),
  );
  const [only, another] = found;
  if (only && !another) return only;
  const what = only
    ? `several machines are called "${wanted}": give the beginning of the id`
    : `there is no machine "${wanted}"`;
  throw new SwarmError('not-found', `${what}; swarm peers lists them`);
}
