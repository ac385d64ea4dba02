// Owns the schemas of ids and small bounded values that appear in several messages.

import { z } from 'zod';
import type { ArtifactId, Epoch, JobId, KeyId, StageId } from '../lib/ids.ts';

export const keyIdSchema = z
  .string()
  .regex(/^ed25519:[0-9a-f]{64}$/)
  .transform((text) => text as KeyId);

export const artifactIdSchema = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/)
  .transform((text) => text as ArtifactId);

export const jobIdSchema = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .transform((text) => text as JobId);

export const stageNameSchema = z.string().regex(/^[a-z][a-z0-9-]{0,39}$/);

export const stageIdSchema = z
  .string()
  .regex(/^[0-9a-f]{16}\/[a-z][a-z0-9-]{0,39}$/)
  .transform((text) => text as StageId);

export const epochSchema = z
  .string()
  .regex(/^\d{1,10}\.\d{1,15}$/)
  .transform((text) => text as Epoch);

/** What an owner says of a machine, such as `gpu` or `attic`. */
export const labelSchema = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,39}$/);

/** An item index or count. Bounded so that arithmetic on it stays exact. */
export const countSchema = z.int().min(0).max(1e12);

/** A duration measured by one clock, in ms. Other machines' absolute times are never on the wire. */
export const durationMsSchema = z.number().min(0).max(1e12);

export const MAX_REASON_CHARS = 2_000;
/** Free text for people: bounded, shown escaped. */
export const reasonSchema = z.string().max(MAX_REASON_CHARS);
