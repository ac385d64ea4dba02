// Owns `swarm artifacts`: the bytes that jobs yielded, listed by job and fetched by hash.

import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { SwarmClient } from '../client/client.ts';
import type { ArtifactId, KeyId } from '../lib/ids.ts';
import { parseArtifactId } from '../objects/objects.ts';
import { downloadArtifact } from '../objects/transfer-download.ts';
import { SwarmError } from '../protocol/errors.ts';
import { formatByteSize, GIB } from '../lib/byte-sizes.ts';
import { openConnection } from './connect.ts';
import { readGlobals, type Globals } from './globals.ts';
import { onInterrupt } from './interrupt.ts';
import { findJobId } from './jobs.ts';
import { print, ProgressDisplay, toTable } from './output.ts';

const MAX_BYTES = 1_024 * GIB;

type Listed = { stage: string; start: number; end: number; peer: KeyId; id: ArtifactId; sizeBytes: number };

export function registerArtifacts(program: Command): void {
  const artifacts = program.command('artifacts').description('what jobs yielded: listed by job, fetched by hash');
  artifacts
    .command('list <job>')
    .description('list the result parts of a job, its last stage at the end')
    .addHelpText('after', '\nExample:\n  swarm artifacts list 3f2a')
    .action(async (wanted: string, _: object, command: Command) => {
      const { home, output } = readGlobals(command);
      using connection = await openConnection(home);
      const { client } = connection;
      const parts = await listParts(client, wanted);
      print(output, { parts }, () => (parts.length === 0 ? 'no parts yet' : toPartTable(parts)));
    });
  artifacts
    .command('get <what>')
    .description(
      'fetch an artifact by its id, or the result of a job; a fetch that was cut off goes on where it stopped',
    )
    .requiredOption('--out <file>', 'the file to write')
    .addHelpText(
      'after',
      '\nExamples:\n  swarm artifacts get 3f2a --out notes.parquet\n  swarm artifacts get sha256:9f86… --out part.parquet',
    )
    .action(async (what: string, { out }: { out: string }, command: Command) =>
      get(readGlobals(command), what, resolve(out)),
    );
}

async function get({ home, output }: Globals, what: string, toFile: string): Promise<void> {
  using connection = await openConnection(home);
  using interrupt = onInterrupt();
  const id = await findArtifact(connection.client, what);
  const display = new ProgressDisplay(output);
  const { sizeBytes } = await downloadArtifact({
    ...connection.transfer,
    ...{ id, toFile, maxBytes: MAX_BYTES, signal: interrupt.signal },
    onProgress: ({ doneBytes, totalBytes }) =>
      display.update([
        `${formatByteSize(doneBytes)} of ${totalBytes === undefined ? '?' : formatByteSize(totalBytes)}`,
      ]),
  });
  display.clear();
  print(output, { id, out: toFile, sizeBytes }, () => `wrote ${toFile} (${formatByteSize(sizeBytes)})`);
}

/** An id as it stands, or the one part that a job's last stage yielded. */
async function findArtifact(client: SwarmClient, what: string): Promise<ArtifactId> {
  if (what.includes(':')) {
    const id = parseArtifactId(what);
    if (id.ok) return id.value;
    throw new SwarmError('bad-request', id.error);
  }
  const parts = await listParts(client, what);
  const last = parts.at(-1)?.stage;
  const [only, another] = parts.filter(({ stage }) => stage === last);
  const job = await client.call('job', { job: await findJobId(client, what) });
  if (only && !another && job.stages.at(-1)?.name === last) return only.id;
  const why = job.status === 'completed' ? 'yielded no single file' : `is ${job.status}`;
  throw new SwarmError('not-found', `job ${job.id} ${why}; swarm artifacts list ${job.id} shows its parts`);
}

async function listParts(client: SwarmClient, wanted: string): Promise<Listed[]> {
  const job = await client.call('job', { job: await findJobId(client, wanted) });
  const listed: Listed[] = [];
  for (const { name: stage } of job.stages)
    for await (const { start, end, peer, part } of client.parts(job.id, stage))
      if (part) listed.push({ stage, start, end, peer, id: part.id, sizeBytes: part.sizeBytes });
  return listed;
}

function toPartTable(parts: readonly Listed[]): string {
  const rows = parts.map(({ stage, start, end, id, sizeBytes }) => [
    stage,
    `${start}–${end - 1}`,
    formatByteSize(sizeBytes),
    id,
  ]);
  return toTable(['STAGE', 'ITEMS', 'SIZE', 'ARTIFACT'], rows);
}
