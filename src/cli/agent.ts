// Owns `swarm agent`: lends this machine to the swarm it joined, in the foreground.

import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { loadKey } from '../identity/key-files.ts';
import type { KeyId } from '../lib/ids.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { readGlobals, type Globals } from './globals.ts';
import type { Home } from './home.ts';
import { aborted, onInterrupt } from './interrupt.ts';
import { createLogger } from './logger.ts';
import { note } from './output.ts';
import { loadSettings, type Flags } from './settings.ts';
import { APP_DIR } from './version.ts';

type AgentFlags = Flags & { readonly label?: string; readonly untilStdinEnds?: true };

export function registerAgent(program: Command): void {
  program
    .command('agent')
    .description('lend this machine to the swarm it joined, until Ctrl-C')
    .option('--name <name>', 'what this machine calls itself')
    .option('--url <url>', 'the coordinator’s address, instead of the invite’s')
    .option('--threads <count>', 'CPU threads for tasks')
    .option('--slots <count>', 'tasks that compute at once')
    .option('--slowdown <factor>', 'slower on purpose by this factor, for demos')
    .option('--sandbox <level>', 'auto, bubblewrap or permission')
    .addOption(
      new Option(
        '--label <label>',
        'what you say of this machine, for jobs that ask for such; may be given again',
      ).argParser((text: string, before: string | undefined) => (before === undefined ? text : `${before},${text}`)),
    )
    .option('--memory <size>', 'memory for tasks, such as 4GiB')
    .option('--log-level <level>', 'debug, info, warn or error')
    .addOption(new Option('--until-stdin-ends', 'end with the program that started it').hideHelp())
    .addHelpText(
      'after',
      '\nExamples:\n  swarm agent\n  swarm agent --threads 4 --memory 4GiB\n  swarm agent --label big-disk',
    )
    .action(async ({ url, label, untilStdinEnds, ...flags }: AgentFlags, command: Command) => {
      const lent = untilStdinEnds === true ? stdinEnds() : new Promise<void>(() => {});
      process.exitCode = await runAgent(readGlobals(command), { ...flags, coordinatorUrl: url, labels: label }, lent);
    });
}

/** A pipe from a program ends with it, however it ended. */
function stdinEnds(): Promise<void> {
  return new Promise((resolve) => {
    process.stdin.once('close', resolve).once('error', resolve).resume();
    // It must not keep an agent that has been told to end.
    process.stdin.unref();
  });
}

/** The person whose jobs are submitted from this home: they come first on this machine. */
async function findOwner(home: Home): Promise<KeyId | undefined> {
  const key = (await loadKey(join(home.adminDir, 'key.pem'))) ?? (await loadKey(join(home.clientDir, 'key.pem')));
  return key?.keyId;
}

async function runAgent({ home, output }: Globals, flags: Flags, until: Promise<void>): Promise<number> {
  const settings = await loadSettings(home.dir, flags);
  const { name, coordinatorUrl: url, threads, slots, slowdown, sandbox, memory, cache, labels } = settings;
  const owner = await findOwner(home);
  const { startAgent } = await import('../agent/agent.ts');
  using interrupt = onInterrupt();
  const logger = createLogger(settings.logLevel, output.isTerminal);
  await using agent = await startAgent(
    {
      ...{ dir: home.agentDir, appDir: APP_DIR, name, slots, slowdown, sandbox, labels },
      ...(owner && { owner }),
      ...(url !== undefined && { url }),
      ...(threads !== undefined && { threads }),
      ...(memory !== undefined && { memoryBytes: memory }),
      ...(cache !== undefined && { cacheBytes: cache }),
    },
    { logger },
  );
  note(output, `${name} lends its power; Ctrl-C takes it back`);
  const ended = await Promise.race([agent.ended, aborted(interrupt.signal), until]);
  if (ended === undefined) return interrupt.signal.aborted ? interrupt.serviceExitCode() : EXIT_CODES.ok;
  process.stderr.write(`error: the agent ended: ${ended.reason}\n`);
  return EXIT_CODES.refused;
}
