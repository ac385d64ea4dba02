// Owns making an agent's parts from its settings and its files: who it is, whom it believes, what this machine has.

import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { AgentConfig as CoreConfig } from '../core/agent/state.ts';
import { loadOrCreateKey } from '../identity/key-files.ts';
import { PinnedAgent } from '../identity/pinned-agent.ts';
import { loadTrustFile, type TrustFile } from '../identity/trust-file.ts';
import { GIB } from '../lib/byte-sizes.ts';
import { SwarmError } from '../protocol/errors.ts';
import { MAX_BACKLOG } from '../protocol/to-coordinator.ts';
import { ByteCache } from './byte-cache.ts';
import { toSettings, type AgentConfig, type AgentSettings } from './config.ts';
import type { Logger } from '../runtime/logger.ts';
import { probeDevices, type Devices } from './devices/probe.ts';
import { toEndpoints, type Endpoint } from './endpoints.ts';
import { HttpAccess } from './http-access.ts';
import { JobBook } from './jobs.ts';
import type { LinkIdentity } from './link-socket.ts';
import { ModelCache } from './model-cache.ts';
import { allowsTestWorkloads, listBuiltinWorkloads } from './runners/builtin-workloads.ts';
import { createRunnerPool, type RunnerPool } from './runners/pool.ts';
import { Semaphore } from './semaphore.ts';
import { TaskInputs } from './task-inputs.ts';
import type { TaskTools } from './task-run.ts';
import { createMeter, type Meter } from './telemetry.ts';

const ITEM_CACHE_BYTES = GIB;
const UPLOADS_AT_ONCE = 4;
/** Tasks whose inputs are fetched while others compute, so that the device does not wait for them. */
const PREPARED_AHEAD = 1;
/** Besides those that are busy: a stage's runner stays warm while the next stage's begins. */
const SPARE_WARM = 1;
const MAX_NAME_CHARS = 64;
const MAX_VERSION_CHARS = 40;

export type Parts = {
  readonly coreConfig: CoreConfig;
  readonly endpoints: readonly Endpoint[];
  readonly identity: LinkIdentity;
  readonly pinnedAgent: PinnedAgent | undefined;
  readonly access: HttpAccess;
  readonly jobs: JobBook;
  readonly meter: Meter;
  readonly tools: Omit<TaskTools, 'logs'>;
};

/** Throws SwarmError when this machine has not joined, a file is not sound, or the sandbox does not work. */
export async function assemble(config: AgentConfig, logger: Logger): Promise<Parts> {
  const settings = toSettings(config);
  const trust = await loadTrust(settings.dir);
  const signer = await loadOrCreateKey(join(settings.dir, 'key.pem'));
  const identity = { signer, swarm: trust.swarm, membership: trust.membership };
  const endpoints = toEndpoints(trust, settings.url);
  const pinnedAgent = trust.tlsPin === undefined ? undefined : new PinnedAgent(trust.tlsPin);
  const access = new HttpAccess(endpoints, identity, pinnedAgent, logger);
  const [devices, pool] = await Promise.all([probeDevices(settings), startPool(settings, logger)]);
  return {
    coreConfig: { ...(await toCoreConfig(settings, devices)), sandbox: pool.sandbox },
    ...{ endpoints, identity, pinnedAgent, access },
    jobs: openJobs(settings, trust),
    meter: createMeter(devices.readTelemetry, settings.dir),
    tools: await makeTools(settings, { access, pool, signer, logger, device: devices.cpu }),
  };
}

async function loadTrust(dir: string): Promise<TrustFile> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const trust = await loadTrustFile(join(dir, 'trust.json'));
  if (trust) return trust;
  throw new SwarmError('not-found', `this machine has not joined a swarm (no trust.json in ${dir}): swarm join INVITE`);
}

function startPool(settings: AgentSettings, logger: Logger): Promise<RunnerPool> {
  const { appDir, dir, sandbox, slots, slowdown, environment } = settings;
  const memoryBytes = Math.floor(settings.memoryBytes / slots);
  const scratchDir = join(dir, 'scratch', 'runners');
  const maxWarm = slots + SPARE_WARM;
  return createRunnerPool({ appDir, scratchDir, sandbox, logger, memoryBytes, maxWarm, slowdown, environment });
}

function openJobs({ dir, environment, cacheBytes }: AgentSettings, { swarm }: TrustFile): JobBook {
  const workloads = listBuiltinWorkloads(allowsTestWorkloads(environment));
  return new JobBook({ dir, swarm, workloads, maxModelBytes: cacheBytes });
}

async function makeTools(
  settings: AgentSettings,
  made: Pick<TaskTools, 'access' | 'pool' | 'signer' | 'logger' | 'device'>,
): Promise<Omit<TaskTools, 'logs'>> {
  const { dir, cacheBytes, threads, slots } = settings;
  const { access, logger } = made;
  const cache = await ByteCache.open(join(dir, 'cache', 'items'), ITEM_CACHE_BYTES, logger);
  return {
    ...made,
    inputs: await TaskInputs.open(join(dir, 'scratch', 'inputs'), access, cache),
    models: new ModelCache(join(dir, 'models'), cacheBytes, access, logger),
    computing: new Semaphore(slots),
    uploads: new Semaphore(UPLOADS_AT_ONCE),
    threads: Math.max(1, Math.floor(threads / slots)),
  };
}

async function toCoreConfig(settings: AgentSettings, devices: Devices): Promise<CoreConfig> {
  const { name, backlog, slots, appDir, labels, owner } = settings;
  return {
    name: name.slice(0, MAX_NAME_CHARS),
    version: await readVersion(appDir),
    devices: devices.all,
    labels,
    ...(owner !== undefined && { owner }),
    backlog: Math.min(backlog, MAX_BACKLOG),
    slots: slots + PREPARED_AHEAD,
  };
}

async function readVersion(appDir: string): Promise<string> {
  const text = await readFile(join(appDir, 'package.json'), 'utf8');
  return z.looseObject({ version: z.string() }).parse(JSON.parse(text)).version.slice(0, MAX_VERSION_CHARS);
}
