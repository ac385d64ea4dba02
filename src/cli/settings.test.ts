import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadSettings, readSettings, type Flags } from './settings.ts';

let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'swarm-settings-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

async function originOf(name: string, text: string, environment: NodeJS.ProcessEnv, flags: Flags) {
  await writeFile(join(home, 'config.yaml'), text);
  const found = (await readSettings(home, flags, environment)).find((setting) => setting.name === name);
  return [found?.value, found?.origin.replace(home, 'HOME')];
}

test.each([
  ['', {}, {}, [8_080, 'default']],
  ['coordinator: { port: 1 }', {}, {}, [1, 'file (HOME/config.yaml)']],
  ['coordinator: { port: 1 }', { SWARM_PORT: '2' }, {}, [2, 'environment (SWARM_PORT)']],
  ['coordinator: { port: 1 }', { SWARM_PORT: '2' }, { port: '3' }, [3, 'flag']],
  ['coordinator: { port: 1 }', { SWARM_PORT: '' }, {}, [1, 'file (HOME/config.yaml)']],
] as const)('port from %j, %j and %j is %j', async (text, environment, flags, expected) => {
  expect(await originOf('port', text, environment, flags)).toEqual(expected);
});

test('SWARM_NAME wins over NODE_NAME, and COORD_ADDR needs no scheme', async () => {
  await writeFile(join(home, 'config.yaml'), '');
  const environment = { NODE_NAME: 'old', SWARM_NAME: 'new', COORD_ADDR: '127.0.0.1:9000/' };
  expect(await loadSettings(home, {}, environment)).toMatchObject({
    name: 'new',
    coordinatorUrl: 'http://127.0.0.1:9000',
  });
});

test.each([
  ['coordinator: { quota: 1.5GiB }', 'quota', 1.5 * 1_024 ** 3],
  ['coordinator: { publicHosts: [a.example, b.example] }', 'publicHosts', ['a.example', 'b.example']],
  ['coordinator: { publicHosts: "a.example, b.example" }', 'publicHosts', ['a.example', 'b.example']],
  ['coordinator: { allowPublic: true }', 'allowPublic', true],
  ['agent: { name: 5090 }', 'name', '5090'],
  ['agent: { threads: null }', 'threads', undefined],
])('%s gives %s the value %j', async (text, name, value) => {
  expect((await originOf(name, text, {}, {}))[0]).toEqual(value);
});

test.each([
  ['agent: { threads: 0 }', {}, {}, /agent\.threads, from file .*no whole number/],
  ['', { SWARM_SLOWDOWN: '0.5' }, {}, /agent\.slowdown, from environment \(SWARM_SLOWDOWN\): .*no factor/],
  ['', {}, { memory: 'lots' }, /agent\.memory, from flag/],
  ['agent: { sandbox: none }', {}, {}, /none of auto, bubblewrap, permission/],
  ['logLevel: [loud]', {}, {}, /none of debug/],
  ['name: x', {}, {}, /no setting "name": did you mean "agent\.name"/],
  ['a: &a [1]\nb: *a', {}, {}, /is not YAML/],
  ['x', {}, {}, /no setting/],
] as const)('%j with %j and %j is refused', async (text, environment, flags, message) => {
  await writeFile(join(home, 'config.yaml'), text);
  await expect(readSettings(home, flags, environment)).rejects.toThrow(message);
});
