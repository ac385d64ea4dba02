// Owns the job spec: what a submitter signs. It binds the workload, its parameters, the models' hashes, the limits
// and the hash of the item list. Not bound: which peer runs what, and when.

import { z } from 'zod';
import { err, ok, type Result } from '../lib/result.ts';
import { artifactIdSchema, countSchema, keyIdSchema, labelSchema, stageNameSchema } from './names.ts';

export const JOB_SPEC_TYPE = 'application/vnd.backyard-swarm.job-spec+json';
/** A spec is a plan, not data: lists and files travel as artifacts. */
export const MAX_SPEC_BYTES = 256 * 1_024;
const MAX_STAGES = 64;

/** Where a stage's items come from. */
const stageItemsSchema = z.discriminatedUnion('kind', [
  /** A chunked list; `root` is the hash of its index, which binds every chunk. */
  z.strictObject({ kind: z.literal('list'), root: artifactIdSchema, count: countSchema.min(1) }),
  /** Items that are just their own index: sweeps over seeds, benchmarks. */
  z.strictObject({ kind: z.literal('count'), count: countSchema.min(1) }),
  /** One step over the result parts of an earlier stage, in item order: the workload's merge. */
  z.strictObject({ kind: z.literal('parts'), of: stageNameSchema }),
]);

const modelSchema = z.strictObject({
  /** `use-lite`, or the name of the folder the submitter took it from. Shown to people; the hash decides. */
  name: z.string().min(1).max(200),
  /** The hash over the model's files: weights, tokeniser, pooling. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** The files as artifacts, for a model that is not built in. */
  files: z
    .array(
      z.strictObject({
        path: z
          .string()
          .min(1)
          .max(200)
          .regex(/^(?!\/)(?!.*(^|\/)\.\.(\/|$))[\w@+.\-/ ]+$/),
        id: artifactIdSchema,
        sizeBytes: countSchema,
      }),
    )
    .max(64),
});

const stageSpecSchema = z.strictObject({
  name: stageNameSchema,
  needs: z.array(stageNameSchema).max(MAX_STAGES).default([]),
  workload: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/),
  params: z.record(z.string().max(64), z.json()).default({}),
  items: stageItemsSchema,
  model: modelSchema.optional(),
  /** Fixes the items of each task; otherwise tasks are sized to each peer's speed. */
  taskItems: countSchema.min(1).optional(),
  /** Memory one runner needs on the device. */
  memoryBytes: countSchema.default(0),
  /** Disk that one task needs for its inputs and result. */
  diskBytes: countSchema.default(0),
  /** Only peers that carry all of these labels run it. */
  labels: z.array(labelSchema).max(8).default([]),
  /** Whether each task yields a part. A result without one is then refused. */
  yieldsParts: z.boolean().default(true),
  /** Tries of a single item before it is reported as failed. */
  maxAttempts: z.int().min(1).max(10).default(3),
  /** More failed items than this and the job fails instead of trying the rest. */
  maxFailedItems: countSchema.default(1_000),
  /** The longest one task may go without finishing an item. */
  idleTimeoutMs: z.int().min(1_000).max(86_400_000).default(300_000),
});

export const jobSpecSchema = z.strictObject({
  v: z.literal(1),
  swarm: keyIdSchema,
  /** Chosen by the submitter: the same key submits the same job once, however often it is sent. */
  clientKey: z.string().min(1).max(64),
  name: z.string().min(1).max(100),
  /** Higher runs first. */
  priority: z.int().min(-100).max(100).default(0),
  /** Milliseconds since 1970, by the coordinator's clock: the submitter's jobs that are due sooner go first. */
  deadlineAt: z.int().min(0).max(8.64e15).optional(),
  limits: z
    .strictObject({
      /** The most peers that work on it at once. */
      peers: z.int().min(1).max(10_000).optional(),
      /** The job fails when its attempts have taken so long in all. */
      deviceHours: z.number().positive().max(1e9).optional(),
    })
    .default({}),
  stages: z.array(stageSpecSchema).min(1).max(MAX_STAGES),
});

export type JobSpec = z.infer<typeof jobSpecSchema>;
export type JobSpecInput = z.input<typeof jobSpecSchema>;
export type StageSpec = JobSpec['stages'][number];
export type ModelSpec = z.infer<typeof modelSchema>;

/** How many items a stage has; a step over parts is one item. */
export function countItems(stage: StageSpec): number {
  return stage.items.kind === 'parts' ? 1 : stage.items.count;
}

/** Parses a spec and checks what the schema cannot: unique names, known needs, no cycle. */
export function parseJobSpec(value: unknown): Result<JobSpec> {
  const parsed = jobSpecSchema.safeParse(value);
  if (!parsed.success) return err(`the job spec is not valid: ${z.prettifyError(parsed.error)}`);
  const violations = checkStages(parsed.data.stages);
  return violations.length > 0 ? err(`the job spec is not valid: ${violations.join('; ')}`) : ok(parsed.data);
}

function checkStages(stages: readonly StageSpec[]): string[] {
  const violations: string[] = [];
  const earlier = new Set<string>();
  const all = new Set(stages.map((stage) => stage.name));
  for (const stage of stages) {
    if (earlier.has(stage.name)) violations.push(`two stages are named "${stage.name}"`);
    for (const need of stage.needs) {
      if (!all.has(need)) violations.push(`stage "${stage.name}" needs "${need}", which does not exist`);
      else if (!earlier.has(need)) violations.push(describeOrder(stages, stage.name, need));
    }
    if (stage.items.kind === 'parts' && !stage.needs.includes(stage.items.of))
      violations.push(`stage "${stage.name}" takes the parts of "${stage.items.of}" but does not need it`);
    earlier.add(stage.name);
  }
  return violations;
}

/** A stage that needs a later one: a cycle, whose path is told, or only the wrong order. */
function describeOrder(stages: readonly StageSpec[], name: string, need: string): string {
  const path = findPath(stages, need, name, new Set());
  return path
    ? `stages need each other in a circle: ${[name, ...path].join(' → ')}`
    : `stage "${name}" needs "${need}", which must be listed before it`;
}

/** The stages from one to another along what they need, both included; undefined when there is no way. */
function findPath(
  stages: readonly StageSpec[],
  from: string,
  to: string,
  seen: Set<string>,
): readonly string[] | undefined {
  if (from === to) return [from];
  if (seen.has(from)) return undefined;
  seen.add(from);
  for (const next of stages.find(({ name }) => name === from)?.needs ?? []) {
    const rest = findPath(stages, next, to, seen);
    if (rest) return [from, ...rest];
  }
  return undefined;
}
