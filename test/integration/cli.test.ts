// Tests of the `swarm` command as a person or a script meets it: help, wrong usage, settings, invites, errors and exit
// codes. Real processes in homes of their own.

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { MANUAL, toManual } from '../../scripts/manual.ts';
import { createProgram } from '../../src/cli/main.ts';
import { killAll, swarm, SwarmProcess } from '../helpers/swarm-process.ts';

let dir: string;
let homes = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'swarm-cli-'));
});
afterEach(killAll);
afterAll(() => rm(dir, { recursive: true, force: true }));

function newHome(): string {
  return join(dir, `home-${++homes}`);
}

async function startCoordinator(home: string, ...args: string[]): Promise<{ up: SwarmProcess; url: string }> {
  const up = new SwarmProcess(home, ['up', '--port', '0', ...args]);
  const [, url = ''] = await up.printed(/listening on (\S+?)[,\s]/);
  return { up, url };
}

async function inviteTo(home: string, ...args: string[]): Promise<string> {
  const { stdout } = await swarm(home, 'invite', '--json', ...args);
  return (JSON.parse(stdout) as { invite: string }).invite;
}

describe('help and wrong usage', () => {
  test('docs/cli.md is what the commands say of themselves', async () => {
    expect(await readFile(MANUAL, 'utf8'), 'run: node scripts/manual.ts').toBe(toManual());
  });

  test('every command has an example', () => {
    const manual = toManual();
    const commands = createProgram('0').commands.filter(({ commands: below }) => below.length === 0);
    for (const command of commands) {
      const section = manual.slice(manual.indexOf(`## swarm ${command.name()}\n`)).split('\n## ')[0] ?? '';
      expect([command.name(), /Examples?:/.test(section)]).toEqual([command.name(), true]);
    }
  });

  test.each([
    [['nonsense'], /unknown command 'nonsense'/],
    [['run', 'noop'], /--items <count>' not specified/],
    [['run', 'noop', '--items', '-3'], /whole number above 0/],
    [['invite', '--uses', '0'], /whole number from 1/],
    [['invite', '--expires', 'soon'], /not a duration/],
    [['invite', '--role', 'king'], /peer, submitter, viewer, admin/],
    [['show'], /missing required argument 'job'/],
    [['run', 'embeddings', 'x'], /--out <file>' is needed/],
    [['demo', '--agents', '9'], /whole number from 1 to 8/],
  ])('%j is wrong usage: exit code 2, and what is wrong', async (args, message) => {
    const { code, stderr, stdout } = await swarm(newHome(), ...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
  });

  test('without a swarm each command says what to do, with --json as JSON', async () => {
    const home = newHome();
    const plain = await swarm(home, 'jobs');
    expect([plain.code, plain.stderr]).toEqual([1, expect.stringMatching(/swarm up.*swarm join INVITE/s)]);
    const { code, stdout } = await swarm(home, 'peers', '--json');
    expect([code, JSON.parse(stdout)]).toMatchObject([1, { error: { code: 'not-found' } }]);
    expect((await swarm(home, 'agent')).stderr).toMatch(/has not joined a swarm/);
  });
});

describe('settings', () => {
  test('flags win over the environment, that over the file, and each says where it comes from', async () => {
    const home = newHome();
    await mkdir(home);
    await writeFile(
      join(home, 'config.yaml'),
      'coordinator:\n  port: 1111\n  quota: 5GiB\nagent:\n  name: from-file\n',
    );
    const process = new SwarmProcess(home, ['config', '--json'], {
      environment: { SWARM_PORT: '2222', NODE_NAME: 'from-env' },
    });
    await process.ended();
    const { settings } = JSON.parse(process.stdout) as {
      settings: { setting: string; value: unknown; origin: string }[];
    };
    const of = (name: string) => settings.find(({ setting }) => setting === name);
    expect(of('coordinator.port')).toMatchObject({ value: 2222, origin: 'environment (SWARM_PORT)' });
    expect(of('coordinator.quota')).toMatchObject({
      value: 5 * 1_024 ** 3,
      origin: expect.stringContaining('config.yaml'),
    });
    expect(of('agent.name')).toMatchObject({ value: 'from-env', origin: 'environment (NODE_NAME)' });
    expect(of('agent.slots')).toMatchObject({ value: 1, origin: 'default' });
  });

  test.each([
    ['coordinator:\n  prot: 1\n', /no setting "coordinator\.prot": did you mean "coordinator\.port"/],
    ['quota: 5GiB\n', /did you mean "coordinator\.quota"/],
    ['coordinator:\n  port: 99999\n', /coordinator\.port, from file .*is no port/],
    ['agent: [1, 2\n', /is not YAML/],
  ])('%j is refused with the reason', async (text, message) => {
    const home = newHome();
    await mkdir(home);
    await writeFile(join(home, 'config.yaml'), text);
    const { code, stderr } = await swarm(home, 'config');
    expect([code, stderr]).toEqual([7, expect.stringMatching(message)]);
  });
});

describe('joining', () => {
  test('an invite works once, survives line breaks, and is refused when damaged, expired or used up', async () => {
    const home = newHome();
    await using started = await startCoordinator(home).then(({ up }) => up);
    expect(started.pid).toBeGreaterThan(0);
    const invite = await inviteTo(home);
    const broken = `${invite.slice(0, 100)}\n  ${invite.slice(100)}`;
    const joined = await swarm(newHome(), 'join', broken, '--name', 'attic');
    expect([joined.code, joined.stdout]).toEqual([0, expect.stringMatching(/as attic \(peer\)/)]);
    const again = await swarm(newHome(), 'join', invite);
    expect([again.code, again.stderr]).toEqual([6, expect.stringMatching(/used 1 of 1/)]);
    const cut = await swarm(newHome(), 'join', invite.slice(0, -20));
    expect([cut.code, cut.stderr]).toEqual([6, expect.stringMatching(/cut off|altered/)]);
    const short = await inviteTo(home, '--expires', '1ms');
    const late = await swarm(newHome(), 'join', short);
    expect([late.code, late.stderr]).toEqual([6, expect.stringMatching(/expired/)]);
    const { stdout } = await swarm(home, 'peers');
    expect(stdout).toMatch(/attic\s+away/);
  });

  test('when nobody answers, each address says why; a home that pins another swarm is not overwritten', async () => {
    const [home, other] = [newHome(), newHome()];
    const first = await startCoordinator(home);
    const invite = await inviteTo(home, '--role', 'viewer');
    await first.up.kill();
    const { code, stderr } = await swarm(newHome(), 'join', invite);
    expect([code, stderr]).toEqual([5, expect.stringMatching(/127\.0\.0\.1:\d+ cannot be reached .*ECONNREFUSED/)]);
    await startCoordinator(other);
    const foreign = await swarm(home, 'join', await inviteTo(other, '--role', 'viewer'));
    expect([foreign.code, foreign.stderr]).toEqual([1, expect.stringMatching(/pins another swarm/)]);
  });

  test('a submitter runs a job, a viewer may only look', async () => {
    const home = newHome();
    await startCoordinator(home);
    const [anna, vera] = [newHome(), newHome()];
    await swarm(anna, 'join', await inviteTo(home, '--role', 'submitter'), '--name', 'Anna');
    await swarm(vera, 'join', await inviteTo(home, '--role', 'viewer'), '--name', 'Vera');
    const submitted = await swarm(anna, 'run', 'noop', '--items', '3', '--detach');
    const job = submitted.stdout.trim();
    expect(job).toMatch(/^[0-9a-f]{16}$/);
    expect((await swarm(vera, 'jobs')).stdout).toMatch(new RegExp(`${job}\\s+noop\\s+running\\s+0/3.*Anna`));
    const refused = await swarm(vera, 'cancel', job.slice(0, 6));
    expect([refused.code, refused.stderr]).toEqual([6, expect.stringMatching(/viewer/)]);
    expect((await swarm(anna, 'explain', job.slice(0, 6))).stdout).toMatch(/No peer is connected/);
    expect((await swarm(anna, 'pause', job)).stdout).toMatch(/is paused/);
    expect((await swarm(anna, 'resume', job)).stdout).toMatch(/is running/);
    expect((await swarm(anna, 'cancel', job)).stdout).toMatch(/is canceled/);
    expect((await swarm(anna, 'watch', job, '--json')).code).toBe(4);
  });
});

describe('what goes wrong', () => {
  test('a port in use', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address ? String(address.port) : '';
    const { code, stderr } = await swarm(newHome(), 'up', '--port', port);
    server.close();
    expect([code, stderr]).toEqual([1, expect.stringMatching(new RegExp(`port ${port} on 127.0.0.1 is in use`))]);
  });

  test('a home that is not ours to start a swarm in', async () => {
    const [home, friend] = [newHome(), newHome()];
    await startCoordinator(home);
    await swarm(friend, 'join', await inviteTo(home, '--role', 'submitter'));
    const pins = await readFile(join(friend, 'client', 'trust.json'), 'utf8');
    const { code, stderr } = await swarm(friend, 'up', '--port', '0');
    expect([code, stderr]).toEqual([1, expect.stringMatching(/belongs to a member of another swarm.*--home FOLDER/)]);
    expect(await readFile(join(friend, 'client', 'trust.json'), 'utf8')).toBe(pins);
    const file = join(dir, 'a-file');
    await writeFile(file, '');
    for (const command of ['up', 'jobs', 'agent', 'config'])
      expect((await swarm(file, command)).stderr).not.toMatch(/bug/);
  });

  test('the same job file is the same job, unless it is to be a new one', async () => {
    const home = newHome();
    await startCoordinator(home);
    const file = join(dir, 'same.yaml');
    const text =
      'name: x\nstages:\n  - { name: a, workload: noop, items: { kind: count, count: 1 }, yieldsParts: false }\n';
    await writeFile(file, text);
    const first = await swarm(home, 'submit', file);
    await writeFile(file, `# a remark changes nothing\n${text}`);
    const again = await swarm(home, 'submit', file);
    expect([again.stdout, again.stderr]).toEqual([first.stdout, expect.stringMatching(/submitted before.*--new/)]);
    const other = await swarm(home, 'submit', file, '--new');
    expect(other.stdout).not.toBe(first.stdout);
    expect((await swarm(home, 'submit', dir)).stderr).toMatch(/is not a file/);
  });

  test('a reader that leaves early stops nothing and prints nothing', async () => {
    const main = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts');
    const ask = `set -o pipefail; '${process.execPath}' '${main}' config --home '${newHome()}' 2>&1 | true; echo "code $?"`;
    const { stdout, stderr } = await promisify(execFile)('bash', ['-c', ask]);
    expect([stdout, stderr]).toEqual(['code 0\n', '']);
  });

  test('a job file that is missing, no job, or breaks the rules', async () => {
    const home = newHome();
    await startCoordinator(home);
    const submit = async (text: string) => {
      const file = join(dir, 'job.yaml');
      await writeFile(file, text);
      return swarm(home, 'submit', file);
    };
    expect((await swarm(home, 'submit', join(dir, 'nowhere.yaml'))).stderr).toMatch(/cannot be read/);
    expect((await submit('- 1\n- 2\n')).stderr).toMatch(/holds no job/);
    expect((await submit('name: x\nstages: [')).stderr).toMatch(/neither YAML nor JSON/);
    expect((await submit('name: x\nstages: []')).stderr).toMatch(/job spec is not valid/);
    const cycle = 'name: x\nstages:\n  - { name: a, workload: noop, needs: [b], items: { kind: count, count: 1 } }\n';
    const { code, stderr } = await submit(cycle);
    expect([code, stderr]).toEqual([7, expect.stringMatching(/stage "a" needs "b", which does not exist/)]);
  });

  test('input and output of an embeddings job are checked before anything is submitted', async () => {
    const home = newHome();
    await startCoordinator(home);
    const [empty, texts, junk] = [join(dir, 'empty'), join(dir, 'texts'), join(dir, 'junk.txt')];
    for (const folder of [empty, texts]) await mkdir(folder);
    await writeFile(join(texts, 'one.txt'), 'A sentence.');
    await writeFile(junk, Buffer.from([0, 1, 2, 0xff, 0xfe, 0x80, 0, 0, 7, 0xc3, 0x28]));
    const run = (input: string, out: string, ...more: string[]) =>
      swarm(home, 'run', 'embeddings', input, '--out', out, ...more);
    const cases: [string, string, RegExp][] = [
      [empty, join(dir, 'o.parquet'), /holds no/],
      [join(dir, 'nowhere'), join(dir, 'o.parquet'), /nowhere/],
      [junk, join(dir, 'o.parquet'), /junk\.txt/],
      [texts, texts, /is a folder/],
      [texts, join(dir, 'no', 'such', 'o.parquet'), /does not exist/],
    ];
    for (const [input, out, message] of cases) {
      const { code, stderr } = await run(input, out);
      expect([input, code, stderr]).toEqual([input, 7, expect.stringMatching(message)]);
    }
    await writeFile(join(dir, 'table.csv'), 'id,words\n1,hello\n');
    expect((await run(join(dir, 'table.csv'), join(dir, 'o.parquet'))).stderr).toMatch(/column/);
    expect((await swarm(home, 'jobs')).stdout).toMatch(/no jobs yet/);
  });

  test('Ctrl-C ends a coordinator in order, and it starts again', async () => {
    const home = newHome();
    const { up } = await startCoordinator(home);
    up.signal('SIGINT');
    expect(await up.ended()).toBe(130);
    const { up: again } = await startCoordinator(home);
    again.signal('SIGTERM');
    expect(await again.ended()).toBe(0);
  });
});
