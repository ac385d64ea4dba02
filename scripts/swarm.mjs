#!/usr/bin/env node
// Owns the `swarm` command: the same choice of Node as bootstrap.mjs, and a fast start. On a fit Node the program runs in
// this very process; otherwise bootstrap.mjs sets up what is missing and runs it.
// @ts-check

import { existsSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { isInstalled } from './bootstrap/dependencies.mjs';
import { isFitNode } from './bootstrap/node.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const SOURCE = join(ROOT, 'src', 'cli', 'main.ts');

if (!existsSync(SOURCE)) {
  // The published package holds no sources, and npm has installed its dependencies.
  await runHere(join(ROOT, 'dist', 'cli', 'main.js'));
} else if (isFitNode(process.versions.node) && isInstalled(ROOT)) {
  await runHere(SOURCE);
} else {
  process.argv.splice(2, 0, 'swarm');
  await import('./bootstrap.mjs');
}

/** @param {string} entry */
async function runHere(entry) {
  nodeModule.enableCompileCache?.(join(ROOT, '.cache', 'compile'));
  process.argv[1] = entry;
  await import(pathToFileURL(entry).href);
}
