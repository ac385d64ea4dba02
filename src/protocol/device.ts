// Owns how a peer describes its devices and what they are doing. Knows nothing of how they are probed.

import { z } from 'zod';
import { countSchema } from './names.ts';

export const deviceSchema = z.strictObject({
  id: z.string().regex(/^[a-z0-9:._-]{1,80}$/i),
  kind: z.enum(['cpu', 'cuda', 'rocm', 'metal']),
  name: z.string().max(120),
  memoryBytes: countSchema,
  /** CPU threads a task on this device may use. */
  threads: z.int().min(1).max(1_024),
});

/** What a heartbeat carries besides being alive. Shown, never journaled. */
export const telemetrySchema = z.strictObject({
  cpuUtilisation: z.number().min(0).max(1).optional(),
  freeMemoryBytes: countSchema.optional(),
  /** Free where the agent keeps inputs and results. */
  freeDiskBytes: countSchema.optional(),
  devices: z
    .array(
      z.strictObject({
        id: z.string().max(80),
        utilisation: z.number().min(0).max(1).optional(),
        usedMemoryBytes: countSchema.optional(),
        temperatureC: z.number().min(-50).max(200).optional(),
        powerW: z.number().min(0).max(5_000).optional(),
      }),
    )
    .max(16),
});

export type Device = z.infer<typeof deviceSchema>;
export type Telemetry = z.infer<typeof telemetrySchema>;
