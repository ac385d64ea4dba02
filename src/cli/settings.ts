// Owns the settings of all programs: one YAML file, environment variables and flags, the later ones winning, each value
// with its origin. Knows nothing of what a setting does.

import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { GIB, parseByteSize } from '../lib/byte-sizes.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { SwarmError } from '../protocol/errors.ts';
import { labelSchema } from '../protocol/names.ts';
import { findNear } from './near-match.ts';

const MAX_FILE_BYTES = 256 * 1_024;
const MAX_LABELS = 32;

type Setting<T> = {
  /** Where it stands in the file, such as `coordinator.port`. */
  readonly path: string;
  /** Variables that set it; the first one that is set counts. */
  readonly environment: readonly string[];
  readonly fallback: T;
  readonly parse: (text: string) => Result<T>;
  readonly about: string;
};

function setting<T>(
  path: string,
  environment: readonly string[],
  fallback: T,
  parse: (text: string) => Result<T>,
  about: string,
): Setting<T> {
  return { path, environment, fallback, parse, about };
}

const none: undefined = undefined;
type Optional<T> = T | undefined;

/** Every setting there is. */
export const SETTINGS = {
  host: setting(
    'coordinator.host',
    ['SWARM_HOST'],
    '127.0.0.1',
    parseText,
    'address to listen on; beyond loopback with TLS',
  ),
  port: setting('coordinator.port', ['SWARM_PORT'], 8_080, parsePort, 'port to listen on; 0 takes any free one'),
  allowPublic: setting('coordinator.allowPublic', ['SWARM_ALLOW_PUBLIC'], false, parseFlag, 'allow a public address'),
  publicHosts: setting(
    'coordinator.publicHosts',
    ['SWARM_PUBLIC_HOSTS'],
    [],
    parseList,
    'further names of this coordinator',
  ),
  quota: setting('coordinator.quota', ['SWARM_QUOTA'], 50 * GIB, parseByteSize, 'room for artifacts'),
  metricsToken: setting<Optional<string>>(
    'coordinator.metricsToken',
    ['SWARM_METRICS_TOKEN'],
    none,
    parseText,
    'token that may read /metrics',
  ),
  decisionLog: setting<Optional<string>>(
    'coordinator.decisionLog',
    ['SWARM_DECISION_LOG'],
    none,
    parseText,
    'file to which every decision of the scheduler is appended, as JSON Lines',
  ),
  logLevel: setting('logLevel', ['SWARM_LOG_LEVEL'], 'info', parseLogLevel, 'debug, info, warn or error'),
  name: setting('agent.name', ['SWARM_NAME', 'NODE_NAME'], hostname(), parseText, 'what this machine calls itself'),
  coordinatorUrl: setting<Optional<string>>(
    'agent.url',
    ['SWARM_COORD_ADDR', 'COORD_ADDR'],
    none,
    parseUrl,
    'the coordinator’s address, instead of the invite’s',
  ),
  threads: setting<Optional<number>>(
    'agent.threads',
    ['SWARM_THREADS'],
    none,
    parseCount,
    'CPU threads for tasks; all unless told',
  ),
  slots: setting('agent.slots', ['SWARM_SLOTS'], 1, parseCount, 'tasks that compute at once'),
  slowdown: setting('agent.slowdown', ['SWARM_SLOWDOWN'], 1, parseFactor, 'slower on purpose by this factor'),
  sandbox: setting('agent.sandbox', ['SWARM_SANDBOX'], 'auto', parseSandbox, 'auto, bubblewrap or permission'),
  labels: setting<readonly string[]>(
    'agent.labels',
    ['SWARM_LABELS'],
    [],
    parseLabels,
    'what you say of this machine, for jobs that ask for such',
  ),
  memory: setting<Optional<number>>(
    'agent.memory',
    ['SWARM_MEMORY'],
    none,
    parseByteSize,
    'memory for tasks; three quarters unless told',
  ),
  cache: setting<Optional<number>>('agent.cache', ['SWARM_CACHE'], none, parseByteSize, 'disk for downloaded models'),
  url: setting<Optional<string>>('client.url', ['SWARM_URL'], none, parseUrl, 'the coordinator’s address for commands'),
} as const;

export type SettingName = keyof typeof SETTINGS;
type ValueOf<Name extends SettingName> = (typeof SETTINGS)[Name] extends Setting<infer T> ? T : never;
export type Settings = { readonly [Name in SettingName]: ValueOf<Name> };
/** Flags as they were typed. */
export type Flags = { readonly [Name in SettingName]?: string | boolean | undefined };
export type Sourced = { readonly name: SettingName; readonly value: unknown; readonly origin: string };

/** All settings with where each came from. Throws 'bad-input' that names the file, variable or flag at fault. */
export async function readSettings(homeDir: string, flags: Flags = {}, environment = process.env): Promise<Sourced[]> {
  const file = join(homeDir, 'config.yaml');
  const written = await readConfigFile(file);
  return (Object.keys(SETTINGS) as SettingName[]).map((name) => findSetting(name, flags, environment, written, file));
}

/** The values alone. */
export async function loadSettings(homeDir: string, flags: Flags = {}, environment = process.env): Promise<Settings> {
  const sourced = await readSettings(homeDir, flags, environment);
  return Object.fromEntries(sourced.map(({ name, value }) => [name, value])) as Settings;
}

