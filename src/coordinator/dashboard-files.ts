// Owns the dashboard's files as they are served: read once at the start, found by their exact name, sent with a content
// policy under which the page can run nothing but its own script and reach nothing but this coordinator.

import type { Dirent } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join, relative, sep } from 'node:path';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const POLICY = [
  ...["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:"],
  ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
].join('; ');

const NOT_BUILT =
  '<!doctype html><title>Backyard Swarm</title><p>The dashboard has not been built: run <code>npm run build</code> in the checkout, and start the coordinator again.';

export type DashboardFiles = { answer(path: string): Response | undefined };

/** Reads what the build left in `dir`; a page that says what to do where there is nothing. */
export async function readDashboardFiles(dir: string | undefined): Promise<DashboardFiles> {
  const files = new Map<string, { readonly bytes: Uint8Array<ArrayBuffer>; readonly type: string }>();
  for (const entry of dir === undefined ? [] : await listAll(dir)) {
    const type = TYPES[extname(entry.name)];
    if (!entry.isFile() || type === undefined) continue;
    const path = join(entry.parentPath, entry.name);
    const url = `/${relative(dir ?? '', path).replaceAll(sep, '/')}`;
    files.set(url, { bytes: new Uint8Array(await readFile(path)), type });
  }
  return {
    answer(path) {
      const file = files.get(path === '/' ? '/index.html' : path);
      if (file) return new Response(file.bytes, { headers: toHeaders(file.type, path.startsWith('/assets/')) });
      if (path !== '/') return undefined;
      return new Response(NOT_BUILT, { status: 503, headers: toHeaders(TYPES['.html'] ?? '', false) });
    },
  };
}

/** Nothing, where nothing was built. */
function listAll(dir: string): Promise<Dirent[]> {
  return readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
}

/** What has its hash in its name never changes. */
function toHeaders(type: string, isHashed: boolean): Record<string, string> {
  return {
    'content-type': type,
    'content-security-policy': POLICY,
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cache-control': isHashed ? 'public, max-age=31536000, immutable' : 'no-store',
  };
}
