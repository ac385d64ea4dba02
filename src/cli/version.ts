// Owns where this release lies and which one it is.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

/** The folder that holds package.json: of the checkout, or of the published package. */
export const APP_DIR = join(import.meta.dirname, '..', '..');

/** What the build of the dashboard leaves. */
export const DASHBOARD_DIR = join(APP_DIR, 'dashboard', 'dist');

/** The release's version. */
export async function readVersion(): Promise<string> {
  const text = await readFile(join(APP_DIR, 'package.json'), 'utf8');
  return z.looseObject({ version: z.string() }).parse(JSON.parse(text)).version;
}
