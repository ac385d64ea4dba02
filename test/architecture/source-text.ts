// Owns reading a source file as text: which modules it names, and its code with comments and strings blanked out.
// There is no TypeScript API to ask, so this is a small scanner; it knows no rule and no folder.

export type SourceText = {
  /** Module names in import and export statements, `import()` and `new URL('./x.ts', import.meta.url)`. */
  readonly imports: readonly ImportedModule[];
  /** The code; comments and the contents of strings are blanks, line breaks are kept. */
  readonly code: string;
};

export type ImportedModule = {
  readonly name: string;
  /** `type` is erased before the program runs; `url` names a file to be started or read, not loaded. */
  readonly kind: 'static' | 'type' | 'dynamic' | 'url';
};

type Mode = { readonly kind: 'code' | 'template'; depth: number };

const IMPORTS: readonly (readonly [ImportedModule['kind'], RegExp])[] = [
  ['static', /(?<![\w$.])(?:import|export)\b(?!\s+type\b)[\w\s{},*$]*?\bfrom\s*(['"])(?<name>[^'"\n]+)\1/g],
  ['type', /(?<![\w$.])(?:import|export)\s+type\b[\w\s{},*$]*?\bfrom\s*(['"])(?<name>[^'"\n]+)\1/g],
  ['static', /(?<![\w$.])import\s*(['"])(?<name>[^'"\n]+)\1/g],
  ['dynamic', /(?<![\w$.])import\s*\(\s*(['"`])(?<name>[^'"`\n]+)\1/g],
  ['url', /\bnew\s+URL\(\s*(['"`])(?<name>\.[^'"`\n]+)\1\s*,\s*import\.meta\.url/g],
];

/** Where a slash begins a pattern, not a division: after these characters or words, or at the start. */
const BEFORE_PATTERN = /(?:^|[([{,;=:?!&|+\-*%~^<>]|\b(?:return|typeof|case|in|of|yield|await|else|do))$/;

/** Scans one file's text. Never fails: what it cannot read is taken as code. */
export function readSource(text: string): SourceText {
  const { code, strings } = blank(text);
  const imports = IMPORTS.flatMap(([kind, pattern]) =>
    [...strings.matchAll(pattern)].map((match) => ({ name: match.groups?.['name'] ?? '', kind })),
  );
  return { imports, code };
}

/** Two copies of `text`: one without comments and string contents, one without comments only. */
function blank(text: string): { code: string; strings: string } {
  const out = { code: '', strings: '' };
  const modes: Mode[] = [{ kind: 'code', depth: 0 }];
  let at = 0;
  const take = (length: number, keep: 'all' | 'strings' | 'none'): void => {
    const piece = text.slice(at, at + length);
    out.code += keep === 'all' ? piece : toBlanks(piece);
    out.strings += keep === 'none' ? toBlanks(piece) : piece;
    at += length;
  };
  while (at < text.length) {
    const mode = modes[modes.length - 1] as Mode;
    const length = mode.kind === 'template' ? templateLength(text, at) : 0;
    if (length > 0) take(length, 'strings');
    else if (mode.kind === 'template') takeTemplateMark(text, at, modes, take);
    else takeCode(text, at, mode, modes, take, out.code);
  }
  return out;
}

type Take = (length: number, keep: 'all' | 'strings' | 'none') => void;

function takeCode(text: string, at: number, mode: Mode, modes: Mode[], take: Take, before: string): void {
  const [char, next] = [text[at] ?? '', text[at + 1] ?? ''];
  if (char === '/' && next === '/') return take(lengthUntil(text, at, '\n', 0), 'none');
  if (char === '/' && next === '*') return take(lengthUntil(text, at + 2, '*/', 2) + 2, 'none');
  if (char === "'" || char === '"') return takeQuoted(stringLength(text, at, char), take);
  if (char === '/' && BEFORE_PATTERN.test(before.slice(-20).trimEnd()))
    return takeQuoted(patternLength(text, at), take);
  if (char === '`') modes.push({ kind: 'template', depth: 0 });
  if (char === '{') mode.depth += 1;
  if (char === '}' && mode.depth === 0 && modes.length > 1) modes.pop();
  else if (char === '}') mode.depth -= 1;
  take(1, 'all');
}

function takeTemplateMark(text: string, at: number, modes: Mode[], take: Take): void {
  if (text[at] === '`') {
    modes.pop();
    return take(1, 'all');
  }
  modes.push({ kind: 'code', depth: 0 });
  take(2, 'all');
}

/** Quotes stay, what stands between them does not. */
function takeQuoted(length: number, take: Take): void {
  take(1, 'all');
  take(Math.max(0, length - 2), 'strings');
  if (length > 1) take(1, 'all');
}

/** Length of template text up to its end or the next `${`. */
function templateLength(text: string, from: number): number {
  let at = from;
  while (at < text.length && text[at] !== '`' && !text.startsWith('${', at)) at += text[at] === '\\' ? 2 : 1;
  return Math.min(at, text.length) - from;
}

function stringLength(text: string, from: number, quote: string): number {
  let at = from + 1;
  while (at < text.length && text[at] !== quote && text[at] !== '\n') at += text[at] === '\\' ? 2 : 1;
  return Math.min(at + 1, text.length) - from;
}

function patternLength(text: string, from: number): number {
  let isInClass = false;
  for (let at = from + 1; at < text.length && text[at] !== '\n'; at += text[at] === '\\' ? 2 : 1) {
    if (text[at] === '[') isInClass = true;
    if (text[at] === ']') isInClass = false;
    if (text[at] === '/' && !isInClass) return at + 1 - from;
  }
  return 1;
}

function lengthUntil(text: string, from: number, end: string, extra: number): number {
  const found = text.indexOf(end, from);
  return (found < 0 ? text.length : found + extra) - from;
}

function toBlanks(piece: string): string {
  return piece.replace(/[^\n]/g, ' ');
}
