// Owns `swarm config`: the settings in force and where each comes from.

import type { Command } from 'commander';
import { readGlobals } from './globals.ts';
import { formatByteSize } from '../lib/byte-sizes.ts';
import { print, toTable } from './output.ts';
import { readSettings, SETTINGS, type Sourced } from './settings.ts';

/** Shown to nobody who looks over a shoulder. */
const SECRET = new Set(['metricsToken']);

export function registerConfig(program: Command): void {
  program
    .command('config')
    .description('show the settings in force and where each comes from')
    .addHelpText(
      'after',
      '\nSettings stand in config.yaml in the home folder, in SWARM_* variables and in flags; later ones win.\n\nExample:\n  SWARM_PORT=9000 swarm config',
    )
    .action(async (_: object, command: Command) => {
      const { home, output } = readGlobals(command);
      const settings = (await readSettings(home.dir)).map(toShown);
      print(output, { home: home.dir, settings }, () => {
        const rows = settings.map(({ setting, value, origin, about }) => [
          setting,
          toText(setting, value),
          origin,
          about,
        ]);
        return `home ${home.dir}\n\n${toTable(['SETTING', 'VALUE', 'FROM', 'WHAT'], rows)}`;
      });
    });
}

function toShown({ name, value, origin }: Sourced): { setting: string; value: unknown; origin: string; about: string } {
  const { path, about } = SETTINGS[name];
  return { setting: path, value: value !== undefined && SECRET.has(name) ? '(secret)' : value, origin, about };
}

/** Settings of sizes, in bytes. */
const SIZES = /\.(quota|memory|cache)$/;

function toText(setting: string, value: unknown): string {
  if (value === undefined) return '';
  if (typeof value === 'number' && SIZES.test(setting)) return formatByteSize(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}
