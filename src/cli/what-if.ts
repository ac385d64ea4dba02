// Owns `swarm what-if`: how long what waits would take with other machines.

import { Option, type Command } from 'commander';
import { formatDuration } from '../lib/durations.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { QueueView } from '../protocol/views.ts';
import { openConnection } from './connect.ts';
import { readHistory } from './history.ts';
import { readGlobals, type Globals } from './globals.ts';
import { note, print, toPercent, toTable } from './output.ts';
import { listUnknown, NO_CHANGE, playQueue, type FleetChange, type Outlook } from './scenario.ts';

const BITS_A_MBIT = 1_000_000;

type Options = {
  readonly add: string[];
  readonly without: string[];
  readonly uplink: string[];
  readonly history?: string;
};

export function registerWhatIf(program: Command): void {
  const list = (flags: string, about: string) =>
    new Option(flags, about).argParser((text: string, before: string[]) => [...before, text]).default([], 'none');
  program
    .command('what-if')
    .description('play what waits through with other machines, and say how long it would take')
    .addOption(list('--add <device>', 'one device more, such as 5090; may be given again'))
    .addOption(list('--without <peer>', 'without that machine; may be given again'))
    .addOption(list('--uplink <peer=mbit>', 'with another uplink there, in Mbit/s; may be given again'))
    .option('--history <file>', 'not what waits, but what was done: a decision log (swarm up --decision-log)')
    .addHelpText('after', '\nThe scheduler itself is played in virtual time, at the speeds that it has learned.')
    .addHelpText(
      'after',
      '\nExamples:\n  swarm what-if --add 5090\n  swarm what-if --without anna --uplink ben=5\n  swarm what-if --history decisions.jsonl --add 5090',
    )
    .action(async (options: Options, command: Command) => runWhatIf(readGlobals(command), options));
}

async function runWhatIf({ home, output }: Globals, options: Options): Promise<void> {
  const change: FleetChange = { ...options, uplinks: new Map(options.uplink.map(parseUplink)) };
  using connection = await openConnection(home);
  const present = await connection.client.call('queue', {});
  const history = options.history === undefined ? undefined : await readHistory(options.history, present.peers);
  const queue = history?.queue ?? present;
  for (const stage of listUnknown(queue))
    note(output, `left out: ${stage}, because nobody has run anything like it yet`);
  if (change.add.length > 0)
    note(output, 'a new device counts as the table of devices has it; work that uses no GPU would gain less');
  const now = playQueue(queue, NO_CHANGE, history?.comesAtMs);
  const isChange = change.add.length + change.without.length + change.uplinks.size > 0;
  const then = isChange ? playQueue(queue, change, history?.comesAtMs) : undefined;
  print(output, toShown(queue, now, then), () => toText(queue, now, then));
}

function parseUplink(text: string): [string, number] {
  const match = /^(.+)=(\d+(?:\.\d+)?)$/.exec(text);
  const mbit = Number(match?.[2]);
  if (match && mbit > 0 && mbit <= 1_000_000) return [match[1] ?? '', (mbit * BITS_A_MBIT) / 8];
  throw new SwarmError('bad-input', `"${text}" is no uplink: write the peer's name and Mbit/s, such as anna=5`);
}

function toShown({ jobs }: QueueView, now: Outlook, then: Outlook | undefined) {
  return {
    ...{ totalMs: now.totalMs, ...(then && { changedTotalMs: then.totalMs }) },
    jobs: jobs.flatMap(({ id, name }) => {
      const [ms, changedMs] = [now.jobMs.get(id), then?.jobMs.get(id)];
      return ms === undefined ? [] : { id, name, ms, ...(changedMs !== undefined && { changedMs }) };
    }),
  };
}

function toText(queue: QueueView, now: Outlook, then: Outlook | undefined): string {
  const { jobs, totalMs } = toShown(queue, now, then);
  const row = (name: string, ms: number, changedMs: number | undefined) =>
    changedMs === undefined
      ? [name, formatDuration(ms)]
      : [name, formatDuration(ms), formatDuration(changedMs), toDifference(changedMs / ms - 1)];
  const head = then ? ['ENDS IN', 'AS IT IS', 'WHAT IF', ''] : ['ENDS IN', 'AS IT IS'];
  return toTable(head, [
    ...jobs.map(({ name, ms, changedMs }) => row(name, ms, changedMs)),
    row('everything', totalMs, then?.totalMs),
  ]);
}

function toDifference(share: number): string {
  return Math.abs(share) < 0.005 ? 'the same' : `${share > 0 ? '+' : '-'}${toPercent(Math.abs(share))}`;
}
