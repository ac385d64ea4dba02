// What a hostile workload reaches from inside each sandbox. The permission level is a seat belt, and the holes it has are
// named here, so that a change of them is seen; bubblewrap has to hold alone, without Node's help.

import { execFile } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, readdir, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { probeSandbox, toCommand, type SandboxWish } from '../../src/agent/runners/sandbox.ts';
import { takePart } from '../../src/agent/runners/task-files.ts';
import { BUBBLEWRAP_WORKS, chaosTask, expectDone, openPool } from '../helpers/runner-pool.ts';
import { APP_DIR } from '../helpers/test-agent.ts';

/** Node's permission model knows nothing of what native code does, nor of signals. */
const HOLES_OF_PERMISSION = ['load-native-code', 'signal-agent'];

let dir: string;
let targets: { secretFile: string; writeDir: string; port: number; socket: string; agentPid: number };
const servers: Server[] = [];
let udp: Socket | undefined;
/** Connections and datagrams that came through. */
let heard = 0;

beforeAll(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'swarm-sandbox-')));
  const [secretFile, writeDir, socket] = [join(dir, 'key.pem'), join(dir, 'agent'), join(dir, 'daemon.sock')];
  await writeFile(secretFile, 'the agent’s key');
  await mkdir(writeDir);
  await copyAddon(writeDir);
  const tcp = await listen(0, '127.0.0.1');
  await listen(socket);
  const address = tcp.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  udp = createSocket('udp4', () => heard++).bind(address.port, '127.0.0.1');
  await once(udp, 'listening');
  targets = { secretFile, writeDir, socket, port: address.port, agentPid: process.pid };
});

afterAll(async () => {
  for (const server of servers) server.close();
  udp?.close();
  await rm(dir, { recursive: true, force: true });
});

async function listen(...where: [string] | [number, string]): Promise<Server> {
  const server = createServer(() => heard++);
  if (where.length === 1) server.listen(where[0]);
  else server.listen(where[0], where[1]);
  await once(server, 'listening');
  servers.push(server);
  return server;
}

/** Native code outside of what a runner may read: an addon and the library that it wants beside it. */
async function copyAddon(to: string): Promise<void> {
  const manifest = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
  const from = join(dirname(manifest), 'bin/napi-v6', process.platform, process.arch);
  await cp(from, to, { recursive: true });
  await rename(join(to, 'onnxruntime_binding.node'), join(to, 'code.node'));
}

function escapesOf(outcome: Record<string, string>): string[] {
  return Object.keys(outcome)
    .filter((name) => outcome[name] === 'escaped')
    .toSorted();
}

async function attemptIn(sandbox: SandboxWish): Promise<Record<string, string>> {
  await using own = await openPool({ sandbox });
  const done = expectDone(await own.pool.run(chaosTask({ mode: 'escape', targets })));
  return JSON.parse(await readFile(done.outFile ?? '', 'utf8')) as Record<string, string>;
}

describe('a workload that tries to break out', () => {
  test('is held by the permission model, save for the holes that are known', async () => {
    const outcome = await attemptIn('permission');
    expect(Object.keys(outcome).length).toBeGreaterThan(15);
    expect(escapesOf(outcome)).toEqual(HOLES_OF_PERMISSION);
    expect(await readdir(targets.writeDir)).not.toContain('written.sqlite');
    expect(heard).toBe(0);
  });

  test.skipIf(!BUBBLEWRAP_WORKS)('is held by bubblewrap and the permission model entirely', async () => {
    expect(escapesOf(await attemptIn('bubblewrap'))).toEqual([]);
    expect(await readdir(targets.writeDir)).not.toContain('written.sqlite');
    expect(heard).toBe(0);
  });

  test.skipIf(!BUBBLEWRAP_WORKS)('is held by bubblewrap alone', async () => {
    const sandbox = await probeSandbox('bubblewrap', process.env);
    const [inDir, outDir] = [join(dir, 'in'), join(dir, 'out')];
    for (const folder of [inDir, outDir]) await mkdir(folder);
    const script = `
      const { attemptEscapes } = await import(${JSON.stringify(join(APP_DIR, 'src/workloads/chaos/escapes.ts'))});
      await attemptEscapes(${JSON.stringify(targets)}, ${JSON.stringify({ inDir, outFile: join(outDir, 'part') })});
    `;
    const readOnly = [join(APP_DIR, 'src'), join(APP_DIR, 'package.json'), join(APP_DIR, 'node_modules'), inDir];
    const argv = [process.execPath, '--input-type=module', '-e', script];
    const { file, args } = toCommand(sandbox, { readOnly, readWrite: [outDir], devices: [] }, argv);
    const child = execFile(file, [...args], { env: {} });
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(0);
    const outcome = JSON.parse(await readFile(join(outDir, 'part'), 'utf8')) as Record<string, string>;
    // Within its walls a process may start others and talk to its own loopback; nobody outside hears it.
    expect(escapesOf(outcome)).toEqual(['open-inspector', 'spawn', 'udp-send', 'worker']);
    expect(await readdir(targets.writeDir)).not.toContain('written.sqlite');
    expect(await readdir(inDir)).toEqual([]);
    expect(heard).toBe(0);
  });

  test('gets no link published in place of its part', async () => {
    const [outDir, taken] = [join(dir, 'link-out'), join(dir, 'taken')];
    await mkdir(outDir);
    await symlink(targets.secretFile, join(outDir, 'part-1'));
    await mkdir(join(outDir, 'part-2'));
    expect(await takePart(outDir, 'part-1', taken)).toBe(false);
    expect(await takePart(outDir, 'part-2', taken)).toBe(false);
    expect(await readdir(dir)).not.toContain('taken');
    await using own = await openPool({ sandbox: 'permission' });
    const outcome = await own.pool.run(chaosTask({ mode: 'link-out', targets }));
    expect(outcome).toMatchObject({
      kind: 'failed',
      scope: 'task',
      reason: expect.stringMatching(/symlink/) as unknown,
    });
  });
});

describe('the choice of a sandbox', () => {
  test.skipIf(!BUBBLEWRAP_WORKS)('is bubblewrap where it really starts', async () => {
    expect(await probeSandbox('auto', process.env)).toMatchObject({ level: 'bubblewrap+permission' });
  });

  test('falls back with a reason, and refuses where bubblewrap was asked for', async () => {
    const bin = join(dir, 'bin');
    await mkdir(bin);
    const without = { PATH: bin };
    expect(await probeSandbox('auto', without)).toEqual({ level: 'permission', because: 'bwrap is not installed' });
    await expect(probeSandbox('bubblewrap', without)).rejects.toThrow(/bwrap is not installed; install it/);
    await writeFile(join(bin, 'bwrap'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    const installed = process.platform === 'linux' ? /cannot start a process here/ : /Linux only/;
    expect(await probeSandbox('auto', without)).toMatchObject({ because: expect.stringMatching(installed) as unknown });
    await expect(openPool({ sandbox: 'bubblewrap', environment: without })).rejects.toMatchObject({
      code: 'unavailable',
    });
  });
});
