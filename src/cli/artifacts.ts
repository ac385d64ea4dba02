// Owns `swarm artifacts get`: fetches bytes by their hash and verifies them.

import { resolve } from 'node:path';
import type { Command } from 'commander';
import { parseArtifactId } from '../objects/objects.ts';
import { downloadArtifact } from '../objects/transfer-download.ts';
import { SwarmError } from '../protocol/errors.ts';
import { formatByteSize, GIB } from '../lib/byte-sizes.ts';
import { openConnection } from './connect.ts';
import { readGlobals } from './globals.ts';
import { onInterrupt } from './interrupt.ts';
import { print, ProgressDisplay } from './output.ts';

const MAX_BYTES = 1_024 * GIB;

export function registerArtifacts(program: Command): void {
  program
    .command('artifacts')
    .description('bytes that the swarm keeps, by their hash')
    .command('get <id>')
    .description('fetch an artifact; a fetch that was cut off goes on where it stopped')
    .requiredOption('--out <file>', 'the file to write')
    .addHelpText('after', '\nExample:\n  swarm artifacts get sha256:9f86… --out part.parquet')
    .action(async (text: string, { out }: { out: string }, command: Command) => {
      const { home, output } = readGlobals(command);
      const id = parseArtifactId(text);
      if (!id.ok) throw new SwarmError('bad-request', id.error);
      using connection = await openConnection(home);
      using interrupt = onInterrupt();
      const display = new ProgressDisplay(output);
      const toFile = resolve(out);
      const { sizeBytes } = await downloadArtifact({
        ...connection.transfer,
        ...{ id: id.value, toFile, maxBytes: MAX_BYTES, signal: interrupt.signal },
        onProgress: ({ doneBytes, totalBytes }) =>
          display.update([
            `${formatByteSize(doneBytes)} of ${totalBytes === undefined ? '?' : formatByteSize(totalBytes)}`,
          ]),
      });
      print(output, { id: id.value, out: toFile, sizeBytes }, () => `wrote ${toFile} (${formatByteSize(sizeBytes)})`);
    });
}
