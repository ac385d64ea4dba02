import { describe, expect, test } from 'vitest';
import type { KeyId } from '../lib/ids.ts';
import {
  fromSeed,
  generateKey,
  parsePublicKey,
  parseSigner,
  toSeed,
  webCryptoSignatures as signatures,
} from './keys.ts';

// RFC 8032, section 7.1, test 2.
const SEED = '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb';
const PUBLIC = '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c';
const SIGNATURE =
  '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00';

describe('Ed25519 keys', () => {
  test('sign as RFC 8032 says', async () => {
    const { signer, pkcs8 } = await fromSeed(Uint8Array.fromHex(SEED));
    expect(signer.keyId).toBe(`ed25519:${PUBLIC}`);
    expect((await signer.sign(new Uint8Array([0x72]))).toHex()).toBe(SIGNATURE);
    expect(toSeed(pkcs8).toHex()).toBe(SEED);
  });

  test('come back from PKCS#8 and verify only what they signed', async () => {
    const pair = await generateKey();
    const again = await parseSigner(pair.pkcs8);
    if (!again.ok) throw new Error(again.error);
    const bytes = new TextEncoder().encode('hello');
    const signature = await again.value.sign(bytes);
    expect(await signatures.verify(pair.signer.keyId, bytes, signature)).toBe(true);
    expect(await signatures.verify(pair.signer.keyId, new TextEncoder().encode('hellp'), signature)).toBe(false);
    expect(await signatures.verify((await generateKey()).signer.keyId, bytes, signature)).toBe(false);
    expect(await signatures.verify(pair.signer.keyId, bytes, signature.subarray(1))).toBe(false);
  });

  test('junk is no private key, and no key id', async () => {
    expect((await parseSigner(new Uint8Array(48))).ok).toBe(false);
    for (const id of ['', 'ed25519:', `ed25519:${PUBLIC.toUpperCase()}`, `ed25519:${PUBLIC}0`, `rsa:${PUBLIC}`])
      expect(parsePublicKey(id).ok, id).toBe(false);
    expect(await signatures.verify('junk' as KeyId, new Uint8Array(1), new Uint8Array(64))).toBe(false);
  });

  test('a key of small order, under which one signature fits many messages, verifies nothing', async () => {
    const identity = `ed25519:01${'00'.repeat(31)}` as KeyId;
    const signature = new Uint8Array(64);
    signature[0] = 1;
    expect(await signatures.verify(identity, new Uint8Array(3), signature)).toBe(false);
  });

  test('sha256 is hexadecimal', async () => {
    expect(await signatures.sha256(new Uint8Array())).toBe(
      'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    );
  });
});
