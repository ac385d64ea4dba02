// Owns what every command takes: where the home is and how to print.

import type { Command } from 'commander';
import { findHome, toHome, type Home } from './home.ts';
import type { Output } from './output.ts';

export type Globals = { readonly home: Home; readonly output: Output };

/** The options that stand before or after any command. */
export function readGlobals(command: Command): Globals {
  const { json, home } = command.optsWithGlobals<{ json?: boolean; home?: string }>();
  return {
    home: home === undefined ? findHome() : toHome(home),
    output: { json: json === true, isTerminal: process.stderr.isTTY },
  };
}
