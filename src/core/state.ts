// Owns the shape of the coordinator's state: plain data, containers that mutate and records that are replaced.
// Knows nothing of how it is stored or sent. What is durable is a record with a kind (see record.ts); the rest,
// sessions and attempts, is rebuilt from what agents say when they come back.

import type { Epoch, JobId, KeyId, PeerId, StageId } from '../lib/ids.ts';
import type { Range, RangeSet } from '../lib/range-set.ts';
import type { Device } from '../protocol/device.ts';
import type { JobSpec, StageSpec } from '../protocol/job-spec.ts';
import type { Role } from '../protocol/roster.ts';
import type { ReportedPart } from '../protocol/to-coordinator.ts';

/** Durable: a machine that joined. */
export type PeerRecord = {
  readonly id: PeerId;
  readonly name: string;
  readonly joinedAt: number;
  /** A drained peer finishes what it has and gets nothing new. */
  readonly drained: boolean;
};

/** Durable: how often an invite has been used, and by whom. */
export type InviteRecord = {
  readonly id: KeyId;
  readonly maxUses: number;
  readonly expiresAt: number;
  readonly usedBy: readonly KeyId[];
};

/** Durable: a person or peer that may talk to the coordinator, in the role an admin's signature gave. */
export type MemberRecord = {
  readonly id: KeyId;
  readonly name: string;
  readonly role: Role;
  readonly joinedAt: number;
};

export type JobStatus =
  | { readonly kind: 'running' }
  | { readonly kind: 'paused'; readonly by: KeyId }
  | { readonly kind: 'completed'; readonly at: number; readonly failedItems: number }
  | { readonly kind: 'canceled'; readonly at: number; readonly by: KeyId }
  | { readonly kind: 'failed'; readonly at: number; readonly reason: string };

/** Durable: an accepted submission. The envelope is kept as it came, so that agents can check the signature. */
export type JobRecord = {
  readonly id: JobId;
  readonly submitter: KeyId;
  readonly submittedAt: number;
  readonly spec: JobSpec;
  readonly envelope: string;
  readonly priority: number;
  readonly status: JobStatus;
};

export type StageStatus =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'running'; readonly since: number }
  | { readonly kind: 'finished'; readonly at: number };

/** Durable: a stage's own status. Its finished ranges, parts, retries and failures are records beside it. */
export type StageRecord = {
  readonly id: StageId;
  readonly jobId: JobId;
  readonly status: StageStatus;
};

/** Durable: a result part, the bytes of one accepted range. */
export type PartRecord = Range & {
  readonly stage: StageId;
  readonly peer: PeerId;
  readonly part?: ReportedPart;
  readonly inline?: string;
};

/** Durable: a range that failed and is tried again, alone, not before a time. */
export type RetryRecord = Range & {
  readonly stage: StageId;
  readonly tries: number;
  readonly notBefore: number;
  readonly reason: string;
  /** Where it failed last: another peer is tried first. */
  readonly peer: PeerId;
};

/** Durable: an item that failed as often as the spec allows. */
export type FailureRecord = {
  readonly stage: StageId;
  readonly item: number;
  readonly tries: number;
  readonly reason: string;
};

/** A stage in memory: its record and the sets that its durable neighbours imply. */
export type Stage = {
  readonly id: StageId;
  readonly jobId: JobId;
  readonly spec: StageSpec;
  readonly itemCount: number;
  record: StageRecord;
  /** Accepted items; durable, one record per disjoint range. */
  readonly finished: RangeSet;
  /** Items nobody has: the rest after finished, failed, retries and running. Not durable: derived. */
  readonly pending: RangeSet;
  readonly parts: Map<number, PartRecord>;
  readonly retries: Map<number, RetryRecord>;
  /** Starts of retries that an attempt holds right now. */
  readonly retrying: Set<number>;
  readonly failures: Map<number, FailureRecord>;
  /** Accepted items by peer, as far as parts tell after a restart: for people, not for decisions. */
  readonly doneBy: Map<PeerId, number>;
  readonly running: Set<Epoch>;
  /** Peers that said they cannot run this stage, with their reason. */
  readonly refusals: Map<PeerId, string>;
};

