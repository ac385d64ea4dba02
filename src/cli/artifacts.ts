// Owns `swarm artifacts`: which bytes a job yielded, and fetching bytes by their hash, verified.

import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { SwarmClient } from '../client/client.ts';
import { formatByteSize, GIB } from '../lib/byte-sizes.ts';
import type { ArtifactId } from '../lib/ids.ts';
import { parseArtifactId } from '../objects/objects.ts';
import { downloadArtifact } from '../objects/transfer-download.ts';
import { SwarmError } from '../protocol/errors.ts';
import { openConnection } from './connect.ts';
import { readGlobals, type Globals } from './globals.ts';
import { onInterrupt } from './interrupt.ts';
import { findJobId } from './jobs.ts';
import { note, print, ProgressDisplay, toTable } from './output.ts';
import { toCount } from './progress-view.ts';

const MAX_BYTES = 1_024 * GIB;

export function registerArtifacts(program: Command): void {
  const artifacts = program.command('artifacts').description('bytes that the swarm keeps, by their hash');
  artifacts
    .command('list <job>')
    .description('list what a job yielded: its stages’ parts in the order of their items')
    .addHelpText('after', '\nExample:\n  swarm artifacts list 3f2a')
    .action(async (wanted: string, _: object, command: Command) => {
      const { home, output } = readGlobals(command);
      using connection = await openConnection(home);
      print(output, { parts: await listParts(connection.client, wanted) }, ({ parts }) => toPartTable(parts));
    });
  artifacts
    .command('get <artifact-or-job>')
    .description('fetch an artifact, or the result of a job; a fetch that was cut off goes on where it stopped')
    .requiredOption('--out <file>', 'the file to write')
    .addHelpText(
      'after',
      '\nExamples:\n  swarm artifacts get sha256:9f86… --out part.parquet\n  swarm artifacts get 3f2a --out result.parquet',
    )
    .action(async (wanted: string, { out }: { out: string }, command: Command) => {
      process.exitCode = await fetchArtifact(readGlobals(command), wanted, resolve(out));
    });
}

async function fetchArtifact({ home, output }: Globals, wanted: string, toFile: string): Promise<number> {
  const parsed = parseArtifactId(wanted);
  if (!parsed.ok && !/^[0-9a-f]{1,16}$/.test(wanted)) throw new SwarmError('bad-request', parsed.error);
  using connection = await openConnection(home);
  using interrupt = onInterrupt();
  const { signal } = interrupt;
  const id = parsed.ok ? parsed.value : await findResult(connection.client, wanted);
  const display = new ProgressDisplay(output);
  try {
    const { sizeBytes } = await downloadArtifact({
      ...connection.transfer,
      ...{ id, toFile, maxBytes: MAX_BYTES, signal },
      onProgress: ({ doneBytes, totalBytes }) =>
        display.update([
          `${formatByteSize(doneBytes)} of ${totalBytes === undefined ? '?' : formatByteSize(totalBytes)}`,
        ]),
    });
    display.clear();
    print(output, { id, out: toFile, sizeBytes }, () => `wrote ${toFile} (${formatByteSize(sizeBytes)})`);
    return 0;
  } catch (error) {
    if (!signal.aborted) throw error;
    note(output, 'interrupted: the same command goes on where it stopped');
    return interrupt.exitCode();
  }
}

type Part = {
  readonly stage: string;
  readonly start: number;
  readonly end: number;
  readonly id: ArtifactId;
  readonly sizeBytes: number;
};

async function listParts(client: SwarmClient, wanted: string): Promise<Part[]> {
  const job = await client.call('job', { job: await findJobId(client, wanted) });
  const found: Part[] = [];
  for (const { name: stage, parts } of job.stages) {
    if (parts === 0) continue;
    for await (const { start, end, part } of client.parts(job.id, stage))
      if (part) found.push({ stage, start, end, id: part.id, sizeBytes: part.sizeBytes });
  }
  return found;
}

/** The one part of the last stage that has any, such as the merged file of an embeddings job. */
async function findResult(client: SwarmClient, wanted: string): Promise<ArtifactId> {
  const job = await client.call('job', { job: await findJobId(client, wanted) });
  if (job.status !== 'completed')
    throw new SwarmError(
      'not-found',
      `job ${job.id} has no result: it is ${job.status}; swarm artifacts list ${job.id}`,
    );
  const parts = await listParts(client, job.id);
  const last = parts.at(-1);
  if (!last) throw new SwarmError('not-found', `job ${job.id} yielded no parts`);
  const ofLast = parts.filter(({ stage }) => stage === last.stage).length;
  if (ofLast === 1) return last.id;
  throw new SwarmError(
    'bad-request',
    `stage ${last.stage} of job ${job.id} yielded ${ofLast} parts: name one, see swarm artifacts list ${job.id}`,
  );
}

function toPartTable(parts: readonly Part[]): string {
  if (parts.length === 0) return 'this job has yielded no parts';
  const rows = parts.map(({ stage, start, end, id, sizeBytes }) => [
    stage,
    `${toCount(start)}–${toCount(end - 1)}`,
    formatByteSize(sizeBytes),
    id,
  ]);
  return toTable(['STAGE', 'ITEMS', 'SIZE', 'ARTIFACT'], rows);
}
