// Owns `swarm submit`: a job from a YAML or JSON file, signed with this person's key.

import { readFile, stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { parse as parseYaml } from 'yaml';
import type { JobId } from '../lib/ids.ts';
import type { SwarmClient } from '../client/client.ts';
import { toCanonicalBytes } from '../protocol/canonical.ts';
import { SwarmError } from '../protocol/errors.ts';
import { MAX_SPEC_BYTES, type JobSpecInput } from '../protocol/job-spec.ts';
import { openConnection } from './connect.ts';
import { describeEnd, followOrCancel, toJobExitCode } from './follow.ts';
import { readGlobals } from './globals.ts';
import { onInterrupt } from './interrupt.ts';
import { note, print, type Output } from './output.ts';

const EXAMPLE = `
A job file names stages; each maps a workload over items, or merges the parts of an earlier stage:

  name: a thousand naps
  stages:
    - name: nap
      workload: noop
      params: { msPerItem: 5 }
      items: { kind: count, count: 1000 }
      yieldsParts: false

Example:
  swarm submit naps.yaml --wait`;

export function registerSubmit(program: Command): void {
  program
    .command('submit <file>')
    .description('submit a job from a YAML or JSON file')
    .option('-w, --wait', 'follow it to its end; Ctrl-C cancels it')
    .option('--new', 'submit it again though the same file was submitted before')
    .option('--client-key <key>', 'instead of what the file says: the same key submits the same job once')
    .addHelpText('after', EXAMPLE)
    .action(async (file: string, options: { wait?: true; new?: true; clientKey?: string }, command: Command) => {
      const { home, output } = readGlobals(command);
      const spec = await readJobFile(file);
      using connection = await openConnection(home);
      const isNew = options.new === true;
      const clientKey = isNew
        ? crypto.randomUUID()
        : (options.clientKey ?? spec.clientKey ?? (await toClientKey(spec)));
      const submitted = await connection.client.submit({ ...spec, clientKey });
      const wait = options.wait === true;
      note(
        output,
        submitted.changed
          ? `submitted job ${submitted.id}`
          : `job ${submitted.id} was submitted before; --new submits it again`,
      );
      if (wait) process.exitCode = await waitForEnd(connection.client, submitted.id, output);
      else print(output, submitted, ({ id }) => id);
    });
}

/** Follows a job to its end; the exit code. */
export async function waitForEnd(client: SwarmClient, job: JobId, output: Output): Promise<number> {
  using interrupt = onInterrupt();
  const ended = await followOrCancel(client, job, output, interrupt.signal);
  const text = ended.endedAt === undefined ? `job ${job} could not be canceled` : await describeEnd(client, ended);
  print(output, ended, () => text);
  return interrupt.signal.aborted ? interrupt.exitCode() : toJobExitCode(ended);
}

/** The same job has the same key, so that sending it twice runs it once. */
async function toClientKey(spec: JobFile): Promise<string> {
  const bytes = toCanonicalBytes(spec);
  if (!bytes.ok) throw new SwarmError('bad-input', bytes.error);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', Uint8Array.from(bytes.value)));
  return digest.toHex().slice(0, 32);
}

type JobFile = Omit<JobSpecInput, 'v' | 'swarm' | 'clientKey'> & { readonly clientKey?: string };

/** The spec's own rules are checked when it is signed. */
async function readJobFile(file: string): Promise<JobFile> {
  const found = await stat(file).catch((cause: Error) => {
    throw new SwarmError('bad-input', `${file} cannot be read: ${cause.message}`, { cause });
  });
  if (!found.isFile()) throw new SwarmError('bad-input', `${file} is not a file`);
  const { size } = found;
  if (size > MAX_SPEC_BYTES)
    throw new SwarmError('too-large', `${file} has ${size} bytes; a job file has at most ${MAX_SPEC_BYTES}`);
  const value = parseFile(file, await readFile(file, 'utf8'));
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JobFile;
  throw new SwarmError('bad-input', `${file} holds no job: see swarm submit --help`);
}

/** YAML contains JSON. */
function parseFile(file: string, text: string): unknown {
  try {
    return parseYaml(text, { maxAliasCount: 0 });
  } catch (cause) {
    throw new SwarmError(
      'bad-input',
      `${file} is neither YAML nor JSON: ${cause instanceof Error ? cause.message : ''}`,
      { cause },
    );
  }
}
