// Owns the messages a coordinator sends to an agent.

import { z } from 'zod';
import { countSchema, durationMsSchema, epochSchema, jobIdSchema, reasonSchema, stageIdSchema } from './names.ts';
import { MAX_SPEC_BYTES } from './job-spec.ts';
import { MAX_BACKLOG } from './to-coordinator.ts';

const taskSchema = z.strictObject({
  epoch: epochSchema,
  stage: stageIdSchema,
  start: countSchema,
  end: countSchema,
});

/** What becomes of an attempt that the agent said it holds. */
const verdictSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('keep'), epoch: epochSchema }),
  /** Carry on under a new epoch: the coordinator restarted, or had given the range up and not yet given it away. */
  z.strictObject({ kind: z.literal('adopt'), epoch: epochSchema, newEpoch: epochSchema }),
  z.strictObject({ kind: z.literal('drop'), epoch: epochSchema }),
]);

export const toAgentSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('welcome'),
    protocol: z.int().min(0).max(1e6),
    /** How often to send a heartbeat. */
    heartbeatMs: durationMsSchema,
    /** How long the coordinator waits for a silent agent before it gives its work to others. */
    leaseMs: durationMsSchema,
    verdicts: z.array(verdictSchema).max(MAX_BACKLOG),
  }),
  /** The signed spec of a job, before the first task of it in a session. */
  z.strictObject({
    type: z.literal('job'),
    job: jobIdSchema,
    /** A DSSE envelope and the signer's membership, as JSON text, so that no byte of it is reinterpreted on the way. */
    envelope: z.string().max(2 * MAX_SPEC_BYTES),
  }),
  z.strictObject({ type: z.literal('assign'), tasks: z.array(taskSchema).min(1).max(MAX_BACKLOG) }),
  /** Reports that are durable: forget them. */
  z.strictObject({ type: z.literal('ack'), epochs: z.array(epochSchema).min(1).max(MAX_BACKLOG) }),
  /** Start no item from `until` on; answered by `shrunk`, or by the task's report when it has ended. */
  z.strictObject({
    type: z.literal('shrink'),
    tasks: z
      .array(z.strictObject({ epoch: epochSchema, until: countSchema }))
      .min(1)
      .max(MAX_BACKLOG),
  }),
  /** Stop these attempts and report them as stopped. */
  z.strictObject({ type: z.literal('cancel'), epochs: z.array(epochSchema).min(1).max(MAX_BACKLOG) }),
  /** The link will be closed; `retry` says whether to come back. */
  z.strictObject({ type: z.literal('goodbye'), reason: reasonSchema, retry: z.boolean() }),
]);

export type ToAgent = z.infer<typeof toAgentSchema>;
export type AssignedTask = z.infer<typeof taskSchema>;
export type Verdict = z.infer<typeof verdictSchema>;
