// Owns the attempts of the TEST WORKLOAD `chaos` to leave its sandbox. Each ends as `blocked` or `escaped`, in a JSON
// object written as the part.

import { spawnSync } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { z } from 'zod';
import type { RunFiles } from '../workload.ts';

export const escapeTargetsSchema = z.strictObject({
  /** A folder of the host that the sandbox may not write. */
  writeDir: z.string().optional(),
  /** A file of the host that the sandbox may not read. */
  secretFile: z.string().optional(),
  /** A TCP port on loopback where something listens. */
  port: z.int().optional(),
});
type Targets = z.infer<typeof escapeTargetsSchema>;

export async function attemptEscapes(targets: Targets, { inDir, outFile }: RunFiles): Promise<void> {
  const { writeDir = '/', secretFile = '/etc/passwd', port = 1 } = targets;
  const attempts: Record<string, () => unknown> = {
    'write-outside': () => writeFile(join(writeDir, 'written'), 'x'),
    'write-input': () => writeFile(join(inDir, 'written'), 'x'),
    'read-secret': () => readFile(secretFile),
    'list-root': async () => {
      if ((await readdir('/')).includes('etc') && (await readdir('/etc')).length > 5) return;
      throw new Error('the root is not the host’s');
    },
    network: () => connectTo(port),
    spawn: () => succeed(spawnSync(process.execPath, ['--version']).status),
    'sqlite-write': () => new DatabaseSync(join(writeDir, 'written.sqlite')).exec('create table t (a)'),
    'sqlite-write-read-only': () => new DatabaseSync(join(inDir, 'written.sqlite')).exec('create table t (a)'),
    'native-code': () => process.dlopen({ exports: {} }, secretFile),
    worker: () => new Worker('', { eval: true }),
    'signal-agent': () => process.kill(process.ppid, 0),
    environment: () => succeed(Object.keys(process.env).some((name) => /PATH|HOME|TOKEN/.test(name)) ? 0 : 1),
  };
  const outcome: Record<string, string> = {};
  for (const [name, attempt] of Object.entries(attempts)) outcome[name] = await judge(attempt);
  await writeFile(outFile, JSON.stringify(outcome));
}

async function judge(attempt: () => unknown): Promise<string> {
  try {
    await attempt();
    return 'escaped';
  } catch (error) {
    return `blocked: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function succeed(status: number | null): void {
  if (status !== 0) throw new Error(`status ${status}`);
}

function connectTo(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(void socket.destroy()));
    socket.on('error', reject);
  });
}
