// Owns docs/cli.md: the help of every command, written by `node scripts/manual.ts` and held to by a test.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { createProgram } from '../src/cli/main.ts';

const WIDTH = 110;
export const MANUAL = join(import.meta.dirname, '..', 'docs', 'cli.md');

/** The manual as Markdown. */
export function toManual(): string {
  const program = createProgram('VERSION');
  const sections = listCommands(program, []).map(
    ({ path, command }) => `## ${path}\n\n\`\`\`\n${helpOf(command)}\n\`\`\`\n`,
  );
  const head = '# The swarm command\n\nWritten by `node scripts/manual.ts` from the commands’ own help. Do not edit.\n';
  return [head, ...sections].join('\n');
}

function listCommands(command: Command, above: readonly string[]): { path: string; command: Command }[] {
  const path = [...above, command.name()];
  const below = command.commands
    .filter((inner) => inner.name() !== 'help')
    .flatMap((inner) => listCommands(inner, path));
  return [{ path: path.join(' '), command }, ...below];
}

function helpOf(command: Command): string {
  let text = '';
  command.configureHelp({ ...command.configureHelp(), helpWidth: WIDTH });
  command.configureOutput({
    writeOut: (part) => (text += part),
    getOutHelpWidth: () => WIDTH,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text.trim();
}

if (import.meta.main) await writeFile(MANUAL, toManual());
