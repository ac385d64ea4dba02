// Owns judging a set of files against the rules. Takes paths and texts, so that it can be tried on planted files;
// reads no disk.

import { posix } from 'node:path';
import {
  BANNED_DIRECTIVES,
  BANS,
  FILE_NAME,
  FORBIDDEN_STEMS,
  LAYERS,
  MAX_LINES,
  MAX_TEST_LINES,
  OUTSIDERS,
  OUT_OF_REACH,
  type LayerRule,
} from './rules.ts';
import { readSource, type ImportedModule, type SourceText } from './source-text.ts';

/** Text by path from the repository's root, with forward slashes. */
export type Files = ReadonlyMap<string, string>;

type Parsed = ReadonlyMap<string, SourceText>;

/** All violations as readable lines, sorted; empty when the files keep every rule. */
export function checkFiles(files: Files): string[] {
  const parsed = new Map([...files].map(([path, text]) => [path, readSource(text)]));
  const found = [...files].flatMap(([path, text]) => checkFile(path, text, parsed));
  return [...found, ...checkCycles(parsed), ...checkReach(parsed)].sort();
}

function checkFile(path: string, text: string, parsed: Parsed): string[] {
  const source = parsed.get(path) as SourceText;
  const found = [...checkName(path), ...checkLength(path, text)];
  if (BANNED_DIRECTIVES.test(text) && !path.startsWith('test/architecture'))
    found.push(`${path}: switches a check off; put the code right or the rule`);
  const outsider = OUTSIDERS.find(({ folder }) => path.startsWith(`${folder}/`));
  if (outsider) found.push(...checkOutsider(path, source, outsider));
  if (!path.startsWith('src/') || path.endsWith('.test.ts')) return found;
  return [...found, ...checkOpening(path, text), ...checkLayer(path, source), ...checkBans(path, source)];
}

function checkName(path: string): string[] {
  const name = posix.basename(path);
  if (!FILE_NAME.test(name)) return [`${path}: file names are kebab-case`];
  const stem = name.split('.')[0] ?? '';
  return FORBIDDEN_STEMS.has(stem) ? [`${path}: "${stem}" says nothing; name the noun that the file owns`] : [];
}

function checkLength(path: string, text: string): string[] {
  const lines = countLines(text);
  const limit = path.endsWith('.test.ts') ? MAX_TEST_LINES : MAX_LINES;
  return lines > limit ? [`${path}: ${lines} lines; split it (at most ${limit})`] : [];
}

export function countLines(text: string): number {
  return text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
}

function checkOpening(path: string, text: string): string[] {
  const first = text.replace(/^#!.*\n/, '').trimStart();
  return first.startsWith('//') || first.startsWith('/*')
    ? []
    : [`${path}: must open with a comment: what it owns, what it does not know`];
}

function checkLayer(path: string, source: SourceText): string[] {
  const layer = layerOf(path);
  const rule = LAYERS.find((row) => row.layer === layer);
  if (!rule) return [`${path}: the folder src/${layer} has no row in test/architecture/rules.ts`];
  return source.imports.flatMap((imported) => {
    const problem = problemOf(path, imported, rule);
    return problem === undefined ? [] : [`${path}: ${problem} (${rule.why})`];
  });
}

function problemOf(path: string, { name }: ImportedModule, rule: LayerRule): string | undefined {
  if (name.startsWith('node:')) return rule.mayUseNode ? undefined : `${rule.layer} must not import ${name}`;
  if (!name.startsWith('.')) return problemOfPackage(name, rule);
  const target = resolve(path, name);
  if (target.endsWith('.test.ts')) return `imports the test ${target}`;
  if (target === 'package.json') return undefined;
  if (!target.startsWith('src/')) return `imports ${target}, which lies outside src`;
  return mayImport(target, [rule.layer, ...rule.mayImport]) ? undefined : `${rule.layer} must not import ${target}`;
}

function problemOfPackage(name: string, rule: LayerRule): string | undefined {
  if (rule.packages === 'any') return undefined;
  return rule.packages.includes(packageOf(name)) ? undefined : `${rule.layer} must not import the package ${name}`;
}

function checkOutsider(path: string, source: SourceText, rule: (typeof OUTSIDERS)[number]): string[] {
  return source.imports
    .filter(({ name }) => name.startsWith('.'))
    .map(({ name }) => resolve(path, name))
    .filter((target) => target.startsWith('src/') && !mayImport(target, rule.mayImport))
    .map((target) => `${path}: ${rule.folder} must not import ${target} (${rule.why})`);
}

function checkBans(path: string, source: SourceText): string[] {
  const inSrc = path.slice('src/'.length);
  return BANS.filter(
    ({ where, except }) => where.some((place) => isWithin(inSrc, place)) && except?.includes(inSrc) !== true,
  ).flatMap(({ pattern, why }) => {
    const match = pattern.exec(source.code);
    if (!match) return [];
    const line = source.code.slice(0, match.index + match[0].length).split('\n').length;
    return [`${path}:${line}: "${match[0].trim()}" is banned here (${why})`];
  });
}

/** Each cycle once, named from its first file in order. Type imports are erased, so they load nothing in a circle. */
function checkCycles(parsed: Parsed): string[] {
  const done = new Set<string>();
  const found = new Map<string, string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const from = trail.indexOf(path);
    if (from >= 0) {
      const cycle = trail.slice(from);
      const first = cycle.indexOf([...cycle].sort()[0] ?? '');
      const turned = [...cycle.slice(first), ...cycle.slice(0, first)];
      found.set(turned.join(), `cycle: ${[...turned, turned[0]].join(' → ')}`);
      return;
    }
    if (done.has(path)) return;
    for (const next of filesImportedBy(path, parsed)) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of parsed.keys()) visit(path, []);
  return [...found.values()];
}

function checkReach(parsed: Parsed): string[] {
  return OUT_OF_REACH.flatMap(({ entry, packages, why }) => {
    const found: string[] = [];
    const trails = new Map([[`src/${entry}`, [`src/${entry}`]]]);
    for (const [path, trail] of trails) {
      for (const { name, kind } of parsed.get(path)?.imports ?? [])
        if (kind !== 'type' && packages.includes(packageOf(name)))
          found.push(`${trail.join(' → ')} → ${name}: out of reach (${why})`);
      for (const next of filesImportedBy(path, parsed)) if (!trails.has(next)) trails.set(next, [...trail, next]);
    }
    return found;
  });
}

function filesImportedBy(path: string, parsed: Parsed): string[] {
  return (parsed.get(path)?.imports ?? [])
    .filter(({ name, kind }) => name.startsWith('.') && (kind === 'static' || kind === 'dynamic'))
    .map(({ name }) => resolve(path, name))
    .filter((target) => parsed.has(target));
}

function resolve(path: string, name: string): string {
  return posix.join(posix.dirname(path), name);
}

function layerOf(path: string): string {
  return path.split('/')[1] ?? '';
}

function mayImport(target: string, places: readonly string[]): boolean {
  return places.some((place) => isWithin(target.slice('src/'.length), place));
}

/** True when `path` is `place`, lies in it, or `place` is '' (everywhere). */
function isWithin(path: string, place: string): boolean {
  return place === '' || path === place || path.startsWith(`${place}/`);
}

function packageOf(name: string): string {
  return name.split('/', name.startsWith('@') ? 2 : 1).join('/');
}
