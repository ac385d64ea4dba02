// Owns the shapes in which the coordinator shows its state to clients: summaries for lists, details for one thing, and
// the events of the live stream. Knows nothing of how they are computed. Times are the coordinator's, ms since 1970.

import { z } from 'zod';
import { deviceSchema, telemetrySchema } from './device.ts';
import {
  artifactIdSchema,
  countSchema,
  epochSchema,
  jobIdSchema,
  keyIdSchema,
  MAX_REASON_CHARS,
  reasonSchema,
  stageNameSchema,
} from './names.ts';
import { roleSchema } from './roster.ts';

const timeSchema = z.number().min(0).max(8.64e15);
const nameSchema = z.string().max(100);
/** Why a range was handed out. */
const startReasonSchema = z.enum(['fresh', 'retry', 'stolen', 'backup', 'adopted']);
/** Counts added up may exceed what one of them may be. */
const sumSchema = z.int().min(0);

export const swarmViewSchema = z.strictObject({
  swarm: keyIdSchema,
  admin: keyIdSchema,
  version: z.string(),
  protocol: z.int(),
  uptimeMs: z.number(),
  peers: z.strictObject({ known: countSchema, connected: countSchema }),
  jobs: z.strictObject({ known: countSchema, active: countSchema }),
  artifacts: z.strictObject({ usedBytes: sumSchema, quotaBytes: sumSchema }),
  counters: z.record(z.string(), z.number()),
});

export const peerViewSchema = z.strictObject({
  id: keyIdSchema,
  name: nameSchema,
  joinedAt: timeSchema,
  drained: z.boolean(),
  connected: z.boolean(),
  /** It failed what others can do and gets nothing for a while. */
  quarantine: z.strictObject({ leftMs: z.number(), reason: z.string() }).optional(),
  /** Absent for a peer that has not been heard since the coordinator started. */
  session: z
    .strictObject({
      version: z.string(),
      sandbox: z.string().optional(),
      devices: z.array(deviceSchema),
      labels: z.array(z.string()),
      /** Since the peer was last heard. */
      silentMs: z.number(),
      heldTasks: countSchema,
      /** What it holds, the oldest first; the first ones where there are many. */
      doing: z.array(
        z.strictObject({
          job: jobIdSchema,
          jobName: nameSchema,
          stage: stageNameSchema,
          start: countSchema,
          end: countSchema,
          cursor: countSchema,
          why: startReasonSchema,
          elapsedMs: z.number(),
          /** What the scheduler believes this peer does of such work; absent while it knows nothing. */
          itemsPerSecond: z.number().optional(),
        }),
      ),
      /** Measured by what it has sent; absent before a result was big enough to tell. */
      uplinkBytesPerSecond: z.number().optional(),
      telemetry: telemetrySchema.optional(),
    })
    .optional(),
});

/** Who gave device time to whom, by week. */
export const ledgerViewSchema = z.strictObject({
  weeks: z.array(
    z.strictObject({
      /** The Monday on which the week begins, UTC: `2026-11-23`. */
      week: z.string(),
      rows: z.array(
        z.strictObject({
          peer: keyIdSchema,
          peerName: nameSchema,
          submitter: keyIdSchema,
          submitterName: nameSchema,
          deviceSeconds: z.number(),
          /** In seconds of a device of 1 TFLOPS: what sharing goes by. */
          normalisedSeconds: z.number(),
          items: sumSchema,
        }),
      ),
    }),
  ),
});

export const memberViewSchema = z.strictObject({
  id: keyIdSchema,
  name: nameSchema,
  role: roleSchema,
  joinedAt: timeSchema,
  /** How much it gets beside the others. */
  weight: z.number(),
});

export const jobStatusSchema = z.enum(['running', 'paused', 'completed', 'canceled', 'failed']);

const itemsSchema = z.strictObject({ total: sumSchema, done: sumSchema, failed: sumSchema });

const jobSummaryShape = {
  id: jobIdSchema,
  name: nameSchema,
  submitter: keyIdSchema,
  submitterName: nameSchema,
  submittedAt: timeSchema,
  /** Absent while it has not ended. */
  endedAt: timeSchema.optional(),
  priority: z.int(),
  status: jobStatusSchema,
  /** Why it failed, or who paused or canceled it. */
  reason: reasonSchema.optional(),
  /** Of all stages together; running items count as done as far as their attempts have come. */
  items: itemsSchema,
};

export const jobSummarySchema = z.strictObject(jobSummaryShape);

const stageViewSchema = z.strictObject({
  name: stageNameSchema,
  workload: z.string(),
  status: z.enum(['waiting', 'running', 'finished']),
  /** Stages that must have finished before. */
  needs: z.array(stageNameSchema),
  items: itemsSchema,
  runningTasks: countSchema,
  retries: countSchema,
  parts: countSchema,
  /** Peers that said they cannot run this stage, and why. */
  refusals: z.array(z.strictObject({ peer: keyIdSchema, name: nameSchema, reason: reasonSchema })),
});

