// Owns finding the input files: a folder's supported files in bytewise order of their paths, never outside the folder.
// Reads no file's content.

import type { Dirent } from 'node:fs';
import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { basename, extname, join, relative, isAbsolute, sep } from 'node:path';
import { badInput, toReadFailure, type InputFile, type InputKind } from './list-item.ts';

const KINDS: Readonly<Record<string, InputKind>> = {
  '.txt': 'text',
  '.text': 'text',
  '.md': 'markdown',
  '.markdown': 'markdown',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.csv': 'csv',
  '.parquet': 'parquet',
};

export const SUPPORTED = '.txt, .md, .jsonl, .csv or .parquet';

const MAX_DEPTH = 64;

/** What a search passed over. */
export type SkippedFiles = { unsupported: number; hidden: number; links: number };

/**
 * Yields the files to list. A folder is searched through; hidden files and links that leave it (or lead to folders) are
 * passed over and counted in `skipped`. Throws `bad-input` when the path is missing or there is nothing to list.
 */
export async function* findFiles(input: string, skipped: SkippedFiles): AsyncGenerator<InputFile> {
  const info = await stat(input).catch((cause: unknown) => {
    throw toReadFailure(input, cause);
  });
  if (info.isFile()) {
    yield toInputFile(input);
    return;
  }
  if (!info.isDirectory()) throw badInput(`${input} is neither a file nor a folder; name one of these`);
  let found = 0;
  for await (const file of walk({ root: await realpath(input), input, skipped }, '', 0)) {
    found++;
    yield file;
  }
  if (found === 0) throw nothingFound(input, skipped);
}

function toInputFile(input: string): InputFile {
  const kind = kindOf(input);
  if (!kind) throw badInput(`${input} has no ending that is known; name a ${SUPPORTED} file or a folder of them`);
  return { path: input, source: basename(input), kind };
}

function nothingFound(input: string, { unsupported, hidden, links }: SkippedFiles): Error {
  const passed = `${unsupported} of other kinds, ${hidden} hidden and ${links} links were passed over`;
  return badInput(`${input} holds no ${SUPPORTED} file (${passed}); name a folder that does`);
}

type Search = { readonly root: string; readonly input: string; readonly skipped: SkippedFiles };

async function* walk(search: Search, folder: string, depth: number): AsyncGenerator<InputFile> {
  if (depth > MAX_DEPTH)
    throw badInput(`${join(search.input, folder)} is more than ${MAX_DEPTH} folders deep; move it up`);
  for (const entry of await readFolder(join(search.input, folder))) {
    const source = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.name.startsWith('.')) search.skipped.hidden++;
    else if (entry.isDirectory()) yield* walk(search, source, depth + 1);
    else if (await isFileWithin(search, entry, source)) {
      const kind = kindOf(source);
      if (kind) yield { path: join(search.input, source), source, kind };
      else search.skipped.unsupported++;
    }
  }
}

/** A folder's name is compared with a slash behind it, so that whole paths come out in bytewise order. */
async function readFolder(path: string): Promise<Dirent[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((cause: unknown) => {
    throw toReadFailure(path, cause);
  });
  const keyed = entries.map((entry) => ({
    entry,
    key: Buffer.from(entry.isDirectory() ? `${entry.name}/` : entry.name),
  }));
  return keyed.toSorted((a, b) => Buffer.compare(a.key, b.key)).map(({ entry }) => entry);
}

async function isFileWithin({ root, skipped }: Search, entry: Dirent, source: string): Promise<boolean> {
  if (entry.isFile()) return true;
  if (entry.isSymbolicLink() && (await leadsToFileWithin(root, source))) return true;
  if (entry.isSymbolicLink()) skipped.links++;
  else skipped.unsupported++;
  return false;
}

async function leadsToFileWithin(root: string, source: string): Promise<boolean> {
  try {
    const target = await realpath(join(root, source));
    const way = relative(root, target);
    return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way) && (await lstat(target)).isFile();
  } catch {
    return false; // A link that leads nowhere.
  }
}

function kindOf(path: string): InputKind | undefined {
  return KINDS[extname(path).toLowerCase()];
}
