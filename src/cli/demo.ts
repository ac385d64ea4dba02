// Owns the command `swarm demo`, which `npm start` runs.

import type { Command } from 'commander';
import { readGlobals } from './globals.ts';

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('try it all on this machine: a coordinator, three agents of different speed, a real job')
    .option('--input <path>', 'your own file or folder of texts; presidents’ speeches unless told')
    .option('--out <file>', 'the Parquet file to write', 'swarm-out/embeddings.parquet')
    .option('--keep', 'keep the swarm’s own files and say where they are')
    .addHelpText('after', '\nExamples:\n  swarm demo\n  swarm demo --input ~/notes --out notes.parquet')
    .action(async (options: { input?: string; out: string; keep?: true }, command: Command) => {
      // It brings the coordinator along, which other commands do without.
      const { runDemo } = await import('./demo-run.ts');
      process.exitCode = await runDemo(readGlobals(command), options);
    });
}
