// Owns the specs that this agent has checked against its own pins (INV-5): whatever the coordinator says, a job runs here
// only when its signature holds, its signer is trusted by the trust file as it is now, and this release can do the work.

import { join } from 'node:path';
import { judgeSigner, loadTrustFile } from '../identity/trust-file.ts';
import { formatByteSize } from '../lib/byte-sizes.ts';
import { toStageId, type JobId, type KeyId, type StageId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { StageSpec } from '../protocol/job-spec.ts';
import { webCryptoSignatures } from '../protocol/keys.ts';
import { openSubmission, type OpenedSubmission } from '../protocol/submission.ts';

/** A reason travels in a report. */
const MAX_REASON_CHARS = 2_000;

export type CheckedJob = { readonly id: JobId; readonly signer: KeyId; readonly specHash: string };
export type CheckedStage = {
  readonly job: CheckedJob;
  readonly spec: StageSpec;
  /** Nothing is to be computed: its tasks end as soon as they begin. */
  readonly isInstant: boolean;
};

export type JobBookOptions = {
  /** Holds trust.json. */
  readonly dir: string;
  /** Pinned when the agent started. */
  readonly swarm: KeyId;
  readonly workloads: readonly string[];
  /** A model above it would not fit the cache. */
  readonly maxModelBytes: number;
};

export class JobBook {
  readonly #options: JobBookOptions;
  readonly #stages = new Map<StageId, CheckedStage>();

  constructor(options: JobBookOptions) {
    this.#options = options;
  }

  get(stage: StageId): CheckedStage | undefined {
    return this.#stages.get(stage);
  }

  forget(job: JobId): void {
    for (const [id, stage] of this.#stages) if (stage.job.id === job) this.#stages.delete(id);
  }

  /** Checks a spec and keeps it when it may run. The refusal in plain words, or undefined. Never throws. */
  async check(job: JobId, envelope: string): Promise<string | undefined> {
    try {
      const opened = await this.#open(job, envelope);
      if (opened.ok) this.#keep(opened.value);
      return opened.ok ? undefined : opened.error.slice(0, MAX_REASON_CHARS);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return `this machine could not check the job: ${reason}`.slice(0, MAX_REASON_CHARS);
    }
  }

  async #open(job: JobId, envelope: string): Promise<Result<OpenedSubmission>> {
    const { swarm } = this.#options;
    const opened = await openSubmission(envelope, webCryptoSignatures);
    if (!opened.ok) return opened;
    const { jobId, spec, signer, membership } = opened.value;
    if (jobId !== job) return err(`the coordinator passed job ${jobId} off as ${job}`);
    if (spec.swarm !== swarm) return err(`the job was signed for swarm ${spec.swarm}, not ${swarm}`);
    // Read anew each time: the owner may have changed it.
    const trust = await loadTrustFile(join(this.#options.dir, 'trust.json'));
    if (!trust || trust.swarm !== swarm) return err('trust.json is gone, or of another swarm: start the agent again');
    const verdict = await judgeSigner(signer, trust, membership, webCryptoSignatures);
    if (!verdict.trusted) return err(`this machine does not run work of ${signer}: ${verdict.reason}`);
    const lacking = spec.stages.map((stage) => this.#findLack(stage)).find((lack) => lack !== undefined);
    return lacking === undefined ? ok(opened.value) : err(lacking);
  }

  #findLack({ name, workload, model }: StageSpec): string | undefined {
    const { workloads, maxModelBytes } = this.#options;
    if (!workloads.includes(workload))
      return `stage "${name}" needs the workload ${workload}, which this release does not offer: update this machine`;
    const modelBytes = model?.files.reduce((sum, file) => sum + file.sizeBytes, 0) ?? 0;
    if (modelBytes <= maxModelBytes) return undefined;
    return `stage "${name}" needs a model of ${formatByteSize(modelBytes)}; this machine keeps at most ${formatByteSize(maxModelBytes)}`;
  }

  #keep({ jobId, spec, signer, specHash }: OpenedSubmission): void {
    const job = { id: jobId, signer, specHash };
    for (const stage of spec.stages)
      this.#stages.set(toStageId(jobId, stage.name), { job, spec: stage, isInstant: isInstant(stage) });
  }
}

/** A no-op without a duration: what a runner would do with it is nothing. Odd parameters are the runner's to refuse. */
function isInstant({ workload, params, items }: StageSpec): boolean {
  return workload === 'noop' && items.kind === 'count' && Object.keys(params).length === 0;
}
