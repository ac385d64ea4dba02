// Owns what is done for a stage of which nothing is left to hand out: the tail of a slow attempt is taken back for a
// peer that is idle, and only where that cannot be, a silent or late attempt is done twice. Pure; asks nobody itself.

import type { Epoch, PeerId, StageId } from '../../lib/ids.ts';
import { checkFeasible } from './feasible.ts';
import { expectedMs, promise, type Candidate, type Draft } from './draft.ts';
import { MIN_TASK_MS } from './share.ts';
import type { AttemptView } from './held.ts';

/** Ask for what lies behind `until`, for another peer; everything, when `until` is the attempt's start. */
export type Reclaim = { readonly epoch: Epoch; readonly until: number; readonly meantFor: PeerId };

/** Do a range a second time. */
export type Backup = {
  readonly epoch: Epoch;
  readonly stage: StageId;
  readonly peer: PeerId;
  readonly expectedMs: number;
};

export type Rescue = {
  readonly reclaims: readonly Reclaim[];
  readonly backups: readonly Backup[];
  /** Backups that are late themselves: stopped, so that another peer may try. */
  readonly spares: readonly Epoch[];
};

/** A second attempt must be expected to end in less than this share of what the first still needs. */
const BACKUP_GAIN = 0.7;
/** Tasks of this many target lengths may be backed up before any device time is on the books. */
const FIRST_BACKUPS = 4;

/** Looks for work for peers that the plan left idle. */
export function planRescue(draft: Draft): Rescue {
  const { limits } = draft.view;
  const idle = draft.candidates.filter(isIdle);
  if (idle.length === 0 || draft.view.lines.length === 0) return { reclaims: [], backups: [], spares: [] };
  const victims = draft.candidates.map((candidate): Victim => ({ candidate, leftMs: candidate.queuedMs })).sort(byLeft);
  let late: readonly AttemptView[] | undefined;
  const reclaims: Reclaim[] = [];
  const backups: Backup[] = [];
  for (const thief of idle) {
    const taken = limits.stealing ? steal(draft, victims, thief) : [];
    reclaims.push(...taken);
    if (taken.length > 0) victims.sort(byLeft);
    if (taken.length > 0 || !limits.backups) continue;
    late ??= [...lateAttempts(draft)];
    const backup = backUp(draft, thief, late, backups);
    if (backup) backups.push(backup);
  }
  const spares = (late ?? []).filter(({ isBackup }) => isBackup).slice(0, idle.length - backups.length);
  return { reclaims, backups, spares: spares.map(({ epoch }) => epoch) };
}

/** The one that is busy longest first. */
function byLeft(a: Victim, b: Victim): number {
  return b.leftMs - a.leftMs || (a.candidate.peer.id < b.candidate.peer.id ? -1 : 1);
}

function isIdle({ peer, freeSlots, held, queuedMs }: Candidate): boolean {
  return freeSlots > 0 && held === 0 && queuedMs < MIN_TASK_MS && !peer.drained && !peer.quarantine;
}

type Victim = { readonly candidate: Candidate; leftMs: number };

/**
 * Takes from the peer that is busy longest, until both would end together: with the thief `ratio` times as slow, of the
 * difference d the part d / (1 + ratio). Whole attempts that have not begun go first, from the end.
 */
function steal(draft: Draft, victims: readonly Victim[], thief: Candidate): Reclaim[] {
  for (const victim of victims) {
    if (victim.candidate === thief) continue;
    if (victim.leftMs - thief.queuedMs < MIN_TASK_MS) return [];
    const taken = takeFrom(draft, victim, thief);
    if (taken.length > 0) return taken;
  }
  return [];
}

function takeFrom(draft: Draft, victim: Victim, thief: Candidate): Reclaim[] {
  const taken: Reclaim[] = [];
  for (const attempt of draft.view.heldBy(victim.candidate.peer.id).toReversed()) {
    const { stage, epoch, start, end } = attempt;
    if (!attempt.divisible || checkFeasible(stage, thief.peer)) continue;
    const victimMs = perItemMs(attempt);
    const thiefMs = expectedMs(stage, thief.peer);
    const setupMs = thief.held === 0 ? stage.setupMs(thief.peer.id) : 0;
    const worthMs = (victim.leftMs - thief.queuedMs - setupMs) / (1 + thiefMs / victimMs);
    const items = Math.min(Math.floor(worthMs / victimMs), end - firstFree(attempt));
    if (items < 1 || worthMs < MIN_TASK_MS) break;
    taken.push({ epoch, until: Math.max(start, end - items), meantFor: thief.peer.id });
    victim.leftMs -= items * victimMs;
    promise(draft, thief, items * thiefMs + setupMs, 0);
    thief.held++;
  }
  return taken;
}

/** The first item that has surely not been begun: all of an attempt that waits, the item after the next of one that runs. */
function firstFree({ start, cursor, end, running }: AttemptView): number {
  return running ? Math.min(end, cursor + 1) : start;
}

/** At the speed it is seen to run, not at the one it was given for. */
function perItemMs({ remainingMs, cursor, end }: AttemptView): number {
  return Math.max(0.001, remainingMs / Math.max(1, end - cursor));
}

/** Does the attempt a second time that would otherwise end last, if that is expected to help and may be afforded. */
function backUp(
  draft: Draft,
  thief: Candidate,
  late: readonly AttemptView[],
  planned: readonly Backup[],
): Backup | undefined {
  let best: { readonly attempt: AttemptView; readonly gainMs: number; readonly ownMs: number } | undefined;
  for (const attempt of late) {
    if (attempt.hasTwin || attempt.peer === thief.peer.id || planned.some(({ epoch }) => epoch === attempt.epoch))
      continue;
    if (checkFeasible(attempt.stage, thief.peer)) continue;
    const { stage, start, end } = attempt;
    const ownMs = expectedMs(stage, thief.peer) * (end - start) + stage.setupMs(thief.peer.id);
    const gainMs = BACKUP_GAIN * attempt.remainingMs - ownMs;
    if (gainMs > (best?.gainMs ?? 0) && isAffordable(draft, ownMs)) best = { attempt, gainMs, ownMs };
  }
  if (!best) return undefined;
  const { attempt, ownMs } = best;
  promise(draft, thief, ownMs, 1);
  return { epoch: attempt.epoch, stage: attempt.stage.id, peer: thief.peer.id, expectedMs: ownMs };
}

/** What silent peers hold, and what runs elsewhere for longer than anybody expected. */
function* lateAttempts({ view }: Draft): Generator<AttemptView> {
  for (const peer of view.silent) yield* view.heldBy(peer);
  for (const { id } of view.peers) {
    const head = view.headOf(id);
    if (head?.late === true) yield head;
  }
}

function isAffordable({ view }: Draft, costMs: number): boolean {
  const { backupShare, targetTaskMs } = view.limits;
  return view.backupMs + costMs <= backupShare * view.spentMs + FIRST_BACKUPS * Math.max(targetTaskMs, costMs);
}
