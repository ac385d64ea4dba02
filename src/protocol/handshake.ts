// Owns the mutual proof of possession that opens an HTTP session or an agent's WebSocket: hello, answer, proof.
//   client → hello  {protocol, key, nonce, membership?}
//   server → answer {key, nonce, signature over the transcript}
//   client → proof  {signature over the transcript}
// The transcript binds both keys, both nonces, the whole hello, the purpose and the TLS key that each side sees on its
// own connection, so that a recording, a session of another purpose and a relay with its own certificate all fail.
// Pure over a Signer and a nonce passed in; no time, no memory of who is a member: the caller decides that.

import { z } from 'zod';
import type { KeyId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { assert, defined } from '../lib/assert.ts';
import { toCanonicalBytes } from './canonical.ts';
import { parseBase64 } from './dsse.ts';
import { NONCE_BYTES, SIGNATURE_BYTES, type Signatures, type Signer } from './keys.ts';
import { membershipSchema, type Membership } from './membership.ts';
import { keyIdSchema } from './names.ts';
import { checkVersion, PROTOCOL_VERSION } from './version.ts';

/** Parts these signatures from DSSE's, which begin with `DSSEv1`, and from any later handshake. */
const DOMAIN = 'backyard-swarm handshake v1';

const nonceSchema = z.string().refine((text) => parseBase64(text)?.length === NONCE_BYTES, 'not a nonce');
const signatureSchema = z.string().refine((text) => parseBase64(text)?.length === SIGNATURE_BYTES, 'not a signature');

export const clientHelloSchema = z.strictObject({
  v: z.literal(1),
  protocol: z.int().min(0).max(1e6),
  clientKey: keyIdSchema,
  clientNonce: nonceSchema,
  /** Shown when the coordinator may not know this key yet. */
  membership: membershipSchema.optional(),
});
export const serverHelloSchema = z.strictObject({
  v: z.literal(1),
  serverKey: keyIdSchema,
  serverNonce: nonceSchema,
  signature: signatureSchema,
});
export const clientProofSchema = z.strictObject({ v: z.literal(1), signature: signatureSchema });

/** Server, last on a WebSocket: whether the client may stay. Frames of the protocol follow. */
export const serverVerdictSchema = z.strictObject({
  v: z.literal(1),
  refusal: z.strictObject({ code: z.string().max(40), message: z.string().max(4_000) }).optional(),
});
export type ServerVerdict = z.infer<typeof serverVerdictSchema>;

export type ClientHello = z.infer<typeof clientHelloSchema>;
export type ServerHello = z.infer<typeof serverHelloSchema>;
export type ClientProof = z.infer<typeof clientProofSchema>;

/** What the connection is for and what it runs over, as one side sees it. `tlsPin` is '' on plain loopback. */
export type Channel = { readonly purpose: 'http' | 'agent'; readonly tlsPin: string };

/** What the server keeps between its answer and the proof. Use it once, for this connection only, then forget it. */
export type PendingHandshake = { readonly hello: ClientHello; readonly transcript: Transcript };

/** A client that proved its key. The membership it showed is not verified here. */
export type ProvenClient = { readonly clientKey: KeyId; readonly membership: Membership | undefined };

type Transcript = {
  readonly purpose: string;
  readonly tlsPin: string;
  readonly helloHash: string;
  readonly clientKey: KeyId;
  readonly serverKey: KeyId;
  readonly clientNonce: string;
  readonly serverNonce: string;
};

/** Client, step 1: the hello, with 32 fresh random bytes. */
export function toClientHello(clientKey: KeyId, nonce: Uint8Array, membership?: Membership): ClientHello {
  const hello = { v: 1, protocol: PROTOCOL_VERSION, clientKey, clientNonce: toNonce(nonce) } as const;
  return membership ? { ...hello, membership } : hello;
}

/** Server: reads a hello. A protocol it does not speak is named as such, whatever else has changed in the message. */
export function parseClientHello(value: unknown): Result<ClientHello, HelloRefusal> {
  const version = z.object({ protocol: z.int().min(0).max(1e6) }).safeParse(value);
  const tooOld = version.success ? checkVersion(version.data.protocol) : undefined;
  if (tooOld !== undefined) return err({ code: 'old-protocol', message: tooOld });
  const parsed = clientHelloSchema.safeParse(value);
  if (parsed.success) return ok(parsed.data);
  return err({ code: 'bad-request', message: `not a hello: ${z.prettifyError(parsed.error).slice(0, 500)}` });
}

export type HelloRefusal = { readonly code: 'old-protocol' | 'bad-request'; readonly message: string };

/** Server, step 2: proves its own key over the client's nonce, with 32 fresh random bytes of its own. */
export async function answerHello(
  hello: ClientHello,
  channel: Channel,
  server: Signer,
  nonce: Uint8Array,
  signatures: Signatures,
): Promise<{ answer: ServerHello; pending: PendingHandshake }> {
  const serverNonce = toNonce(nonce);
  const transcript = await toTranscript(hello, { serverKey: server.keyId, serverNonce }, channel, signatures);
  const signature = (await server.sign(toSignedBytes('server', transcript))).toBase64();
  return { answer: { v: 1, serverKey: server.keyId, serverNonce, signature }, pending: { hello, transcript } };
}

/** Client, step 3: checks that the server is the pinned swarm over this very channel, then proves its own key. */
export async function proveClient(
  hello: ClientHello,
  answer: unknown,
  channel: Channel,
  client: Signer,
  swarm: KeyId,
  signatures: Signatures,
): Promise<Result<ClientProof>> {
  const parsed = serverHelloSchema.safeParse(answer);
  if (!parsed.success) return err('the coordinator did not answer the handshake: is this a Backyard Swarm address?');
  const { serverKey, signature } = parsed.data;
  if (serverKey !== swarm) return err(`this is swarm ${serverKey}, not ${swarm}: check the address, or join again`);
  const transcript = await toTranscript(hello, parsed.data, channel, signatures);
  if (!(await verifySide('server', transcript, serverKey, signature, signatures)))
    return err(`the coordinator did not prove that it is ${swarm} over this connection: somebody may sit in between`);
  const proof = await client.sign(toSignedBytes('client', transcript));
  return ok({ v: 1, signature: proof.toBase64() });
}

/** Server, step 4: accepts the client whose proof fits the pending handshake. */
export async function acceptProof(
  pending: PendingHandshake,
  proof: unknown,
  signatures: Signatures,
): Promise<Result<ProvenClient>> {
  const { clientKey, membership } = pending.hello;
  const parsed = clientProofSchema.safeParse(proof);
  if (!parsed.success) return err('not a handshake proof');
  if (!(await verifySide('client', pending.transcript, clientKey, parsed.data.signature, signatures)))
    return err(`${clientKey} did not prove its key over this connection`);
  return ok({ clientKey, membership });
}

async function toTranscript(
  hello: ClientHello,
  server: { readonly serverKey: KeyId; readonly serverNonce: string },
  channel: Channel,
  signatures: Signatures,
): Promise<Transcript> {
  return {
    purpose: channel.purpose,
    tlsPin: channel.tlsPin,
    helloHash: await signatures.sha256(toBytes(hello)),
    clientKey: hello.clientKey,
    serverKey: server.serverKey,
    clientNonce: hello.clientNonce,
    serverNonce: server.serverNonce,
  };
}

async function verifySide(
  side: 'server' | 'client',
  transcript: Transcript,
  key: KeyId,
  signature: string,
  signatures: Signatures,
): Promise<boolean> {
  return signatures.verify(key, toSignedBytes(side, transcript), defined(parseBase64(signature), 'parsed signature'));
}

function toSignedBytes(side: 'server' | 'client', transcript: Transcript): Uint8Array {
  return toBytes({ domain: DOMAIN, side, ...transcript });
}

function toBytes(value: unknown): Uint8Array {
  const bytes = toCanonicalBytes(value);
  assert(bytes.ok, 'a parsed handshake message is canonical JSON');
  return bytes.value;
}

function toNonce(nonce: Uint8Array): string {
  assert(nonce.length === NONCE_BYTES, `a nonce has ${NONCE_BYTES} bytes`);
  return nonce.toBase64();
}
