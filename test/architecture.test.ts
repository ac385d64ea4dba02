// Holds the repository to its architecture, and the scanner that does so to planted violations.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { describe, expect, test } from 'vitest';
import { LAYERS } from './architecture/rules.ts';
import { readSource } from './architecture/source-text.ts';
import { checkFiles, countLines, type Files } from './architecture/violations.ts';

const ROOT = dirname(import.meta.dirname);
const FOLDERS = ['src', 'test', 'bench', 'examples', 'scripts', 'dashboard'];
const SKIPPED = /(?:^|\/)(?:node_modules|dist|data)\//;
const SHOWN = 5;
/** Apart from what follows it, so that the planted directive is not one of this file. */
const AT = '@';

function readRepository(): Files {
  const entries = FOLDERS.flatMap((folder) => listFolder(join(ROOT, folder)));
  const paths = entries.map((path) => relative(ROOT, path).split(sep).join('/'));
  const sources = paths.filter((path) => /\.(?:ts|tsx|mjs)$/.test(path) && !SKIPPED.test(path));
  return new Map(sources.sort().map((path) => [path, readFileSync(join(ROOT, path), 'utf8')]));
}

function listFolder(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  } catch {
    return [];
  }
}

function printSizes(files: Files): void {
  const sources = [...files].filter(([path]) => path.startsWith('src/') && !path.endsWith('.test.ts'));
  const sizes = sources.map(([path, text]) => ({ path, lines: countLines(text) })).sort((a, b) => b.lines - a.lines);
  const total = sizes.reduce((sum, { lines }) => sum + lines, 0);
  const median = sizes[Math.floor(sizes.length / 2)]?.lines ?? 0;
  const longest = sizes.slice(0, SHOWN).map(({ path, lines }) => `  ${String(lines).padStart(4)}  ${path}`);
  console.log([`src: ${sizes.length} files, ${total} lines, median ${median}; longest:`, ...longest].join('\n'));
}

describe('the repository', () => {
  const files = readRepository();

  test('keeps the rules of its architecture', () => {
    printSizes(files);
    expect(files.size).toBeGreaterThan(50);
    expect(checkFiles(files)).toEqual([]);
  });

  test('every layer has a reason, and imports only layers above its own row or named files', () => {
    for (const [i, { layer, mayImport, why }] of LAYERS.entries()) {
      expect(why.length, layer).toBeGreaterThan(20);
      const below = new Set(LAYERS.slice(0, i).map((row) => row.layer));
      expect(
        mayImport.map((place) => place.split('/')[0]).filter((place) => !below.has(place ?? '')),
        layer,
      ).toEqual([]);
    }
  });
});

/** Judges one planted file, with a comment in front, beside a clean one. */
function check(path: string, text: string): string[] {
  return checkFiles(
    new Map([
      ['src/lib/clean.ts', '// Clean.\nexport const clean = 1;\n'],
      [path, text.startsWith('//') ? text : `// Opens.\n${text}\n`],
    ]),
  );
}

