// Owns the invite: the one line an admin gives to a friend. It carries the signed grant, the one-time private key that
// makes a membership from it, and where to find the coordinator. Knows nothing of clocks or of how often it was used.

import { z } from 'zod';
import type { KeyId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { toCanonicalBytes } from './canonical.ts';
import { smallEnvelopeSchema, openEnvelope, type Envelope } from './dsse.ts';
import { SwarmError } from './errors.ts';
import { fromSeed, generateKey, SEED_BYTES, toSeed, type KeyPair, type Signatures, type Signer } from './keys.ts';
import { GRANT_TYPE, grantSchema, signGrant, signMembership, type Grant, type Membership } from './membership.ts';

const PREFIX = 'swarm1-';
/** The grant, 16 addresses and room to spare; a pasted novel is refused before it is decoded. */
const MAX_INVITE_CHARS = 16_384;
const MAX_ADDRESSES = 16;

const addressSchema = z.url({ protocol: /^https?$/ }).max(200);

const bodySchema = z.strictObject({
  grant: smallEnvelopeSchema,
  /** Seed of the one-time key, base64url. */
  key: z.string().regex(/^[\w-]{43}$/),
  addresses: z.array(addressSchema).min(1).max(MAX_ADDRESSES),
});
/** `sum` tells a slip of the mouse from an invite; security rests on the signatures alone. */
const sealedSchema = bodySchema.extend({ sum: z.string().regex(/^[0-9a-f]{16}$/) });

type Body = z.infer<typeof bodySchema>;

/** What the admin offers: the grant without what `makeInvite` fills in, and where the coordinator listens. */
export type Offer = Omit<Grant, 'v' | 'inviteKey'> & { readonly addresses: readonly string[] };

/** A parsed invite whose grant is intact. `adminKey` is what the joiner pins from here on. */
export type Invite = {
  readonly grant: Grant;
  readonly grantEnvelope: Envelope;
  readonly adminKey: KeyId;
  readonly oneTime: Signer;
  readonly addresses: readonly string[];
};

/** Signs an offer and prints it as one line. Throws SwarmError `bad-input` when an address would travel unprotected. */
export async function makeInvite(
  offer: Offer,
  admin: Signer,
  signatures: Signatures,
  oneTime?: KeyPair,
): Promise<{ text: string; inviteId: KeyId }> {
  const { addresses, ...rest } = offer;
  const pair = oneTime ?? (await generateKey());
  const grant: Grant = { v: 1, inviteKey: pair.signer.keyId, ...rest };
  const key = toSeed(pair.pkcs8).toBase64({ alphabet: 'base64url', omitPadding: true });
  const body = bodySchema.safeParse({ grant: await signGrant(grant, admin), key, addresses });
  if (!body.success) throw new SwarmError('bad-input', `no invite was made: ${z.prettifyError(body.error)}`);
  const violation = checkAddresses(addresses, grant);
  if (violation !== undefined) throw new SwarmError('bad-input', `no invite was made: ${violation}`);
  const text = JSON.stringify({ ...body.data, sum: await toSum(body.data, signatures) });
  return { text: toLine(text), inviteId: grant.inviteKey };
}

/** Reads an invite as people paste it (line breaks and quotes are dropped), and says what is wrong with a bad one. */
export async function parseInvite(text: string, signatures: Signatures): Promise<Result<Invite>> {
  if (text.length > MAX_INVITE_CHARS)
    return err('this is too long for an invite: paste only the line that starts with swarm1-');
  const sealed = parseSealed(text.replace(/[\s'"`<>]/gu, ''));
  if (!sealed.ok) return sealed;
  const { sum, ...body } = sealed.value;
  if (sum !== (await toSum(body, signatures))) return err(ALTERED);
  return openBody(body, signatures);
}

/** Joins with an invite: a credential that `joinerKey` has the invite's role, under the name the joiner chose. */
export async function acceptInvite(invite: Invite, joinerKey: KeyId, name: string): Promise<Membership> {
  return signMembership(invite.grantEnvelope, invite.grant.swarm, invite.oneTime, { key: joinerKey, name });
}

/** True for addresses that never leave this machine: the only ones spoken to without TLS. */
export function isLoopback(address: string): boolean {
  const { hostname } = new URL(address);
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

const ALTERED = 'the invite was altered on the way: ask for it again and copy the whole line';
const CUT_OFF = 'the invite is cut off: copy the whole line, to its last character';

function parseSealed(line: string): Result<z.infer<typeof sealedSchema>> {
  if (/^swarm[2-9]\d*-/.test(line)) return err('the invite was made by a newer Backyard Swarm: update this machine');
  if (!line.startsWith(PREFIX)) return err('this is not an invite: an invite starts with swarm1-');
  const json = decodeText(line.slice(PREFIX.length));
  if (json === undefined) return err(ALTERED);
  if (!json.endsWith('}')) return err(CUT_OFF);
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return err(looksComplete(json) ? ALTERED : CUT_OFF);
  }
  const parsed = sealedSchema.safeParse(value);
  return parsed.success && toLine(json) === line ? ok(parsed.data) : err(ALTERED);
}

function toLine(json: string): string {
  return PREFIX + new TextEncoder().encode(json).toBase64({ alphabet: 'base64url', omitPadding: true });
}

/** A cut after an inner brace leaves more opened than closed. */
function looksComplete(json: string): boolean {
  return json.split('{').length === json.split('}').length;
}

/** Bits left over at a cut are dropped, so that what came before still tells how it ended. */
function decodeText(line: string): string | undefined {
  if (!/^[\w-]*$/.test(line)) return undefined;
  const whole = line.length % 4 === 1 ? line.slice(0, -1) : line;
  return new TextDecoder().decode(Uint8Array.fromBase64(whole, { alphabet: 'base64url' }));
}

async function openBody(body: Body, signatures: Signatures): Promise<Result<Invite>> {
  const opened = await openEnvelope(body.grant, GRANT_TYPE, grantSchema, signatures);
  if (!opened.ok) return err(`${ALTERED} (${opened.error})`);
  const { payload: grant, signer: adminKey } = opened.value;
  const seed = Uint8Array.fromBase64(body.key, { alphabet: 'base64url' });
  if (seed.length !== SEED_BYTES) return err(ALTERED);
  const oneTime = (await fromSeed(seed)).signer;
  if (oneTime.keyId !== grant.inviteKey) return err(`${ALTERED} (its key does not belong to its grant)`);
  const violation = checkAddresses(body.addresses, grant);
  if (violation !== undefined) return err(`the invite is refused: ${violation}`);
  return ok({ grant, grantEnvelope: body.grant, adminKey, oneTime, addresses: body.addresses });
}

function checkAddresses(addresses: readonly string[], grant: Grant): string | undefined {
  for (const address of addresses) {
    if (address.startsWith('https:') && grant.tlsPin === undefined) return `${address} needs the pin of a TLS key`;
    if (address.startsWith('http:') && !isLoopback(address)) return `${address} would be spoken to without TLS`;
  }
  return undefined;
}

async function toSum(body: Body, signatures: Signatures): Promise<string> {
  const bytes = toCanonicalBytes(body);
  if (!bytes.ok) throw new SwarmError('bad-input', `the invite cannot be written: ${bytes.error}`);
  return (await signatures.sha256(bytes.value)).slice(0, 16);
}
