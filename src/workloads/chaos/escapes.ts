// Owns the attempts of the TEST WORKLOAD `chaos` to leave its sandbox. Each ends as `blocked` or `escaped`, in a JSON
// object written as the part.

import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { link, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { open as openInspector } from 'node:inspector';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
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
  /** A unix socket of the host where something listens. */
  socket: z.string().optional(),
  /** The agent's process id on the host. */
  agentPid: z.int().min(2).optional(),
});
type Targets = z.infer<typeof escapeTargetsSchema>;

/** Tries all of them; the part then says for each name how it ended. */
export async function attemptEscapes(targets: Targets, files: RunFiles): Promise<void> {
  const outcome: Record<string, string> = {};
  const attempts = { ...fileEscapes(targets, files), ...processEscapes(targets), ...networkEscapes(targets) };
  for (const [name, attempt] of Object.entries(attempts)) outcome[name] = await judge(attempt);
  await writeFile(files.outFile, JSON.stringify(outcome));
}

type Attempts = { readonly [name: string]: () => unknown };

function fileEscapes({ writeDir = '/', secretFile = '/etc/passwd' }: Targets, files: RunFiles): Attempts {
  const { inDir, outFile } = files;
  return {
    'write-outside': () => writeFile(join(writeDir, 'written'), 'x'),
    'write-input': () => writeFile(join(inDir, 'written'), 'x'),
    'read-secret': () => readFile(secretFile),
    'read-secret-by-link': async () => {
      await symlink(secretFile, `${outFile}.link`);
      await readFile(`${outFile}.link`);
    },
    'hard-link-secret': () => link(secretFile, `${outFile}.hard`),
    'list-root': async () => {
      if ((await readdir('/')).includes('etc') && (await readdir('/etc')).length > 5) return;
      throw new Error('the root is not the host’s');
    },
    'sqlite-write': () => createDatabase(join(writeDir, 'written.sqlite')),
    'sqlite-write-input': () => createDatabase(join(inDir, 'written.sqlite')),
    'load-native-code': () => process.dlopen({ exports: {} }, join(writeDir, 'code.node')),
  };
}

function processEscapes({ agentPid = 2 }: Targets): Attempts {
  return {
    spawn: () => succeed(spawnSync(process.execPath, ['--version']).status),
    worker: () => new Worker('', { eval: true }),
    'signal-agent': () => process.kill(agentPid, 0),
    'read-agent-environment': () => readFile(`/proc/${agentPid}/environ`),
    environment: () => succeed(Object.keys(process.env).some((name) => /PATH|HOME|TOKEN/.test(name)) ? 0 : 1),
  };
}

function networkEscapes({ port = 1, socket = '/none' }: Targets): Attempts {
  return {
    'tcp-connect': () => connected(connect(port, '127.0.0.1')),
    'unix-connect': () => connected(connect(socket)),
    'name-lookup': () => lookup('localhost'),
    'udp-send': () =>
      new Promise<void>((resolve, reject) => {
        const udp = createSocket('udp4');
        udp.on('error', reject);
        udp.connect(port, '127.0.0.1', () =>
          udp.send('x', (error) => (error ? reject(error) : resolve(void udp.close()))),
        );
      }),
    'open-inspector': () => openInspector(0, '127.0.0.1'),
  };
}

async function judge(attempt: () => unknown): Promise<string> {
  try {
    await attempt();
    return 'escaped';
  } catch (error) {
    return `blocked: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** SQLite opens files by itself, past Node's permissions. */
async function createDatabase(path: string): Promise<void> {
  const { DatabaseSync } = await import('node:sqlite');
  new DatabaseSync(path).exec('create table t (a)');
}

function succeed(status: number | null): void {
  if (status !== 0) throw new Error(`status ${status}`);
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.on('connect', () => resolve(void socket.destroy()));
    socket.on('error', reject);
  });
}
