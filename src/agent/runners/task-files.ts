// Owns a task's files on their way into a runner's folders and its part on the way out. The runner may have put anything
// in its out folder: what is taken out is a regular file or nothing.

import { copyFile, link, lstat, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunInputs } from './run-task.ts';

const ITEMS_FILE = 'items.jsonl';

/** What to tell the runner: where the inputs lie below its in folder. */
export type PlacedInputs = { readonly inFolder?: string; readonly itemsFile?: string };

/** Places the inputs in `inDir/folder`. Throws what the file system throws. */
export async function placeInputs(inputs: RunInputs, inDir: string, folder: string): Promise<PlacedInputs> {
  if (inputs.kind === 'count') return {};
  const target = join(inDir, folder);
  await mkdir(target, { recursive: true });
  if (inputs.kind === 'items') await linkOrCopy(inputs.file, join(target, ITEMS_FILE));
  else await placeParts(inputs.parts, target);
  return { inFolder: folder, itemsFile: ITEMS_FILE };
}

export async function removeInputs(inDir: string, { inFolder }: PlacedInputs): Promise<void> {
  if (inFolder !== undefined) await rm(join(inDir, inFolder), { recursive: true, force: true });
}

async function placeParts(parts: Extract<RunInputs, { kind: 'parts' }>['parts'], target: string): Promise<void> {
  const lines: string[] = [];
  for (const [index, { file, start, end }] of parts.entries()) {
    const name = `part-${index}`;
    await linkOrCopy(file, join(target, name));
    lines.push(`${JSON.stringify({ file: name, start, end })}\n`);
  }
  await writeFile(join(target, ITEMS_FILE), lines.join(''));
}

/** A link costs nothing and cannot be written through: the in folder is read only to the runner. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  const { isFile } = await lstat(from).then((stat) => ({ isFile: stat.isFile() }));
  if (!isFile) throw new Error(`${from} is not a regular file`);
  await link(from, to).catch(() => copyFile(from, to));
}

/**
 * Moves the part out of the runner's reach to `to`. False when it is not a regular file: a link would make the agent
 * publish a file of its own. Looked at after the move, so that it cannot be exchanged in between.
 */
export async function takePart(outDir: string, name: string, to: string): Promise<boolean> {
  await rename(join(outDir, name), to);
  if ((await lstat(to)).isFile()) return true;
  await rm(to, { recursive: true, force: true });
  return false;
}

/** Removes what a failed task may have left. */
export async function dropPart(outDir: string, name: string): Promise<void> {
  await rm(join(outDir, name), { recursive: true, force: true });
}
