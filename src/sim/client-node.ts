// Owns the people of a run: they submit, pause, resume and cancel jobs, repeat a request until it is answered, and
// remember what they were told.

import type { EventBody, RequestId } from '../core/event.ts';
import type { JobId, KeyId, PeerId } from '../lib/ids.ts';
import type { Effect } from '../core/effect.ts';
import type { JobStatus } from '../core/state.ts';
import type { Prng } from '../lib/prng.ts';
import type { JobSpec } from '../protocol/job-spec.ts';
import type { Checkers } from './checkers.ts';
import { Violation } from './checkers.ts';
import { signSpec } from './signature.ts';
import type { VirtualClock } from './virtual-clock.ts';

type Reply = Extract<Effect, { kind: 'reply' }>;
type RequestBody = Extract<EventBody, { request: RequestId }>;
/** A request without its number, which each try gets anew. */
export type RequestDraft = RequestBody extends infer R ? (R extends RequestBody ? Omit<R, 'request'> : never) : never;

const RETRY_MS = 3_000;
const LOOK_MS = 5;

/** Asks for a job's status, undefined for none; no answer while nobody can give one. */
type ReadJob = (job: JobId, tell: (status: JobStatus | undefined) => void) => void;

export class ClientNode {
  readonly #clock: VirtualClock;
  readonly #prng: Prng;
  readonly #checkers: Checkers;
  readonly #post: (event: EventBody) => boolean;
  readonly #read: ReadJob;
  readonly #waiting = new Map<RequestId, (reply: Reply) => void>();
  readonly #watched: JobId[] = [];
  #isLooking = false;
  #requests = 0;
  readonly refusals: string[] = [];

  constructor(clock: VirtualClock, prng: Prng, checkers: Checkers, post: (event: EventBody) => boolean, read: ReadJob) {
    this.#clock = clock;
    this.#prng = prng;
    this.#checkers = checkers;
    this.#post = post;
    this.#read = read;
  }

  enrol(key: KeyId, role: 'peer' | 'submitter'): void {
    const invite = { id: key, maxUses: 1, expiresAt: Number.MAX_SAFE_INTEGER };
    this.#request({ kind: 'member-enrolled', key, name: key.slice(-4), role, invite }, (reply) =>
      this.#expectOk(reply),
    );
  }

  submit(spec: JobSpec, submitter: KeyId, onAccepted: (job: JobId) => void): void {
    const { jobId, envelope } = signSpec(spec, submitter);
    this.#watched.push(jobId);
    this.#request({ kind: 'job-submitted', jobId, submitter, spec, envelope }, (reply) => {
      this.#expectOk(reply);
      this.#checkers.onSubmitAcknowledged(jobId);
      onAccepted(jobId);
    });
  }

  cancel(jobId: JobId, by: KeyId): void {
    this.#request({ kind: 'job-canceled', jobId, by }, (reply) => {
      if (reply.result.ok) this.#checkers.onCancelAcknowledged(jobId);
    });
  }

  pauseFor(jobId: JobId, by: KeyId, durationMs: number): void {
    this.#request({ kind: 'job-paused', jobId, by }, () =>
      this.#clock.after(durationMs, () => this.#request({ kind: 'job-resumed', jobId, by }, () => {})),
    );
  }

  drainFor(peer: PeerId, durationMs: number): void {
    this.#request({ kind: 'peer-drained', peer, drained: true }, () =>
      this.#clock.after(durationMs, () => this.#request({ kind: 'peer-drained', peer, drained: false }, () => {})),
    );
  }

  /** Something changed: a live stream looks at the jobs, at once or a little later. What it was told may not be taken back. */
  onChanged(): void {
    if (this.#isLooking || this.#watched.length === 0) return;
    this.#isLooking = true;
    this.#clock.after(this.#prng.exponential(LOOK_MS), () => {
      this.#isLooking = false;
      const askedAt = this.#checkers.moment;
      for (const job of this.#watched) this.#read(job, (status) => this.#checkers.onStatusSeen(job, status, askedAt));
    });
  }

  onReply(reply: Reply): void {
    const onAnswered = this.#waiting.get(reply.request);
    this.#waiting.delete(reply.request);
    onAnswered?.(reply);
  }

  get isWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** Sends a request until it is answered once; a request may thus be carried out more than once. */
  #request(draft: RequestDraft, onAnswered: (reply: Reply) => void): void {
    let answered = false;
    const once = (reply: Reply): void => {
      if (answered) return;
      answered = true;
      onAnswered(reply);
    };
    const attempt = (): void => {
      if (answered) return;
      const request = ++this.#requests;
      this.#waiting.set(request, once);
      this.#post({ ...draft, request });
      this.#clock.after(RETRY_MS + this.#prng.int(0, 1_000), () => {
        this.#waiting.delete(request);
        attempt();
      });
    };
    attempt();
  }

  #expectOk(reply: Reply): void {
    if (!reply.result.ok) throw new Violation(`a sound request was refused: ${reply.result.error.message}`);
  }
}
