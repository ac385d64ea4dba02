import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  createLineSplitter,
  decodeFromRunner,
  decodeToRunner,
  encodeRunnerLine,
  MAX_FROM_RUNNER_LINE_BYTES,
  type FromRunner,
  type ToRunner,
} from './runner.ts';

const toRunner: ToRunner[] = [
  {
    type: 'init',
    workload: 'noop',
    step: 'map',
    params: { a: [1, { b: null }] },
    device: { id: 'cpu', kind: 'cpu' },
    threads: 2,
    inDir: '/in',
    outDir: '/out',
  },
  { type: 'run', id: 1, range: { start: 0, end: 5 }, itemsFile: '1/items.jsonl', outFile: '1.part' },
  { type: 'shrink', id: 1, until: 3 },
  { type: 'checkpoint', id: 1 },
  { type: 'cancel', id: 1 },
  { type: 'stop' },
];

const fromRunner: FromRunner[] = [
  { type: 'ready', info: { provider: 'cpu' } },
  { type: 'progress', id: 1, cursor: 3 },
  { type: 'result', id: 1, outFile: '1.part', inline: '{"n":1}', items: 5, durationMs: 1.5, metrics: { batches: 2 } },
  { type: 'metric', id: 1, name: 'loss', value: 0.5 },
  { type: 'log', level: 'warn', text: 'ü' },
  { type: 'failed', id: 1, reason: 'no', kind: 'item', item: 3 },
];

test('every message survives its line', () => {
  for (const message of toRunner)
    expect(decodeToRunner(encodeRunnerLine(message))).toEqual({ ok: true, value: message });
  for (const message of fromRunner)
    expect(decodeFromRunner(encodeRunnerLine(message))).toEqual({ ok: true, value: message });
});

test.each([
  ['not JSON', 'Segmentation fault'],
  ['an unknown type', '{"type":"gossip"}'],
  ['an unknown field', '{"type":"stop","now":true}'],
  ['no object', '[]'],
  ['an outFile outside', '{"type":"result","id":1,"outFile":"../x","items":1,"durationMs":1}'],
  ['an absolute outFile', '{"type":"result","id":1,"outFile":"/etc/passwd","items":1,"durationMs":1}'],
  [
    'a large inline',
    JSON.stringify({ type: 'result', id: 1, inline: '"ü"'.padEnd(250, 'ü'), items: 1, durationMs: 1 }),
  ],
  ['an inline that is no JSON', '{"type":"result","id":1,"inline":"{","items":1,"durationMs":1}'],
  ['a fractional cursor', '{"type":"progress","id":1,"cursor":0.5}'],
])('%s is a violation', (_name, line) => {
  expect(decodeFromRunner(line).ok).toBe(false);
});

test('lines come whole however the bytes are cut', () => {
  const text = 'eins\n\n{"zwei":"ü€😀"}\r\n  \ndrei\n';
  const bytes = new TextEncoder().encode(text);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 40 }), (sizes) => {
      const splitter = createLineSplitter(100);
      const lines: string[] = [];
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = sizes[i % sizes.length] ?? 1;
        const pushed = splitter.push(bytes.slice(at, at + size));
        if (pushed.ok) lines.push(...pushed.value);
        at += size;
      }
      expect(lines).toEqual(['eins', '{"zwei":"ü€😀"}\r', 'drei']);
    }),
  );
});

test('a chunk that the caller reuses does not change a line that is pending', () => {
  const splitter = createLineSplitter(100);
  const chunk = new TextEncoder().encode('half');
  splitter.push(chunk);
  chunk.fill(0);
  expect(splitter.push(new TextEncoder().encode(' line\n'))).toEqual({ ok: true, value: ['half line'] });
});

test('a line over the limit ends the splitter, before its newline comes', () => {
  const splitter = createLineSplitter(MAX_FROM_RUNNER_LINE_BYTES);
  const chunk = new Uint8Array(MAX_FROM_RUNNER_LINE_BYTES).fill(65);
  expect(splitter.push(chunk).ok).toBe(true);
  expect(splitter.push(new Uint8Array([65])).ok).toBe(false);
  expect(splitter.push(new TextEncoder().encode('\n{"type":"stop"}\n')).ok).toBe(false);
});

test('bytes that are not UTF-8 are a violation', () => {
  expect(createLineSplitter(100).push(new Uint8Array([0xff, 0xfe, 10])).ok).toBe(false);
});