const workerViewSchema = z.strictObject({
  peer: keyIdSchema,
  name: nameSchema,
  doneItems: sumSchema,
  runningTasks: countSchema,
  /** Over the last seconds; absent while nothing is known. */
  itemsPerSecond: z.number().optional(),
});

export const jobDetailSchema = z.strictObject({
  ...jobSummaryShape,
  stages: z.array(stageViewSchema),
  workers: z.array(workerViewSchema),
  itemsPerSecond: z.number().optional(),
  /** Time to the end: half of such jobs end within p50Ms, nine in ten within p90Ms. */
  eta: z.strictObject({ p50Ms: z.number(), p90Ms: z.number() }).optional(),
});

export const partViewSchema = z.strictObject({
  start: countSchema,
  end: countSchema,
  peer: keyIdSchema,
  part: z.strictObject({ id: artifactIdSchema, sizeBytes: countSchema, signature: z.string() }).optional(),
  inline: z.string().optional(),
});

export const failureViewSchema = z.strictObject({
  stage: stageNameSchema,
  item: countSchema,
  tries: countSchema,
  reason: reasonSchema,
});

const attemptViewSchema = z.strictObject({
  epoch: epochSchema,
  job: jobIdSchema,
  stage: stageNameSchema,
  peer: keyIdSchema,
  start: countSchema,
  end: countSchema,
  /** Where its range ended before its tail was taken back. */
  cutFrom: countSchema.optional(),
  why: startReasonSchema,
  /** When it was handed out; it may have stood in the peer's queue for a while. */
  startedAt: timeSchema,
  /** What the plan expected. */
  expectedMs: z.number().optional(),
  /** Absent while it goes on. */
  endedAt: timeSchema.optional(),
  how: z.enum(['accepted', 'duplicate', 'failed', 'returned', 'stopped', 'lost']).optional(),
  /** Running time as the peer reported it. */
  durationMs: z.number().optional(),
  sizeBytes: countSchema.optional(),
  reason: z.string().max(MAX_REASON_CHARS).optional(),
});

export const timelineViewSchema = z.strictObject({
  /** Another one than before means that the coordinator was started anew: begin again from 0. */
  incarnation: z.int(),
  now: timeSchema,
  attempts: z.array(attemptViewSchema),
  next: countSchema,
});

/** What waits and who could do it, as the scheduler believes: enough to play it through elsewhere. */
export const queueViewSchema = z.strictObject({
  peers: z.array(
    z.strictObject({
      id: keyIdSchema,
      name: nameSchema,
      owner: keyIdSchema.optional(),
      labels: z.array(z.string()),
      devices: z.array(deviceSchema),
      uplinkBytesPerSecond: z.number().optional(),
    }),
  ),
  jobs: z.array(
    z.strictObject({
      id: jobIdSchema,
      name: nameSchema,
      submitter: keyIdSchema,
      priority: z.int(),
      stages: z.array(
        z.strictObject({
          name: stageNameSchema,
          needs: z.array(stageNameSchema),
          /** Items that have neither finished nor failed for good. */
          left: countSchema,
          taskItems: countSchema.optional(),
          memoryBytes: countSchema,
          labels: z.array(z.string()),
          bytesPerItem: z.number().optional(),
          /** What a device of 1 TFLOPS would need; absent while nobody has run anything like it. */
          msPerItemAtOneTflops: z.number().optional(),
          speeds: z.array(z.strictObject({ peer: keyIdSchema, msPerItem: z.number() })),
        }),
      ),
    }),
  ),
});

export const logLineSchema = z.strictObject({
  /** Grows within a job; lines before the oldest kept are gone. */
  seq: countSchema,
  at: timeSchema,
  peer: keyIdSchema,
  name: nameSchema,
  stage: stageNameSchema,
  text: z.string().max(1_000),
});

/** One event of the live stream; each carries the present whole, so that a missed one does not matter. */
export const liveEventSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('job'), job: jobDetailSchema }),
  z.strictObject({ type: z.literal('swarm'), peers: z.array(peerViewSchema), jobs: z.array(jobSummarySchema) }),
]);

export type SwarmView = z.infer<typeof swarmViewSchema>;
export type PeerView = z.infer<typeof peerViewSchema>;
export type LedgerView = z.infer<typeof ledgerViewSchema>;
export type MemberView = z.infer<typeof memberViewSchema>;
export type JobSummary = z.infer<typeof jobSummarySchema>;
export type JobDetail = z.infer<typeof jobDetailSchema>;
export type AttemptView = z.infer<typeof attemptViewSchema>;
export type TimelineView = z.infer<typeof timelineViewSchema>;
export type QueueView = z.infer<typeof queueViewSchema>;
export type PartView = z.infer<typeof partViewSchema>;
export type FailureView = z.infer<typeof failureViewSchema>;
export type LogLine = z.infer<typeof logLineSchema>;
export type LiveEvent = z.infer<typeof liveEventSchema>;