function findSetting(
  name: SettingName,
  flags: Flags,
  environment: NodeJS.ProcessEnv,
  written: ReadonlyMap<string, string>,
  file: string,
): Sourced {
  const { path, environment: variables, fallback } = SETTINGS[name];
  const flag = flags[name];
  if (flag !== undefined) return take(name, String(flag), 'flag');
  const variable = variables.find((candidate) => (environment[candidate] ?? '') !== '');
  if (variable !== undefined) return take(name, environment[variable] ?? '', `environment (${variable})`);
  const text = written.get(path);
  if (text !== undefined) return take(name, text, `file (${file})`);
  return { name, value: fallback, origin: 'default' };
}

function take(name: SettingName, text: string, origin: string): Sourced {
  const parsed: Result<unknown> = SETTINGS[name].parse(text);
  if (parsed.ok) return { name, value: parsed.value, origin };
  throw new SwarmError('bad-input', `setting ${SETTINGS[name].path}, from ${origin}: ${parsed.error}`);
}

/** The file's settings by path; an empty map when there is no file. */
async function readConfigFile(file: string): Promise<ReadonlyMap<string, string>> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return '';
    throw new SwarmError('bad-input', `${file} cannot be read: ${cause.message}`, { cause });
  });
  if (text.length > MAX_FILE_BYTES) throw new SwarmError('bad-input', `${file} is over ${MAX_FILE_BYTES} bytes`);
  const found = new Map<string, string>();
  flatten(parseFile(file, text), '', found);
  const known = new Set<string>(Object.values(SETTINGS).map(({ path }) => path));
  for (const path of found.keys())
    if (!known.has(path))
      throw new SwarmError(
        'bad-input',
        `${file}: there is no setting "${path}"${suggest(path, known)}; swarm config lists them`,
      );
  return found;
}

function parseFile(file: string, text: string): unknown {
  try {
    return parseYaml(text, { maxAliasCount: 0 });
  } catch (cause) {
    throw new SwarmError('bad-input', `${file} is not YAML: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

function flatten(value: unknown, path: string, found: Map<string, string>): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flatten(inner, path === '' ? key : `${path}.${key}`, found);
    return;
  }
  if (value === null || value === undefined) return;
  found.set(path, Array.isArray(value) ? value.join(',') : toScalar(value));
}

function toScalar(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** By the whole path, or by its last word where somebody left out the rest. */
function suggest(path: string, known: ReadonlySet<string>): string {
  const last = (text: string) => text.slice(text.lastIndexOf('.') + 1);
  const lastWords = new Map([...known].map((candidate) => [last(candidate), candidate]));
  const near = findNear(path, known) ?? lastWords.get(findNear(last(path), lastWords.keys()) ?? '');
  return near === undefined ? '' : `: did you mean "${near}"?`;
}

function parseText(text: string): Result<string> {
  return text.trim() === '' ? err('it is empty') : ok(text.trim());
}

function parseUrl(text: string): Result<string> {
  const url = /^https?:\/\//.test(text) ? text : `http://${text}`;
  return URL.canParse(url) ? ok(url.replace(/\/+$/, '')) : err(`"${text}" is no address; write http://127.0.0.1:8080`);
}

/** A port that was typed. Throws 'bad-input'. */
export function toPort(text: string): number {
  const port = parsePort(text);
  if (port.ok) return port.value;
  throw new SwarmError('bad-input', port.error);
}

function parsePort(text: string): Result<number> {
  const port = Number(text);
  return Number.isInteger(port) && port >= 0 && port <= 65_535 ? ok(port) : err(`"${text}" is no port (0 to 65535)`);
}

function parseCount(text: string): Result<number> {
  const count = Number(text);
  return Number.isInteger(count) && count >= 1 && count <= 1_024
    ? ok(count)
    : err(`"${text}" is no whole number from 1 to 1024`);
}

function parseFactor(text: string): Result<number> {
  const factor = Number(text);
  return factor >= 1 && factor <= 1_000 ? ok(factor) : err(`"${text}" is no factor from 1 to 1000`);
}

function parseFlag(text: string): Result<boolean> {
  if (/^(true|yes|1)$/i.test(text)) return ok(true);
  return /^(false|no|0)$/i.test(text) ? ok(false) : err(`"${text}" is neither true nor false`);
}

function parseList(text: string): Result<string[]> {
  return ok(
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  );
}

function parseLabels(text: string): Result<string[]> {
  const labels = parseList(text);
  if (!labels.ok) return labels;
  const bad = labels.value.find((label) => !labelSchema.safeParse(label).success);
  if (bad !== undefined) return err(`"${bad}" is no label: small letters, digits, dots and dashes, at most 40`);
  return labels.value.length > MAX_LABELS ? err(`there may be ${MAX_LABELS} labels at most`) : labels;
}

function parseLogLevel(text: string): Result<string> {
  return /^(debug|info|warn|error)$/.test(text) ? ok(text) : err(`"${text}" is none of debug, info, warn, error`);
}

function parseSandbox(text: string): Result<'auto' | 'bubblewrap' | 'permission'> {
  if (text === 'auto' || text === 'bubblewrap' || text === 'permission') return ok(text);
  return err(`"${text}" is none of auto, bubblewrap, permission`);
}
