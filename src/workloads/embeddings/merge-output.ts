// Owns a file that is written beside its final place and appears there whole or not at all. Finds out before any work
// whether it can be written. Knows no format.

import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { ByteWriter } from 'hyparquet-writer';
import { SwarmError } from '../../protocol/errors.ts';
import { badInput, errnoOf } from './list-item.ts';

const FLUSH_BYTES = 1_024 * 1_024;

/**
 * reserved → committed | discarded. A reserved output holds `.<name>.<pid>.partial` beside the final path; writing goes
 * there, `commit` makes it durable and renames it. Disposing of a reserved output discards it.
 */
export class OutputFile extends ByteWriter implements AsyncDisposable {
  readonly path: string;
  readonly #partial: string;
  #fd: number | undefined;

  private constructor(path: string, partial: string, fd: number) {
    super(2 * FLUSH_BYTES);
    this.path = path;
    this.#partial = partial;
    this.#fd = fd;
  }

  /** Throws `bad-input` when the path is a folder, in use, or not writable. Creates no folders. */
  static async reserve(path: string): Promise<OutputFile> {
    await checkTarget(path);
    await clearPartials(path);
    const partial = partialPath(path, process.pid);
    try {
      return new OutputFile(path, partial, openSync(partial, 'wx', 0o666));
    } catch (cause) {
      throw errnoOf(cause) === 'EEXIST' ? inUse(path, process.pid) : toWriteFailure(path, cause);
    }
  }

  /** Called by every append: hands full buffers to the disk, so that memory stays small. */
  override ensure(sizeBytes: number): void {
    if (this.index >= FLUSH_BYTES) this.#flush();
    super.ensure(sizeBytes);
  }

  /** Makes the file appear at its path, durably; returns its size in bytes. Throws `disk-full` or `bad-input`. */
  async commit(): Promise<number> {
    this.#flush();
    const fd = this.#open();
    try {
      syncIfAllowed(() => fsyncSync(fd));
      closeSync(fd);
      this.#fd = undefined;
      renameSync(this.#partial, this.path);
    } catch (cause) {
      throw toWriteFailure(this.path, cause);
    }
    await syncFolder(dirname(resolve(this.path)));
    return this.offset;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
    rmSync(this.#partial, { force: true });
  }

  #flush(): void {
    const fd = this.#open();
    let bytes = this.getBytes();
    try {
      while (bytes.length > 0) bytes = bytes.subarray(writeSync(fd, bytes));
    } catch (cause) {
      throw toWriteFailure(this.path, cause);
    }
    this.index = 0;
  }

  #open(): number {
    if (this.#fd === undefined)
      throw new SwarmError('conflict', `${this.path} is already written; start another output`);
    return this.#fd;
  }
}

async function checkTarget(path: string): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (info?.isDirectory())
    throw badInput(`${path} is a folder; name the file to write, for example ${join(path, 'vectors.parquet')}`);
  if (info && !info.isFile()) throw badInput(`${path} is no ordinary file; name another output`);
  const folder = dirname(resolve(path));
  const parent = await stat(folder).catch(() => undefined);
  if (!parent)
    throw badInput(`${path} cannot be written: the folder ${folder} does not exist; create it or name another`);
  if (!parent.isDirectory()) throw badInput(`${path} cannot be written: ${folder} is no folder; name another`);
}

function partialPath(path: string, pid: number): string {
  return join(dirname(resolve(path)), `.${basename(path)}.${pid}.partial`);
}

/** What a killed process left is removed; what a living one writes means that the path is in use. */
async function clearPartials(path: string): Promise<void> {
  const [prefix, suffix] = [`.${basename(path)}.`, '.partial'];
  const names = await readdir(dirname(resolve(path))).catch((cause: unknown) => {
    throw toWriteFailure(path, cause);
  });
  for (const name of names) {
    if (!name.startsWith(prefix) || !name.endsWith(suffix)) continue;
    const text = name.slice(prefix.length, -suffix.length);
    if (!/^\d{1,10}$/.test(text)) continue;
    if (isAlive(Number(text))) throw inUse(path, Number(text));
    rmSync(partialPath(path, Number(text)), { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return errnoOf(cause) === 'EPERM';
  }
}

function inUse(path: string, pid: number): SwarmError {
  return badInput(`${path} is in use: process ${pid} is writing it; wait for it or name another output`);
}

/** Translates a failed write. */
export function toWriteFailure(path: string, cause: unknown): SwarmError {
  if (cause instanceof SwarmError) return cause;
  const code = errnoOf(cause) ?? String(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    return new SwarmError(
      'disk-full',
      `${path} cannot be written: the disk is full (${code}); free space and try again`,
      { cause },
    );
  }
  const isDenied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
  return badInput(`${path} cannot be written: ${isDenied ? 'permission denied' : code}; name another output`, cause);
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync().catch(ignoreIfDenied);
  } finally {
    await handle.close();
  }
}

function syncIfAllowed(sync: () => void): void {
  try {
    sync();
  } catch (cause) {
    ignoreIfDenied(cause);
  }
}

/** Node's permission model has no fsync. A runner's file needs none: its agent verifies it and stores it durably. */
function ignoreIfDenied(cause: unknown): void {
  if (errnoOf(cause) !== 'ERR_ACCESS_DENIED') throw cause;
}
