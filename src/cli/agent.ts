// Owns `swarm agent`: lends this machine to the swarm it joined, in the foreground.

import { Option, type Command } from 'commander';
import { EXIT_CODES } from './exit-codes.ts';
import { readGlobals, type Globals } from './globals.ts';
import { aborted, onInterrupt } from './interrupt.ts';
import { createLogger } from './logger.ts';
import { note } from './output.ts';
import { loadSettings, type Flags } from './settings.ts';
import { APP_DIR } from './version.ts';

type AgentFlags = Flags & { readonly untilStdinEnds?: true };

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
    .addOption(new Option('--until-stdin-ends', 'end with the program that started it').hideHelp())
    .addHelpText('after', '\nExamples:\n  swarm agent\n  swarm agent --threads 4 --memory 4GiB')
    .action(async ({ url, untilStdinEnds, ...flags }: AgentFlags, command: Command) => {
      const lent = untilStdinEnds === true ? stdinEnds() : new Promise<void>(() => {});
      process.exitCode = await runAgent(readGlobals(command), { ...flags, coordinatorUrl: url }, lent);
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

async function runAgent({ home, output }: Globals, flags: Flags, until: Promise<void>): Promise<number> {
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
  const ended = await Promise.race([agent.ended, aborted(interrupt.signal), until]);
  if (ended === undefined) return interrupt.signal.aborted ? interrupt.serviceExitCode() : EXIT_CODES.ok;
  process.stderr.write(`error: the agent ended: ${ended.reason}\n`);
  return EXIT_CODES.refused;
}