describe('the scanner finds', () => {
  test.each([
    ['an upward import', 'src/core/a.ts', "import { x } from '../store/memory.ts';", 'core must not import src/store/'],
    ['an upward type', 'src/protocol/a.ts', "import type { X } from '../core/x.ts';", 'protocol must not import'],
    ['a re-export', 'src/lib/a.ts', "export { x } from '../protocol/x.ts';", 'lib must not import'],
    ['a side effect', 'src/lib/a.ts', "import '../protocol/x.ts';", 'lib must not import'],
    [
      'a dynamic import',
      'src/agent/a.ts',
      "const m = await import('../coordinator/main.ts');",
      'agent must not import',
    ],
    [
      'a file to start',
      'src/agent/a.ts',
      "new URL('../coordinator/main.ts', import.meta.url)",
      'agent must not import',
    ],
    ['many lines', 'src/client/a.ts', "import {\n  a,\n  type B,\n} from\n  '../core/x.ts';", 'client must not import'],
    ['node in protocol', 'src/protocol/a.ts', "import { hash } from 'node:crypto';", 'must not import node:crypto'],
    ['a package', 'src/core/a.ts', "import { z } from 'zod';", 'must not import the package zod'],
    ['a shell in sim', 'src/sim/a.ts', "import { x } from '../agent/x.ts';", 'sim must not import'],
    ['a real store in sim', 'src/sim/a.ts', "import { x } from '../store/sqlite.ts';", 'sim must not import'],
    ['an unknown layer', 'src/magic/a.ts', 'export const x = 1;', 'has no row'],
    ['a shortcut of an example', 'examples/a.ts', "import { x } from '../src/core/x.ts';", 'examples must not import'],
    ['the clock', 'src/core/a.ts', 'export const now = () => Date.now();', '"Date" is banned'],
    ['randomness', 'src/core/a.ts', 'export const r = Math.random();', '"Math.random" is banned'],
    ['a timer', 'src/core/a.ts', 'setTimeout(f, 1);', '"setTimeout" is banned'],
    ['async', 'src/core/a.ts', 'export async function f() {}', '"async" is banned'],
    ['a clock in a template', 'src/core/a.ts', 'export const s = `at ${`${Date.now()}`}`;', '"Date" is banned'],
    ['a default export', 'src/cli/a.ts', 'export default 1;', '"export default" is banned'],
    ['an enum', 'src/cli/a.ts', 'export enum Colour { Red }', 'enum" is banned'],
    ['Buffer in the client', 'src/client/a.ts', 'export const b = Buffer.from([]);', '"Buffer" is banned'],
    ['a barrel by name', 'src/cli/index.ts', 'export const x = 1;', '"index" says nothing'],
    ['a barrel by content', 'src/cli/all.ts', "export * from './x.ts';", 'is banned'],
    ['a name without a noun', 'src/cli/helpers.ts', 'export const x = 1;', '"helpers" says nothing'],
    ['a name in camel case', 'src/cli/runJob.ts', 'export const x = 1;', 'kebab-case'],
    ['a missing opening', 'src/cli/a.ts', '\nexport const x = 1; // Late.', 'must open with a comment'],
    ['a check switched off', 'test/integration/a.test.ts', `// ${AT}ts-ignore\nf();`, 'switches a check off'],
    ['a test in production', 'src/cli/a.ts', "import { x } from './b.test.ts';", 'imports the test'],
    ['a long file', 'src/cli/a.ts', '\n'.repeat(401), 'split it'],
  ])('%s', (_name, path, text, expected) => {
    const text2 = path === 'src/cli/a.ts' && expected.startsWith('must open') ? text : `// Opens.\n${text}\n`;
    const found = checkFiles(new Map([[path, text2]]));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(expected);
  });

  test('a cycle of files that load each other, and no cycle where one only needs a type', () => {
    const files: Files = new Map([
      ['src/core/a.ts', "// A.\nimport { b } from './b.ts';"],
      ['src/core/b.ts', "// B.\nimport { c } from './c.ts';"],
      ['src/core/c.ts', "// C.\nimport { a } from './a.ts';"],
    ]);
    expect(checkFiles(files)).toEqual(['cycle: src/core/a.ts → src/core/b.ts → src/core/c.ts → src/core/a.ts']);
    expect(checkFiles(new Map([...files, ['src/core/a.ts', "// A.\nimport type { B } from './b.ts';"]]))).toEqual([]);
  });

  test('a native module within reach of the coordinator', () => {
    const files: Files = new Map([
      ['src/coordinator/main.ts', "// Main.\nimport { a } from './a.ts';"],
      ['src/coordinator/a.ts', "// A.\nimport * as ort from 'onnxruntime-node';"],
    ]);
    expect(checkFiles(files)).toEqual([
      expect.stringContaining('src/coordinator/main.ts → src/coordinator/a.ts → onnxruntime-node: out of reach'),
    ]);
  });
});

describe('the scanner leaves alone', () => {
  test.each([
    ['words in comments', '// Date, async.\n/* Math.random() */\nexport const x = 1; // setTimeout'],
    ['words in strings', 'export const x = "Date" + \'async\' + `await ${1} console`;'],
    ['words in patterns', 'export const x = /[/"]Date/.test(text) ? 4 / 2 : 1 / 3;'],
    ['an import in a comment', "// import { x } from '../store/memory.ts';\nexport const x = 1;"],
    ['longer words', 'export const updatedDateless = 1, processed = 2, asyncish = 3;'],
    ['what a layer may import', "import { clean } from '../lib/clean.ts';\nimport type { X } from '../protocol/x.ts';"],
  ])('%s', (_name, text) => {
    expect(check('src/core/a.ts', text)).toEqual([]);
  });

  test('line numbers and code after strings, patterns and templates', () => {
    const { code } = readSource('const a = "x";\nconst b = /[`"]/;\nconst c = `y ${d({ e: 1 })} z`; // f\ng();');
    expect(code).toBe('const a = " ";\nconst b = /    /;\nconst c = `  ${d({ e: 1 })}  `;     \ng();');
  });
});
