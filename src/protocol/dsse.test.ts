import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { envelopeSchema, openEnvelope, parseBase64, signEnvelope, toPae, type Envelope } from './dsse.ts';
import { generateKey, webCryptoSignatures as signatures, type Signer } from './keys.ts';

const TYPE = 'application/vnd.test+json';
const schema = z.strictObject({ a: z.number() });
const open = (envelope: unknown) => openEnvelope(envelope, TYPE, schema, signatures);
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

let signer: Signer;
let envelope: Envelope;
beforeAll(async () => {
  ({ signer } = await generateKey());
  envelope = await signEnvelope(TYPE, { a: 1 }, signer);
});

/** Signs bytes that `signEnvelope` would never make. */
async function signRaw(text: string): Promise<Envelope> {
  const bytes = new TextEncoder().encode(text);
  const sig = (await signer.sign(toPae(TYPE, bytes))).toBase64();
  return { payloadType: TYPE, payload: bytes.toBase64(), signatures: [{ keyid: signer.keyId, sig }] };
}

describe('DSSE', () => {
  test("the specification's example of the pre-authentication encoding", () => {
    const pae = toPae('http://example.com/HelloWorld', new TextEncoder().encode('hello world'));
    expect(textOf(pae)).toBe('DSSEv1 29 http://example.com/HelloWorld 11 hello world');
  });

  test('lengths count bytes, not characters, and an empty body keeps its last space', () => {
    expect(textOf(toPae('é', new TextEncoder().encode('ü')))).toBe('DSSEv1 2 é 2 ü');
    expect(textOf(toPae('t', new Uint8Array()))).toBe('DSSEv1 1 t 0 ');
  });

  test('opens what was signed and names the signer and the hash of the exact bytes', async () => {
    const payloadHash = await signatures.sha256(new TextEncoder().encode('{"a":1}'));
    expect(await open(envelope)).toEqual({ ok: true, value: { payload: { a: 1 }, signer: signer.keyId, payloadHash } });
  });

  test('both base64 alphabets are read, each with one spelling', () => {
    expect(parseBase64('-_-_Pj8=')).toEqual(parseBase64('+/+/Pj8='));
    for (const text of ['-_-_Pj8', '+/+/Pj9=', 'a b=', '+_+/Pj8=', '=', 'a'])
      expect(parseBase64(text), text).toBeUndefined();
  });

  test('every changed byte is refused, or changes nothing that was signed', async () => {
    const honest = await open(envelope);
    const bytes = new TextEncoder().encode(JSON.stringify(envelope));
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
        const changed = bytes.slice();
        changed[at] = (changed[at] as number) ^ mask;
        const opened = await open(parseOrNull(textOf(changed)));
        if (opened.ok) expect(opened).toEqual(honest); // only + for - and / for _ can come here
      }),
      { numRuns: 2_000 },
    );
  });

  test.each<[string, (e: Envelope) => unknown, string]>([
    ['another type', (e) => ({ ...e, payloadType: 'application/other' }), 'holds application/other'],
    ['two signatures', (e) => ({ ...e, signatures: [...e.signatures, ...e.signatures] }), '2 signatures'],
    ['no signature', (e) => ({ ...e, signatures: [] }), 'not a signed envelope'],
    ['a field that nobody signed', (e) => ({ ...e, note: 'hi' }), 'not a signed envelope'],
    [
      'a key id of another kind',
      (e) => ({ ...e, signatures: [{ keyid: 'A', sig: e.signatures[0]?.sig }] }),
      'not a signed',
    ],
    ['no envelope', () => 'junk', 'not a signed envelope'],
  ])('refuses %s', async (_what, change, message) => {
    const opened = await open(change(envelope));
    expect(opened.ok ? '' : opened.error).toContain(message);
  });

  test('refuses a signature under another key', async () => {
    const other = (await generateKey()).signer;
    const swapped = { ...envelope, signatures: [{ ...envelope.signatures[0], keyid: other.keyId }] };
    expect(await open(swapped)).toMatchObject({ ok: false, error: expect.stringContaining('was altered') });
    const pinned = await openEnvelope(envelope, TYPE, schema, signatures, { signer: other.keyId });
    expect(pinned).toMatchObject({ ok: false, error: expect.stringContaining('not by') });
  });

  test.each([
    ['is not canonical', '{ "a": 1 }', 'not canonical'],
    ['is no JSON', 'a', 'not JSON'],
    ['does not fit the schema', '{"b":1}', 'not valid'],
  ])('refuses a payload that %s though its signature holds', async (_what, text, message) => {
    const opened = await open(await signRaw(text));
    expect(opened.ok ? '' : opened.error).toContain(message);
  });

  test('what cannot be written as JSON is not signed', async () => {
    await expect(signEnvelope(TYPE, { a: Number.NaN }, signer)).rejects.toThrow('cannot be signed');
    expect(envelopeSchema.safeParse(await signEnvelope(TYPE, { a: 2 }, signer)).success).toBe(true);
  });
});

function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
