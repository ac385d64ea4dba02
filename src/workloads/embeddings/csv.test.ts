import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CsvParser, toCsvLine, type CsvRecord } from './csv.ts';

function parse(text: string, size = text.length || 1): CsvRecord[] {
  const parser = new CsvParser('f.csv');
  const records: CsvRecord[] = [];
  for (let at = 0; at < text.length; at += size) records.push(...parser.push(text.slice(at, at + size)));
  return [...records, ...parser.end()];
}

const cells = (text: string): (readonly string[])[] => parse(text).map((record) => record.cells);

describe('CsvParser', () => {
  test.each<[string, string[][]]>([
    [
      'a,b\n1,2\n',
      [
        ['a', 'b'],
        ['1', '2'],
      ],
    ],
    [
      'a,b\r\n1,2',
      [
        ['a', 'b'],
        ['1', '2'],
      ],
    ],
    [
      'a,b\r1,2\r',
      [
        ['a', 'b'],
        ['1', '2'],
      ],
    ],
    [
      'a,b\n"x, ""y""\r\nz",\n',
      [
        ['a', 'b'],
        ['x, "y"\r\nz', ''],
      ],
    ],
    [
      'a,b\n,\n',
      [
        ['a', 'b'],
        ['', ''],
      ],
    ],
    ['a\n\n\nb\n', [['a'], ['b']]],
    ['a\n5" pipe\n', [['a'], ['5" pipe']]],
    ['', []],
  ])('%j', (text, expected) => {
    expect(cells(text)).toEqual(expected);
  });

  test('records know the line they begin on', () => {
    const lines = parse('a,b\r\n"x\r\ny",1\r\n\r\n"p\nq\rr",2\n3,4').map(({ line }) => line);
    expect(lines).toEqual([1, 2, 5, 8]);
  });

  test.each([
    ['a,b\n1\n', /f\.csv line 2 has 1 cells where the header has 2/],
    ['a,b\n1,2\n1,2,3\n', /line 3 has 3 cells/],
    ['a,b\n1,"never\nclosed\n', /line 2 has a quote that is never closed/],
    ['a,b\n"x"y,2\n', /line 2 has text behind a closing quote/],
    [`a\n"${'x'.repeat(1_100_000)}"\n`, /line 2 has a cell of more than 1048576 characters/],
    [','.repeat(2_000), /line 1 has more than 1000 columns/],
  ])('refuses %.20s', (text, message) => {
    expect(() => parse(text, 50_000)).toThrow(message);
  });

  test('what is written is read back, however it is read', () => {
    const cell = fc.string({ unit: fc.constantFrom('a', 'é', '"', ',', '\n', '\r', ' ', '😀'), maxLength: 12 });
    const table = fc
      .integer({ min: 1, max: 5 })
      .chain((width) =>
        fc.array(fc.array(cell, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 20 }),
      );
    fc.assert(
      fc.property(table, fc.integer({ min: 1, max: 30 }), (rows, size) => {
        expect(parse(rows.map(toCsvLine).join(''), size).map((record) => record.cells)).toEqual(rows);
      }),
    );
  });

  test('portions change nothing, lines included', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r'), maxLength: 40 });
    const outcome = (whole: string, size: number): unknown => {
      try {
        return parse(whole, size);
      } catch (cause) {
        return cause instanceof Error ? cause.message : cause;
      }
    };
    fc.assert(
      fc.property(text, (whole) => {
        expect(outcome(whole, 1)).toEqual(outcome(whole, 1_000));
      }),
    );
  });
});
