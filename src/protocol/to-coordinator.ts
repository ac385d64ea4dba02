// Owns the messages an agent sends to its coordinator. Reports are kept by the agent until they are acknowledged.

import { z } from 'zod';
import { deviceSchema, telemetrySchema } from './device.ts';
import {
  artifactIdSchema,
  countSchema,
  durationMsSchema,
  epochSchema,
  jobIdSchema,
  keyIdSchema,
  labelSchema,
  reasonSchema,
  stageIdSchema,
  stageNameSchema,
} from './names.ts';

/** The most attempts a peer may hold, so that every list below is bounded. */
export const MAX_BACKLOG = 4_096;
export const MAX_LOG_LINES = 200;
export const MAX_INLINE_CHARS = 256;

const attemptStateSchema = z.strictObject({
  epoch: epochSchema,
  stage: stageIdSchema,
  start: countSchema,
  end: countSchema,
});

const partSchema = z.strictObject({
  id: artifactIdSchema,
  sizeBytes: countSchema,
  /** The agent's signature over (spec, stage, range, part): base64. */
  signature: z.string().max(100),
});

const outcomeSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('done'),
    /** Absent for work that yields no bytes. */
    part: partSchema.optional(),
    inline: z.string().max(MAX_INLINE_CHARS).optional(),
    /** Running time without set-up, from which speed is learned. */
    durationMs: durationMsSchema,
    /** Time to get ready: runner, model, inputs. Absent or 0 when all was warm. */
    setupMs: durationMsSchema.optional(),
    /** Where the result ends, when its range was shrunk; otherwise at the end of the range as assigned. */
    end: countSchema.optional(),
    /** Time that storing the part took. */
    uploadMs: durationMsSchema.optional(),
    /** The most memory that the runner held. */
    peakMemoryBytes: countSchema.optional(),
    /** What really ran it, for example `cpu`. */
    provider: z.string().max(40).optional(),
  }),
  z.strictObject({
    kind: z.literal('failed'),
    /** item: one item is to blame; task: the range failed; peer: this peer cannot run the stage at all. */
    scope: z.enum(['item', 'task', 'peer']),
    reason: reasonSchema,
    item: countSchema.optional(),
  }),
  /** Stopped because it was canceled. */
  z.strictObject({ kind: z.literal('stopped') }),
]);

const reportSchema = z.strictObject({ epoch: epochSchema, outcome: outcomeSchema });

const helloSchema = z.strictObject({
  type: z.literal('hello'),
  protocol: z.int().min(0).max(1e6),
  version: z.string().max(40),
  name: z.string().max(64),
  devices: z.array(deviceSchema).min(1).max(16),
  /** What holds its runners, such as `bubblewrap+permission`. */
  sandbox: z.string().max(40).optional(),
  /** What its owner says of it, for jobs that ask for such peers. */
  labels: z.array(labelSchema).max(32).optional(),
  /** Whose machine it is: the jobs of this key come first here. */
  owner: keyIdSchema.optional(),
  /** How many attempts it will hold at once, running and queued. */
  backlog: z.int().min(1).max(MAX_BACKLOG),
  /** What it holds: still running or finished and not yet acknowledged. */
  attempts: z.array(attemptStateSchema).max(MAX_BACKLOG),
});

export const toCoordinatorSchema = z.discriminatedUnion('type', [
  helloSchema,
  z.strictObject({
    type: z.literal('heartbeat'),
    telemetry: telemetrySchema.optional(),
    /** Next item index of each attempt that moved. */
    cursors: z.array(z.strictObject({ epoch: epochSchema, cursor: countSchema })).max(MAX_BACKLOG),
  }),
  /** The boundary that each shrunk task keeps to: nothing from `end` on is done or will be. */
  z.strictObject({
    type: z.literal('shrunk'),
    tasks: z
      .array(z.strictObject({ epoch: epochSchema, end: countSchema }))
      .min(1)
      .max(MAX_BACKLOG),
  }),
  z.strictObject({ type: z.literal('report'), reports: z.array(reportSchema).min(1).max(MAX_BACKLOG) }),
  z.strictObject({
    type: z.literal('log'),
    job: jobIdSchema,
    stage: stageNameSchema,
    lines: z.array(z.string().max(1_000)).min(1).max(MAX_LOG_LINES),
  }),
]);

export type ToCoordinator = z.infer<typeof toCoordinatorSchema>;
export type Hello = z.infer<typeof helloSchema>;
export type Report = z.infer<typeof reportSchema>;
export type Outcome = z.infer<typeof outcomeSchema>;
export type ReportedPart = z.infer<typeof partSchema>;
export type HeldAttempt = z.infer<typeof attemptStateSchema>;
