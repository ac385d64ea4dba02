// Owns what clients were told about jobs, and the check that it is linearizable (Herlihy and Wing 1990): as if each
// request had taken effect at one moment between its asking and its answer. A job goes from absent to open to ended and
// never back, so it is enough that no answer lies behind one that was given before its question.

import type { JobStatus } from '../core/state.ts';
import type { JobId } from '../lib/ids.ts';

/** How far a job was known to be since a moment. */
type Fact = { readonly since: number; readonly rank: 0 | 1 | 2; readonly text: string };

const ABSENT: Fact = { since: 0, rank: 0, text: 'absent' };

export class ClientHistory {
  readonly #facts = new Map<JobId, Fact[]>();
  /** Counts answers: moments in the order in which clients live through them. */
  #moment = 0;

  get moment(): number {
    return this.#moment;
  }

  /** A submission was acknowledged: the job is there from now on, however far it is. */
  noteSubmitted(job: JobId): void {
    const facts = this.#facts.get(job) ?? [ABSENT];
    if (facts.length === 1) facts.push({ since: ++this.#moment, rank: 1, text: 'open' });
    this.#facts.set(job, facts);
  }

  /** An answer about a job whose question was asked at `askedAt`; what is wrong with it, or undefined. */
  take(job: JobId, status: JobStatus | undefined, askedAt: number): string | undefined {
    const told = toFact(status, ++this.#moment);
    const facts = this.#facts.get(job) ?? [ABSENT];
    this.#facts.set(job, facts);
    const known = facts.findLast(({ since }) => since <= askedAt) ?? ABSENT;
    const newest = facts.at(-1) ?? ABSENT;
    const isBack = told.rank < known.rank || (known.rank === 2 && told.text !== known.text);
    if (told.rank > newest.rank) facts.push(told);
    else if (told.rank === 2 && told.text !== newest.text) return `${job} was seen ${newest.text}, then ${told.text}`;
    return isBack
      ? `${job} was known to be ${known.text}, and a later question was answered by ${told.text}`
      : undefined;
  }
}

function toFact(status: JobStatus | undefined, since: number): Fact {
  if (!status) return { ...ABSENT, since };
  const isOpen = status.kind === 'running' || status.kind === 'paused';
  return { since, rank: isOpen ? 1 : 2, text: isOpen ? 'open' : status.kind };
}
