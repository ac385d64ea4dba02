#!/usr/bin/env node
// Owns the `swarm` program: its commands and how errors end it. What a command needs beyond a few kilobytes is loaded
// when it runs.

import { Command, CommanderError } from 'commander';
import { SwarmError } from '../protocol/errors.ts';
import { registerAgent } from './agent.ts';
import { registerArtifacts } from './artifacts.ts';
import { registerConfig } from './config.ts';
import { registerDashboard } from './dashboard.ts';
import { registerDemo } from './demo.ts';
import { EXIT_CODES, EXIT_CODES_HELP, toExitCode } from './exit-codes.ts';
import { registerInvite } from './invite.ts';
import { registerLedger } from './ledger.ts';
import { registerJobs } from './jobs.ts';
import { registerJoin } from './join.ts';
import { registerMembers } from './members.ts';
import { registerPeers } from './peers.ts';
import { registerQuery } from './query.ts';
import { registerRun } from './run.ts';
import { registerSubmit } from './submit.ts';
import { registerTrust } from './trust.ts';
import { registerUp } from './up.ts';
import { registerWhatIf } from './what-if.ts';
import { readVersion } from './version.ts';

async function main(argv: readonly string[]): Promise<void> {
  const program = createProgram(await readVersion());
  // A reader that leaves early, as in `swarm jobs | head`, is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT_CODES.ok);
    throw error;
  });
  // Progress and logs that nobody reads any more stop nothing.
  process.stderr.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  try {
    await program.parseAsync(argv);
  } catch (error) {
    process.exitCode = reportError(error, argv.includes('--json'));
  }
}

/** The whole command line; the manual is made from it too. */
export function createProgram(version: string): Command {
  const program = new Command('swarm')
    .description('one private compute mesh from the PCs of a few friends')
    .version(version, '-V, --version', 'print the version')
    .option('--json', 'print JSON for programs')
    .option('--home <folder>', 'where this machine’s keys and data are (default: SWARM_HOME, or ~/.backyard-swarm)')
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .showHelpAfterError('(--help shows how it is used)')
    .exitOverride()
    .addHelpText(
      'after',
      `\nExamples:\n  swarm demo\n  swarm up\n  swarm run embeddings ~/notes --out notes.parquet\n\n${EXIT_CODES_HELP}`,
    );
  for (const register of COMMANDS) register(program);
  return program;
}

const COMMANDS: readonly ((program: Command) => void)[] = [
  registerDemo,
  registerUp,
  registerInvite,
  registerJoin,
  registerAgent,
  registerPeers,
  registerMembers,
  registerDashboard,
  registerRun,
  registerSubmit,
  registerJobs,
  registerArtifacts,
  registerLedger,
  registerWhatIf,
  registerQuery,
  registerTrust,
  registerConfig,
];

/** Says what failed and returns the exit code. */
function reportError(error: unknown, isJson: boolean): number {
  // commander has said what was wrong, or printed the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CODES.ok : EXIT_CODES.usage;
  const known = toKnown(error);
  const code = known?.code ?? 'internal';
  const message = known?.message ?? (error instanceof Error ? error.message : String(error));
  if (isJson) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
  else process.stderr.write(`error: ${message}\n`);
  if (process.env['SWARM_DEBUG'] === '1') process.stderr.write(`${error instanceof Error ? error.stack : ''}\n`);
  else if (!known) process.stderr.write('This is a bug: run it again with SWARM_DEBUG=1 and report what it prints.\n');
  return known ? toExitCode(known.code) : EXIT_CODES.failed;
}

/** What the file system refuses is no bug of ours: a full disk, a folder of somebody else's. */
function toKnown(error: unknown): SwarmError | undefined {
  if (error instanceof SwarmError) return error;
  if (!(error instanceof Error) || !('syscall' in error) || !('path' in error)) return undefined;
  const { code, path, syscall } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new SwarmError('disk-full', `${path}: the disk is full; free some space and try again`, { cause: error });
  return new SwarmError('bad-input', `${path}: ${code} (${syscall}); check that the path is right and yours`, {
    cause: error,
  });
}

// scripts/swarm.mjs imports this file and names it as the program.
if (import.meta.main || process.argv[1] === import.meta.filename) await main(process.argv);
