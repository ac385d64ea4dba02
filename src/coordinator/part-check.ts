// Owns the check of a reported part: its bytes are stored here, and the peer signed that they are the result of exactly
// this range of exactly this spec. What fails the check is reported to the core as a failure of the task.

import type { JobId, PeerId } from '../lib/ids.ts';
import { webCryptoSignatures } from '../protocol/keys.ts';
import { verifyReceipt } from '../protocol/receipt.ts';
import { openSubmission } from '../protocol/submission.ts';
import type { Report, ReportedPart } from '../protocol/to-coordinator.ts';
import type { ObjectStore } from '../objects/objects.ts';
import type { Attempt, JobRecord } from '../core/state.ts';
import type { Engine } from './engine.ts';

/** Spec hashes kept: one a job that is active. */
const MAX_HASHES = 1_000;

export class PartCheck {
  readonly #engine: Engine;
  readonly #objects: ObjectStore;
  readonly #specHashes = new Map<JobId, string>();

  constructor(engine: Engine, objects: ObjectStore) {
    this.#engine = engine;
    this.#objects = objects;
  }

  /** The report as the core may believe it. Never throws. */
  async check(peer: PeerId, report: Report): Promise<Report> {
    const { epoch, outcome } = report;
    if (outcome.kind !== 'done' || !outcome.part) return report;
    const attempt = this.#engine.state.attempts.get(epoch);
    // Not known now, so nothing may become of it, even if its epoch is given out a moment later.
    if (attempt?.peer !== peer) return { epoch, outcome: { kind: 'stopped' } };
    const end = outcome.end ?? attempt.end;
    const refusal = await this.#findFault({ ...attempt, end }, outcome.part).catch(
      (error: unknown) => `the part could not be checked: ${error instanceof Error ? error.message : String(error)}`,
    );
    if (refusal === undefined) return report;
    return { epoch, outcome: { kind: 'failed', scope: 'task', reason: refusal.slice(0, 2_000) } };
  }

  async #findFault(attempt: Attempt, part: ReportedPart): Promise<string | undefined> {
    const { state } = this.#engine;
    const stage = state.stages.get(attempt.stage);
    const job = stage && state.jobs.get(stage.jobId);
    if (!stage || !job) return `stage ${attempt.stage} is gone`;
    const stored = await this.#objects.stat(part.id);
    if (stored?.sizeBytes !== part.sizeBytes)
      return `part ${part.id} of ${part.sizeBytes} bytes is not stored at the coordinator`;
    const { start, end, peer } = attempt;
    const receipt = { specHash: await this.#hashOf(job), stage: stage.spec.name, start, end, part: part.id };
    if (await verifyReceipt(receipt, part.signature, peer, webCryptoSignatures)) return undefined;
    return `the receipt for items ${start} to ${end} is not signed by ${peer}`;
  }

  async #hashOf(job: JobRecord): Promise<string> {
    const known = this.#specHashes.get(job.id);
    if (known !== undefined) return known;
    const opened = await openSubmission(job.envelope, webCryptoSignatures);
    if (!opened.ok) throw new Error(`the submission of job ${job.id} no longer opens: ${opened.error}`);
    for (const oldest of this.#specHashes.keys()) {
      if (this.#specHashes.size < MAX_HASHES) break;
      this.#specHashes.delete(oldest);
    }
    this.#specHashes.set(job.id, opened.value.specHash);
    return opened.value.specHash;
  }
}
