// Owns one runner process: its pipes, its messages, its exit, and ending it for certain. It leads a process group of its
// own, so that whatever it started ends with it. Knows the contract's lines and not what they mean.
//
//   running ──stop()──▶ asked (stdin closed) ──▶ SIGTERM to the group ──▶ SIGKILL to the group ──▶ exited

import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createLineSplitter,
  decodeFromRunner,
  encodeRunnerLine,
  MAX_FROM_RUNNER_LINE_BYTES,
  type FromRunner,
  type ToRunner,
} from '../../protocol/runner.ts';
import type { Command } from './sandbox.ts';

/** What is kept of what a runner printed: enough for a stack trace. */
const MAX_TAIL_BYTES = 8 * 1_024;
/** How long each step of ending a runner may take before the next, harder one. */
const STOP_GRACE_MS = 1_500;
const TERM_GRACE_MS = 1_000;
/** How long after its exit what it wrote may still be on the way. */
const DRAIN_MS = 500;

export type RunnerExit = { readonly exitCode: number | null; readonly signal: string | null };

export type RunnerListener = {
  readonly onMessage: (message: FromRunner) => void;
  readonly onViolation: (reason: string) => void;
};

export class RunnerProcess {
  /** Resolves once the process is gone and all it wrote has been seen. Never rejects. */
  readonly exited: Promise<RunnerExit>;
  /** Who hears what it says now; messages for nobody are dropped. */
  listener: RunnerListener | undefined;
  readonly #child: ChildProcess;
  #tail = Buffer.alloc(0);
  #exit: RunnerExit | undefined;
  #spawnError: string | undefined;

  constructor({ file, args }: Command, environment: NodeJS.ProcessEnv) {
    this.#child = spawn(file, args, {
      env: environment,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
      detached: true,
      cwd: '/',
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#keepTail(chunk));
    this.#child.stderr?.on('data', (chunk: Buffer) => this.#keepTail(chunk));
    // A runner that died while it was written to tells so by its exit.
    this.#child.stdin?.on('error', () => {});
    this.#listen();
    this.exited = this.#awaitExit();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get isAlive(): boolean {
    return this.#exit === undefined;
  }

  /** The last 8 KiB of what it printed on either stream. */
  get stderrTail(): string {
    return this.#spawnError ?? this.#tail.toString('utf8').trim();
  }

  send(message: ToRunner): void {
    if (this.#child.stdin?.writable) this.#child.stdin.write(encodeRunnerLine(message));
  }

  /** Ends it: politely when `graceful`, at once otherwise. Resolves when it is gone. */
  async stop(graceful: boolean): Promise<void> {
    if (graceful) {
      this.send({ type: 'stop' });
      this.#child.stdin?.end();
      if (await this.#goneWithin(STOP_GRACE_MS)) return;
      this.#signalGroup('SIGTERM');
      if (await this.#goneWithin(TERM_GRACE_MS)) return;
    }
    this.#signalGroup('SIGKILL');
    await this.exited;
  }

  async #goneWithin(graceMs: number): Promise<boolean> {
    const timer = new AbortController();
    await Promise.race([this.exited, sleep(graceMs, undefined, { signal: timer.signal }).catch(() => {})]);
    timer.abort();
    return !this.isAlive;
  }

  #signalGroup(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (this.pid === undefined) return;
    try {
      process.kill(-this.pid, signal);
    } catch {
      // The group is gone already.
    }
  }

  #listen(): void {
    const splitter = createLineSplitter(MAX_FROM_RUNNER_LINE_BYTES);
    let broken = false;
    const violate = (reason: string) => {
      broken = true;
      this.listener?.onViolation(reason);
    };
    this.#child.stdio[3]?.on('data', (chunk: Buffer) => {
      if (broken) return;
      const lines = splitter.push(chunk);
      if (!lines.ok) return violate(lines.error);
      for (const line of lines.value) {
        const message = decodeFromRunner(line);
        if (!message.ok) return violate(message.error);
        this.listener?.onMessage(message.value);
      }
    });
    this.#child.stdio[3]?.on('error', () => {});
  }

  #awaitExit(): Promise<RunnerExit> {
    return new Promise((resolve) => {
      const finish = (exit: RunnerExit) => {
        this.#exit ??= exit;
        resolve(this.#exit);
      };
      this.#child.on('error', (error) => {
        this.#spawnError = `it could not be started: ${error.message}`;
        finish({ exitCode: null, signal: null });
      });
      this.#child.on('exit', (exitCode, signal) => {
        // Whatever it left in its group ends with it.
        this.#signalGroup('SIGKILL');
        const exit = toExit(exitCode, signal);
        this.#child.on('close', () => finish(exit));
        setTimeout(() => finish(exit), DRAIN_MS).unref();
      });
    });
  }

  #keepTail(chunk: Buffer): void {
    this.#tail = Buffer.concat([this.#tail, chunk]).subarray(-MAX_TAIL_BYTES);
  }
}

const SIGNAL_NAMES: { readonly [number: number]: string } = {
  4: 'SIGILL',
  6: 'SIGABRT',
  9: 'SIGKILL',
  11: 'SIGSEGV',
  15: 'SIGTERM',
};

/** Bubblewrap tells a signal as 128 + its number. */
function toExit(exitCode: number | null, signal: NodeJS.Signals | null): RunnerExit {
  if (exitCode === null || exitCode <= 128) return { exitCode, signal };
  return { exitCode: null, signal: SIGNAL_NAMES[exitCode - 128] ?? `signal ${exitCode - 128}` };
}
