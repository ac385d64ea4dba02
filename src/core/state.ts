// Owns the shape of the coordinator's state: plain data, containers that mutate and records that are replaced.
// Knows nothing of how it is stored or sent. What is durable is a record with a kind (see record.ts); the rest,
// sessions and attempts, is rebuilt from what agents say when they come back.

import type { Epoch, JobId, KeyId, PeerId, StageId } from '../lib/ids.ts';
import type { Range, RangeSet } from '../lib/range-set.ts';
import type { Device } from '../protocol/device.ts';
import type { JobSpec, StageSpec } from '../protocol/job-spec.ts';
import type { Role } from '../protocol/roster.ts';
import type { ReportedPart } from '../protocol/to-coordinator.ts';
import type { LedgerRecord, UsageRecord } from './ledger.ts';
import type { PeerHealth } from './health.ts';
import type { Line, LineEntry } from './line.ts';
import type { PresenceRecord } from './presence.ts';
import { createEstimateBook, type Estimate, type EstimateBook } from './schedule/estimate.ts';
import type { Guide } from './schedule/guide.ts';
import type { Prediction } from './schedule/forecast.ts';
import type { StartReason } from './trace.ts';

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

/** Durable: how much somebody gets beside the others, as an admin set it. */
export type WeightRecord = { readonly id: KeyId; readonly weight: number };

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
  /** Names of work that costs the same, and of work that is akin: what estimates are kept by. */
  readonly workClass: string;
  readonly family: string;
  record: StageRecord;
  /** Its place in its submitter's line while it may be handed out. */
  line: LineEntry | undefined;
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
  readonly why: StartReason;
  readonly assignedAt: number;
  readonly cursor: number;
  /** When the cursor last moved. */
  readonly cursorAt: number;
  /** The peer was asked to keep to `until`; the rest is meant for another. Cleared by its answer. */
  readonly shrink?: { readonly until: number; readonly at: number; readonly meantFor: PeerId };
  /** The other attempt at the same range, while both run: the first valid result wins. */
  readonly twin?: Epoch;
  /** Stopped while its twin goes on: its range is not its to give back. */
  readonly spare?: true;
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
  readonly protocol: number;
  /** What holds its runners, as it says. */
  readonly sandbox?: string;
  readonly labels: readonly string[];
  /** Whose machine it is, as it says: the jobs of this key come first on it. */
  readonly owner?: KeyId;
  /** From the device table: log of how slow its best device is believed to be. */
  readonly logSlowness: number;
  /** What it measured last; absent until it tells. */
  readonly freeMemoryBytes?: number;
  readonly freeDiskBytes?: number;
  /** Classes of work whose runner is warm, and since when it was last used. */
  readonly warm: Map<string, number>;
  /** Its presence is on the books until here. */
  readonly presentSince: number;
  /** When its oldest attempt can have begun to run. */
  readonly headSince: number;
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
  stolen: number;
  backups: number;
  /** Second results of a range that had the same bytes as the first, and that had others. */
  samplesEqual: number;
  samplesUnlike: number;
  /** Device time of all that has ended, and of second attempts as it was expected when they began. */
  spentMs: number;
  backupMs: number;
};

export type State = {
  /** Written once per start: with a counter it makes epochs that no earlier run gave out. */
  readonly incarnation: number;
  readonly limits: Limits;
  attemptCounter: number;
  readonly peers: Map<PeerId, PeerRecord>;
  readonly members: Map<KeyId, MemberRecord>;
  readonly invites: Map<KeyId, InviteRecord>;
  readonly weights: Map<KeyId, WeightRecord>;
  readonly jobs: Map<JobId, JobRecord>;
  /** Jobs that have not ended: derived from jobs, which are kept. */
  readonly activeJobs: Set<JobId>;
  readonly stages: Map<StageId, Stage>;
  /** `<submitter>/<client key>` → job: derived from jobs. */
  readonly submissions: Map<string, JobId>;
  readonly sessions: Map<PeerId, Session>;
  readonly attempts: Map<Epoch, Attempt>;
  /** Stages that have retries. */
  readonly retrying: Set<StageId>;
  /** Attempts that were asked to give their tail up and have not answered. */
  readonly shrinking: Set<Epoch>;
  /** Running stages of running jobs, in the order in which they are served, by submitter. */
  readonly lines: Map<KeyId, Line>;
  /** The scheduler's memory, and what of it is durable. */
  readonly estimates: EstimateBook;
  readonly savedEstimates: Map<string, Estimate>;
  /** What each peer should do most of; made anew now and then. Derived. */
  guide: Guide | undefined;
  readonly health: Map<PeerId, PeerHealth>;
  readonly presence: Map<PeerId, PresenceRecord>;
  /** Who gave and who took, by week. */
  readonly ledger: Map<string, LedgerRecord>;
  /** Device time that each job has used. */
  readonly usage: Map<JobId, UsageRecord>;
  /** How predictions of jobs' ends went, as ln(real / predicted), and those that are still to come true. */
  forecastErrors: readonly number[];
  readonly predictions: Map<JobId, Prediction>;
  /** What each submitter has had of late: normalised device time that fades. */
  readonly shares: Map<KeyId, Share>;
  readonly counters: Counters;
};

/** A sum of normalised device ms that fades; `at` is when it was last brought up to date. */
export type Share = { readonly ms: number; readonly at: number };

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
  /** Whether tails of slow attempts are taken back, and silent or late ones done twice; both only when nothing else is left. */
  readonly stealing: boolean;
  readonly backups: boolean;
  /** The most of all device time that backups may cost. */
  readonly backupShare: number;
};

export const DEFAULT_LIMITS: Limits = {
  heartbeatMs: 5_000,
  leaseMs: 15_000,
  retryBackoffMs: 1_000,
  maxPeers: 1_000,
  maxActiveJobs: 10_000,
  targetTaskMs: 3_000,
  stealing: true,
  backups: true,
  backupShare: 0.048,
};

export function createState(incarnation: number, limits: Limits = DEFAULT_LIMITS): State {
  return {
    incarnation,
    limits,
    attemptCounter: 0,
    peers: new Map(),
    members: new Map(),
    invites: new Map(),
    weights: new Map(),
    jobs: new Map(),
    activeJobs: new Set(),
    stages: new Map(),
    submissions: new Map(),
    sessions: new Map(),
    attempts: new Map(),
    retrying: new Set(),
    shrinking: new Set(),
    lines: new Map(),
    estimates: createEstimateBook(),
    savedEstimates: new Map(),
    guide: undefined,
    health: new Map(),
    presence: new Map(),
    ledger: new Map(),
    usage: new Map(),
    forecastErrors: [],
    predictions: new Map(),
    shares: new Map(),
    counters: {
      accepted: 0,
      duplicatesDropped: 0,
      staleDropped: 0,
      retried: 0,
      lost: 0,
      failedItems: 0,
      adopted: 0,
      fenced: 0,
      stolen: 0,
      backups: 0,
      samplesEqual: 0,
      samplesUnlike: 0,
      spentMs: 0,
      backupMs: 0,
    },
  };
}
