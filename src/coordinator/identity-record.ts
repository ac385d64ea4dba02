// Owns the one record that is the shell's own: whose swarm this state belongs to, and how often it was started.

import { z } from 'zod';
import type { KeyId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import { keyIdSchema } from '../protocol/names.ts';
import type { StoredRecord } from '../store/store.ts';

const VERSION = 1;

const identitySchema = z.strictObject({ incarnation: z.int().min(1), swarm: keyIdSchema, adminKey: keyIdSchema });

export type SwarmIdentity = z.infer<typeof identitySchema>;

export function toIdentityRecord(identity: SwarmIdentity): StoredRecord {
  return { kind: 'meta', id: 'swarm', version: VERSION, value: identity };
}

/** Throws 'store-newer', 'store-corrupt', or 'conflict' when the state belongs to another swarm or admin. */
export function readIdentity(
  record: StoredRecord,
  expected: { readonly swarm: KeyId; readonly adminKey: KeyId },
): SwarmIdentity {
  if (record.version > VERSION)
    throw new SwarmError('store-newer', 'the state was written by a newer Backyard Swarm: update this machine');
  const parsed = identitySchema.safeParse(record.value);
  if (!parsed.success) throw new SwarmError('store-corrupt', 'the state does not say whose it is: restore a backup');
  for (const key of ['swarm', 'adminKey'] as const)
    if (parsed.data[key] !== expected[key])
      throw new SwarmError(
        'conflict',
        `the state belongs to ${key === 'swarm' ? 'swarm' : 'admin'} ${parsed.data[key]}, not ${expected[key]}: restore that key, or start with an empty folder`,
      );
  return parsed.data;
}
