// Owns `swarm agent`: lends this machine to the swarm it joined, in the foreground.

import type { Command } from 'commander';
import { EXIT_CODES } from './exit-codes.ts';
import { readGlobals, type Globals } from './globals.ts';
import { aborted, onInterrupt } from './interrupt.ts';
import { createLogger } from './logger.ts';
import { note } from './output.ts';
import { loadSettings, type Flags } from './settings.ts';
import { APP_DIR } from './version.ts';

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
    .option('--memory <size>', 'memory for tasks, such as 4GiB')
    .option('--log-level <level>', 'debug, info, warn or error')
    .addHelpText('after', '\nExamples:\n  swarm agent\n  swarm agent --threads 4 --memory 4GiB')
    .action(async ({ url, ...flags }: Flags, command: Command) => {
      process.exitCode = await runAgent(readGlobals(command), { ...flags, coordinatorUrl: url });
    });
}

async function runAgent({ home, output }: Globals, flags: Flags): Promise<number> {
  const settings = await loadSettings(home.dir, flags);
  const { name, coordinatorUrl: url, threads, slots, slowdown, sandbox, memory, cache } = settings;
  const { startAgent } = await import('../agent/agent.ts');
  using interrupt = onInterrupt();
  const logger = createLogger(settings.logLevel, output.isTerminal);
  await using agent = await startAgent(
    {
      ...{ dir: home.agentDir, appDir: APP_DIR, name, slots, slowdown, sandbox },
      ...(url !== undefined && { url }),
      ...(threads !== undefined && { threads }),
      ...(memory !== undefined && { memoryBytes: memory }),
      ...(cache !== undefined && { cacheBytes: cache }),
    },
    { logger },
  );
  note(output, `${name} lends its power; Ctrl-C takes it back`);
  const ended = await Promise.race([agent.ended, aborted(interrupt.signal)]);
  if (ended === undefined) return interrupt.exitCode();
  process.stderr.write(`error: the agent ended: ${ended.reason}\n`);
  return EXIT_CODES.refused;
}
