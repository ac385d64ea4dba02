// Owns the sandbox of builtin runners: which level works on this machine, found by really starting one, and the command
// line that a level needs. Node's permission model is a seat belt (native code and signals go around it); bubblewrap is
// the wall. Does not start runners.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { SwarmError } from '../../protocol/errors.ts';

export type SandboxLevel = 'bubblewrap+permission' | 'permission';
export type SandboxWish = 'auto' | 'bubblewrap' | 'permission';

export type Sandbox =
  | { readonly level: 'bubblewrap+permission'; readonly bwrap: string; readonly hardening: readonly string[] }
  /** `setpriv`, where there is one, makes the kernel end a runner with its agent even when the runner is stuck. */
  | { readonly level: 'permission'; readonly setpriv?: string; readonly because: string };

/** What a process may touch. All else of the disk is not there (bubblewrap) or refused (permission model). */
export type Mounts = {
  readonly readOnly: readonly string[];
  readonly readWrite: readonly string[];
  /** Device nodes, for GPUs. */
  readonly devices: readonly string[];
};

export type Command = { readonly file: string; readonly args: readonly string[] };

const PROBE_MS = 10_000;

/** Libraries that a dynamic program needs; no programs, no settings, no sockets. */
const SYSTEM_READ_ONLY = [
  '/usr/lib',
  '/usr/lib32',
  '/usr/lib64',
  '/usr/libx32',
  '/usr/local/lib',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/etc/ld.so.cache',
  '/nix/store',
  '/sys/devices/system/cpu',
  '/sys/devices/system/node',
];

/** `auto` takes the best level that works. Throws `unavailable` when bubblewrap is asked for and does not work. */
export async function probeSandbox(wish: SandboxWish, environment: NodeJS.ProcessEnv): Promise<Sandbox> {
  const because = wish === 'permission' ? 'the settings ask for it' : await tryBubblewrap(environment);
  if (typeof because !== 'string') return because;
  if (wish === 'bubblewrap')
    throw new SwarmError(
      'unavailable',
      `bubblewrap cannot be used: ${because}; install it (package bubblewrap), or set the sandbox to auto`,
    );
  const setpriv = process.platform === 'linux' ? findProgram('setpriv', environment) : undefined;
  const works =
    setpriv !== undefined && (await starts({ file: setpriv, args: [...PDEATHSIG, process.execPath, '-v'] }));
  return works ? { level: 'permission', setpriv, because } : { level: 'permission', because };
}

/** The sandbox, or why there is none. */
async function tryBubblewrap(environment: NodeJS.ProcessEnv): Promise<Sandbox | string> {
  if (process.platform !== 'linux') return 'it exists on Linux only';
  const bwrap = findProgram('bwrap', environment);
  if (bwrap === undefined) return 'bwrap is not installed';
  for (const hardening of [['--unshare-user', '--disable-userns'], []]) {
    const sandbox: Sandbox = { level: 'bubblewrap+permission', bwrap, hardening };
    if (await starts(toCommand(sandbox, { readOnly: [], readWrite: [], devices: [] }, [process.execPath, '-v'])))
      return sandbox;
  }
  return 'bwrap is installed but cannot start a process here';
}

const PDEATHSIG = ['--pdeathsig', 'KILL', '--'];

/** The command line that runs `argv` within `sandbox`. The environment is the caller's to empty. */
export function toCommand(sandbox: Sandbox, mounts: Mounts, argv: readonly string[]): Command {
  const [file = '', ...args] = argv;
  if (sandbox.level === 'permission')
    return sandbox.setpriv === undefined ? { file, args } : { file: sandbox.setpriv, args: [...PDEATHSIG, ...argv] };
  const { bwrap, hardening } = sandbox;
  return { file: bwrap, args: [...toBwrapArgs(mounts, hardening), '--', ...argv] };
}

function toBwrapArgs({ readOnly, readWrite, devices }: Mounts, hardening: readonly string[]): string[] {
  const existing = SYSTEM_READ_ONLY.filter((path) => existsSync(path));
  return [
    ...['--unshare-all', '--new-session', '--die-with-parent', '--cap-drop', 'ALL', '--hostname', 'runner'],
    ...hardening,
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp'],
    ...[...existing, process.execPath, ...readOnly].flatMap((path) => ['--ro-bind', path, path]),
    ...readWrite.flatMap((path) => ['--bind', path, path]),
    ...devices.flatMap((path) => ['--dev-bind-try', path, path]),
    ...['--remount-ro', '/', '--chdir', '/tmp'],
  ];
}

/**
 * Node's own permissions for the same mounts. Addons are allowed: ONNX Runtime is one. SQLite is taken away: it opens
 * files past the permissions.
 */
export function toPermissionArgs({ readOnly, readWrite }: Mounts): string[] {
  return [
    '--permission',
    '--allow-addons',
    '--no-experimental-sqlite',
    '--disable-warning=PERM0001',
    ...[...readOnly, ...readWrite].map((path) => `--allow-fs-read=${path}`),
    ...readWrite.map((path) => `--allow-fs-write=${path}`),
  ];
}

/** Device nodes that a kind of device needs. */
export function listDeviceNodes(kind: 'cpu' | 'cuda' | 'rocm' | 'metal'): string[] {
  const nvidia = ['/dev/nvidiactl', '/dev/nvidia-uvm', '/dev/nvidia-uvm-tools', '/dev/nvidia-modeset', '/dev/dxg'];
  if (kind === 'cuda') return [...nvidia, ...Array.from({ length: 16 }, (_, i) => `/dev/nvidia${i}`)];
  return kind === 'rocm' ? ['/dev/kfd', '/dev/dri'] : [];
}

function findProgram(name: string, environment: NodeJS.ProcessEnv): string | undefined {
  const folders = (environment['PATH'] ?? '/usr/bin:/bin').split(delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

function starts({ file, args }: Command): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { env: {}, stdio: 'ignore', timeout: PROBE_MS, killSignal: 'SIGKILL' });
    child.on('error', () => resolve(false));
    child.on('exit', (code) => resolve(code === 0));
  });
}
