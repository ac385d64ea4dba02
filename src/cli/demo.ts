// Owns the command `swarm demo`, which `npm start` runs.

import { InvalidArgumentError, type Command } from 'commander';
import type { DemoOptions } from './demo-run.ts';
import { readGlobals } from './globals.ts';

const MAX_AGENTS = 8;

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('try it all on this machine: a coordinator, three agents of different speed, a real job')
    .option('--input <path>', 'your own file or folder of texts; presidents’ speeches unless told')
    .option('--out <file>', 'the Parquet file to write', 'swarm-out/embeddings.parquet')
    .option('--agents <count>', 'how many agents, each a process of its own', parseAgents, 3)
    .option('--keep', 'keep the swarm’s own files and say where they are')
    .addHelpText('after', '\nExamples:\n  swarm demo\n  swarm demo --input ~/notes --out notes.parquet')
    .action(async (options: DemoOptions, command: Command) => {
      // It brings the coordinator along, which other commands do without.
      const { runDemo } = await import('./demo-run.ts');
      process.exitCode = await runDemo(readGlobals(command), options);
    });
}

function parseAgents(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= MAX_AGENTS) return count;
  throw new InvalidArgumentError(`It must be a whole number from 1 to ${MAX_AGENTS}.`);
}
