import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { acceptProof, answerHello, parseClientHello, proveClient, toClientHello, type Channel } from './handshake.ts';
import { drawNonce, fromSeed, webCryptoSignatures as signatures, type Signer } from './keys.ts';

const LOOPBACK: Channel = { purpose: 'agent', tlsPin: '' };
const TLS: Channel = { purpose: 'agent', tlsPin: 'ab'.repeat(32) };

let [client, server, stranger]: Signer[] = [];
beforeAll(async () => {
  [client, server, stranger] = await Promise.all(
    [1, 2, 3].map(async (n) => (await fromSeed(new Uint8Array(32).fill(n))).signer),
  );
});

type Setting = { clientSide?: Channel; serverSide?: Channel; clientKey?: Signer; serverKey?: Signer };

/** Runs all four steps and keeps what went over the wire; `outcome` is the proven key or what was said. */
async function shake({ clientSide = TLS, serverSide = TLS, clientKey = client!, serverKey = server! }: Setting = {}) {
  const hello = toClientHello(client!.keyId, drawNonce());
  const received = parseClientHello(overTheWire(hello));
  if (!received.ok) throw new Error(received.error.message);
  const { answer, pending } = await answerHello(received.value, serverSide, serverKey, drawNonce(), signatures);
  const proof = await proveClient(hello, overTheWire(answer), clientSide, clientKey, server!.keyId, signatures);
  if (!proof.ok) return { hello, answer, outcome: proof.error };
  const proven = await acceptProof(pending, overTheWire(proof.value), signatures);
  return { hello, answer, pending, proof: proof.value, outcome: proven.ok ? proven.value.clientKey : proven.error };
}

function overTheWire(message: unknown): unknown {
  return JSON.parse(JSON.stringify(message));
}

describe('handshake', () => {
  test.each([LOOPBACK, TLS, { ...TLS, purpose: 'http' } as const])('proves both sides over %o', async (channel) => {
    expect((await shake({ clientSide: channel, serverSide: channel })).outcome).toBe(client!.keyId);
  });

  test('a server with another key is named', async () => {
    const { outcome } = await shake({ serverKey: stranger! });
    expect(outcome).toContain(`this is swarm ${stranger!.keyId}, not ${server!.keyId}`);
  });

  test('a server that only claims the key is refused', async () => {
    const liar = { ...stranger!, keyId: server!.keyId };
    expect((await shake({ serverKey: liar })).outcome).toContain('did not prove');
  });

  test('a client that only claims the key is refused', async () => {
    expect((await shake({ clientKey: stranger! })).outcome).toContain(`${client!.keyId} did not prove its key`);
  });

  test.each<[string, Channel, Channel]>([
    ['a relay with its own certificate', { ...TLS, tlsPin: 'cd'.repeat(32) }, TLS],
    ['a relay from plain loopback to TLS', LOOPBACK, TLS],
    ['a session of another purpose', { ...TLS, purpose: 'http' }, TLS],
  ])('%s is refused by the client', async (_what, clientSide, serverSide) => {
    expect((await shake({ clientSide, serverSide })).outcome).toContain('somebody may sit in between');
  });

  test('and by the server, when the client is careless', async () => {
    const seen = await shake({
      clientSide: { ...TLS, tlsPin: 'cd'.repeat(32) },
      serverSide: { ...TLS, tlsPin: 'cd'.repeat(32) },
    });
    const { pending } = await answerHello(
      seen.hello,
      TLS,
      server!,
      Uint8Array.fromBase64(seen.answer.serverNonce),
      signatures,
    );
    expect(await acceptProof(pending, seen.proof, signatures)).toMatchObject({ ok: false });
  });

  test("a recorded client's messages open nothing at the server", async () => {
    const recorded = await shake();
    const again = await answerHello(recorded.hello, TLS, server!, drawNonce(), signatures);
    expect(await acceptProof(again.pending, recorded.proof, signatures)).toMatchObject({ ok: false });
  });

  test("a recorded server's answer convinces no client", async () => {
    const { answer } = await shake();
    const hello = toClientHello(client!.keyId, drawNonce());
    const proof = await proveClient(hello, answer, TLS, client!, server!.keyId, signatures);
    expect(proof).toMatchObject({ ok: false, error: expect.stringContaining('did not prove') });
  });

  test("the server's signature is not the client's proof, even under one key", async () => {
    const hello = toClientHello(server!.keyId, drawNonce());
    const { answer, pending } = await answerHello(hello, TLS, server!, drawNonce(), signatures);
    const reflected = await acceptProof(pending, { v: 1, signature: answer.signature }, signatures);
    expect(reflected).toMatchObject({ ok: false });
  });

  test('a hello changed on the way is refused by the client', async () => {
    const hello = toClientHello(client!.keyId, drawNonce());
    for (const change of [{ clientKey: stranger!.keyId }, { protocol: 1 }]) {
      const { answer } = await answerHello({ ...hello, ...change }, TLS, server!, drawNonce(), signatures);
      expect((await proveClient(hello, answer, TLS, client!, server!.keyId, signatures)).ok).toBe(false);
    }
  });

  test('an older protocol is told so even when its hello has another shape', () => {
    const refused = parseClientHello({ v: 0, protocol: 0, who: 'me' });
    expect(refused).toMatchObject({
      ok: false,
      error: { code: 'old-protocol', message: expect.stringContaining('update') },
    });
  });

  test('junk is refused without an exception', async () => {
    const { pending, hello } = await shake();
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.jsonValue(), fc.record({ v: fc.constant(1), signature: fc.string() })),
        async (junk) => {
          expect(parseClientHello(junk).ok).toBe(false);
          expect((await acceptProof(pending!, junk, signatures)).ok).toBe(false);
          expect((await proveClient(hello, junk, TLS, client!, server!.keyId, signatures)).ok).toBe(false);
        },
      ),
    );
  });

  test('every bit of the proof counts', async () => {
    const { pending, proof } = await shake();
    const signature = Uint8Array.fromBase64(proof!.signature);
    for (let bit = 0; bit < signature.length * 8; bit++) {
      const changed = signature.slice();
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      const outcome = await acceptProof(pending!, { v: 1, signature: changed.toBase64() }, signatures);
      expect(outcome.ok, `bit ${bit}`).toBe(false);
    }
  });
});
