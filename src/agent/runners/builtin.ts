// Owns starting a builtin runner: this release's own code in a child Node, with an empty environment, the sandbox's
// command line and folders of its own. Does not know tasks, warmth or outcomes.

import { existsSync, realpathSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { dirname, extname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RunnerInit } from '../../protocol/runner.ts';
import type { RunInit } from '../../workloads/workload.ts';
import { allowsTestWorkloads } from './builtin-workloads.ts';
import { RunnerProcess } from './runner-process.ts';
import { listDeviceNodes, toCommand, toPermissionArgs, type Mounts, type Sandbox } from './sandbox.ts';

const MIB = 1_024 * 1_024;
/** Node itself needs some heap to start with. */
const MIN_HEAP_MIB = 64;

/** The same file beside this one, as source or as built. */
const ENTRY = fileURLToPath(new URL(`./runner-child${extname(import.meta.url)}`, import.meta.url));

export type BuiltinRunner = {
  readonly process: RunnerProcess;
  /** What it is to be opened with. */
  readonly init: RunnerInit;
  readonly inDir: string;
  readonly outDir: string;
  /** Ends the process and removes its folders. */
  stop(graceful: boolean): Promise<void>;
};

export type BuiltinOptions = {
  readonly sandbox: Sandbox;
  /** The folder of this release, which holds package.json. */
  readonly appDir: string;
  /** A folder for this runner alone; made here, removed by `stop`. */
  readonly dir: string;
  readonly workload: string;
  readonly init: RunInit;
  readonly slowdown: number;
  readonly memoryBytes: number;
  readonly environment: NodeJS.ProcessEnv;
};

/** Makes the folders and starts the process; does not wait for it. Throws what the file system throws. */
export async function startBuiltin(options: BuiltinOptions): Promise<BuiltinRunner> {
  const { dir, sandbox, environment } = options;
  const [inDir, outDir] = [join(dir, 'in'), join(dir, 'out')];
  for (const folder of [inDir, outDir]) await mkdir(folder, { recursive: true, mode: 0o700 });
  const argv = [process.execPath, ...toNodeArgs(options, inDir, outDir), ENTRY];
  const command = toCommand(sandbox, toMounts(options, inDir, outDir), argv);
  const runner = new RunnerProcess(command, toEnvironment(environment));
  return {
    process: runner,
    init: toInit(options, inDir, outDir),
    inDir,
    outDir,
    async stop(graceful) {
      await runner.stop(graceful);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Empty, save for the switch that tests need. */
function toEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return allowsTestWorkloads(environment) ? { SWARM_TEST_WORKLOADS: '1' } : {};
}

function toNodeArgs(options: BuiltinOptions, inDir: string, outDir: string): string[] {
  const heapMib = Math.max(MIN_HEAP_MIB, Math.floor(options.memoryBytes / MIB));
  return [...toPermissionArgs(toMounts(options, inDir, outDir)), `--max-old-space-size=${heapMib}`];
}

function toMounts({ appDir, init }: BuiltinOptions, inDir: string, outDir: string): Mounts {
  const model = init.model ? [init.model.dir] : [];
  return {
    readOnly: [...listAppRoots(appDir), ...model, inDir],
    readWrite: [outDir],
    devices: listDeviceNodes(init.device.kind),
  };
}

/** What of the release a runner reads: its code and its dependencies, never the folder around them, which may hold keys. */
function listAppRoots(appDir: string): string[] {
  const code = relative(appDir, ENTRY).split(sep)[0] ?? '';
  const roots = [join(appDir, code), join(appDir, 'package.json')];
  for (let folder = appDir; ; folder = dirname(folder)) {
    roots.push(join(folder, 'node_modules'));
    if (folder === dirname(folder)) break;
  }
  const existing = roots.filter((path) => existsSync(path));
  return [...new Set(existing.flatMap((path) => [path, realpathSync(path)]))];
}

function toInit({ workload, init, slowdown }: BuiltinOptions, inDir: string, outDir: string): RunnerInit {
  const { step, params, device, threads, model } = init;
  return {
    type: 'init',
    workload,
    step,
    params: structuredClone(params) as RunnerInit['params'],
    device,
    threads,
    inDir,
    outDir,
    ...(model && { model: { name: model.name, sha256: model.sha256 }, modelDir: model.dir }),
    ...(slowdown > 1 && { slowdown }),
  };
}
