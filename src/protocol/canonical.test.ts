import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_CANONICAL_BYTES, MAX_CANONICAL_DEPTH, parseCanonicalBytes, toCanonicalBytes } from './canonical.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);
const textOf = (value: unknown) => {
  const bytes = toCanonicalBytes(value);
  return bytes.ok ? new TextDecoder().decode(bytes.value) : bytes.error;
};

describe('canonical JSON', () => {
  test('writes the example of RFC 8785, section 3.2.2', () => {
    const value = {
      numbers: [Number('333333333.33333329'), 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: '\u20ac$\u000F\u000aA\'\u0042\u0022\u005c\\"\u002f',
      literals: [null, true, false],
    };
    expect(textOf(value)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  test('every JSON value comes back from its canonical bytes', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const bytes = toCanonicalBytes(value);
        if (!bytes.ok) throw new Error(bytes.error);
        expect(parseCanonicalBytes(bytes.value)).toEqual({ ok: true, value: JSON.parse(JSON.stringify(value)) });
      }),
    );
  });

  test.each([
    ['spaces', '{ "a":1}'],
    ['order', '{"b":1,"a":2}'],
    ['a key twice', '{"a":1,"a":1}'],
    ['a number in another form', '[1.0]'],
    ['an escape that is not needed', '["\\u0041"]'],
    ['a byte order mark', '\ufeff{}'],
  ])('refuses %s', (_what, text) => {
    expect(parseCanonicalBytes(bytesOf(text)).ok).toBe(false);
  });

  test('refuses invalid UTF-8, cycles, lone surrogates, and what is too deep or too big', () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    const nest = (depth: number) => bytesOf('['.repeat(depth) + ']'.repeat(depth));
    expect(parseCanonicalBytes(new Uint8Array([0x22, 0xff, 0x22])).ok).toBe(false);
    expect(toCanonicalBytes(cycle).ok).toBe(false);
    expect(toCanonicalBytes('\ud800').ok).toBe(false);
    expect(toCanonicalBytes(undefined).ok).toBe(false);
    expect(parseCanonicalBytes(nest(MAX_CANONICAL_DEPTH)).ok).toBe(true);
    expect(textOf(JSON.parse(new TextDecoder().decode(nest(100_000))))).toContain('nested deeper');
    expect(textOf('x'.repeat(MAX_CANONICAL_BYTES))).toContain('at most');
  });
});
