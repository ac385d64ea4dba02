// Owns real `swarm` processes for end-to-end tests: started in a home of their own, read line by line, killed, and never
// left behind.

import { spawn, type ChildProcess } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { until } from './condition.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const alive = new Set<SwarmProcess>();

export type ProcessOptions = {
  readonly environment?: NodeJS.ProcessEnv;
  /** Files cannot grow beyond this: what a full disk is to a test that cannot mount one. */
  readonly maxFileKib?: number;
};

export class SwarmProcess implements AsyncDisposable {
  readonly args: readonly string[];
  readonly #child: ChildProcess;
  #stdout = '';
  #stderr = '';
  #exit: { code: number | null; signal: NodeJS.Signals | null } | undefined;

  /** Starts `swarm …args` with its own SWARM_HOME. */
  constructor(home: string, args: readonly string[], options: ProcessOptions = {}) {
    this.args = args;
    const env = { ...process.env, NO_COLOR: '1', ...options.environment, SWARM_HOME: home };
    const [file, argv] = toCommand([process.execPath, MAIN, ...args], options.maxFileKib);
    this.#child = spawn(file, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#stdout += text));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.#child.on('close', (code, signal) => {
      this.#exit = { code, signal };
      alive.delete(this);
    });
    alive.add(this);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Waits until the process has printed something that matches. */
  async printed(pattern: RegExp, deadlineMs = 60_000): Promise<RegExpExecArray> {
    return until(
      `"swarm ${this.args.join(' ')}" to print ${pattern}`,
      () => {
        const match = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr);
        if (!match && this.#exit)
          throw new Error(
            `"swarm ${this.args.join(' ')}" ended with ${this.#exit.code}:\n${this.#stdout}${this.#stderr}`,
          );
        return match ?? undefined;
      },
      deadlineMs,
    );
  }

  /** Waits for the end; the exit code, or the signal's name. */
  async ended(deadlineMs = 120_000): Promise<number | string> {
    const exit = await until(`"swarm ${this.args.join(' ')}" to end`, () => this.#exit, deadlineMs);
    return exit.code ?? exit.signal ?? 'unknown';
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** kill -9, and waits until it is gone. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#exit) await this.kill();
  }
}

function toCommand(argv: readonly string[], maxFileKib: number | undefined): [string, string[]] {
  const [file = '', ...args] = argv;
  if (maxFileKib === undefined) return [file, args];
  // bash counts blocks of 1 KiB. Node ignores SIGXFSZ, so that writing fails with EFBIG.
  return ['bash', ['-c', `ulimit -f ${maxFileKib}; exec "$0" "$@"`, ...argv]];
}

/** Runs `swarm …args` to its end. */
export async function swarm(
  home: string,
  ...args: readonly string[]
): Promise<{ code: number | string; stdout: string; stderr: string }> {
  const process = new SwarmProcess(home, args);
  const code = await process.ended();
  return { code, stdout: process.stdout, stderr: process.stderr };
}

/** Kills every process that a failed test left. */
export async function killAll(): Promise<void> {
  await Promise.all([...alive].map((process) => process.kill()));
}

/** A port that was free a moment ago. */
export async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