/** One execution of a range on one peer. Not durable. */
export type Attempt = Range & {
  readonly epoch: Epoch;
  readonly stage: StageId;
  readonly peer: PeerId;
  readonly tries: number;
  readonly assignedAt: number;
  readonly cursor: number;
  /** Set when its stop was asked for: the outcome no longer counts. */
  readonly canceled: boolean;
};

/** A live link to a peer. Not durable. */
export type Session = {
  readonly peer: PeerId;
  /** Names the link: messages of an older one are ignored. */
  readonly link: number;
  readonly devices: readonly Device[];
  readonly backlog: number;
  readonly version: string;
  /** What holds its runners, as it says. */
  readonly sandbox?: string;
  /** When the peer was last heard, in the coordinator's time. */
  readonly lastSeenAt: number;
  /** False while the connection is down and the lease still runs. */
  readonly connected: boolean;
  readonly attempts: Set<Epoch>;
  /** Items assigned and not yet passed by a cursor, by stage: what the peer still has to do. */
  readonly load: Map<StageId, number>;
  /** Jobs whose envelope was sent over this link. */
  readonly knownJobs: Set<JobId>;
};

export type Counters = {
  accepted: number;
  duplicatesDropped: number;
  staleDropped: number;
  retried: number;
  lost: number;
  failedItems: number;
  adopted: number;
  fenced: number;
};

export type State = {
  /** Written once per start: with a counter it makes epochs that no earlier run gave out. */
  readonly incarnation: number;
  readonly limits: Limits;
  attemptCounter: number;
  readonly peers: Map<PeerId, PeerRecord>;
  readonly members: Map<KeyId, MemberRecord>;
  readonly invites: Map<KeyId, InviteRecord>;
  readonly jobs: Map<JobId, JobRecord>;
  /** Jobs that have not ended: derived from jobs, which are kept. */
  readonly activeJobs: Set<JobId>;
  readonly stages: Map<StageId, Stage>;
  /** `<submitter>/<client key>` → job: derived from jobs. */
  readonly submissions: Map<string, JobId>;
  readonly sessions: Map<PeerId, Session>;
  readonly attempts: Map<Epoch, Attempt>;
  /** Natural log of ms per item, by `<workload>|<peer>` and `<workload>`: the scheduler's memory. */
  readonly speeds: Map<string, Speed>;
  readonly counters: Counters;
};

/** A running mean of log(ms per item). */
export type Speed = { readonly logMsPerItem: number; readonly weight: number };

/** Bounds that a test or an operator may change. */
export type Limits = {
  readonly heartbeatMs: number;
  /** Silence after which a peer's work is given to others. */
  readonly leaseMs: number;
  readonly retryBackoffMs: number;
  readonly maxPeers: number;
  readonly maxActiveJobs: number;
  /** The running time aimed at for one task. */
  readonly targetTaskMs: number;
};

export const DEFAULT_LIMITS: Limits = {
  heartbeatMs: 5_000,
  leaseMs: 15_000,
  retryBackoffMs: 1_000,
  maxPeers: 1_000,
  maxActiveJobs: 10_000,
  targetTaskMs: 3_000,
};

export function createState(incarnation: number, limits: Limits = DEFAULT_LIMITS): State {
  return {
    incarnation,
    limits,
    attemptCounter: 0,
    peers: new Map(),
    members: new Map(),
    invites: new Map(),
    jobs: new Map(),
    activeJobs: new Set(),
    stages: new Map(),
    submissions: new Map(),
    sessions: new Map(),
    attempts: new Map(),
    speeds: new Map(),
    counters: {
      accepted: 0,
      duplicatesDropped: 0,
      staleDropped: 0,
      retried: 0,
      lost: 0,
      failedItems: 0,
      adopted: 0,
      fenced: 0,
    },
  };
}
