// Owns the invariants that can be read off a state (INV-1, 2, 3, 7, 8 and the bookkeeping beneath them). Returns what is
// wrong, in words; the simulator, tests and debug builds call it. Comparison with the store (INV-9) is the caller's.

import type { KeyId } from '../lib/ids.ts';
import { RangeSet, type Range } from '../lib/range-set.ts';
import { twinOf } from './attempt.ts';
import { explain } from './schedule/explain.ts';
import { isEnded } from './job.ts';
import type { Stage, State } from './state.ts';

/** Every violation found, empty when the state is sound. */
export function checkInvariants(state: State): string[] {
  return [
    ...checkStages(state),
    ...checkAttempts(state),
    ...checkSessions(state),
    ...checkLines(state),
    ...checkTallies(state),
    ...checkJobs(state),
  ];
}

/** INV-7, after a `schedule` event: whatever could run and does not has a reason. */
export function checkNothingIdle(state: State, at: number): string[] {
  const violations: string[] = [];
  for (const stage of state.stages.values()) {
    const explanation = explain(state, stage.id, at);
    if (explanation?.kind !== 'peers') continue;
    const connected = [...state.sessions.values()].filter((session) => session.connected).length;
    if (explanation.obstacles.length < connected)
      violations.push(`INV-7: stage ${stage.id} could run on a free peer and does not`);
  }
  return violations;
}

/** Items of a stage are finished, failed, set aside, running or pending: exactly one of these (INV-1). */
function* checkStages(state: State): Generator<string> {
  for (const stage of state.stages.values()) {
    const seen = new RangeSet();
    for (const [what, range] of claims(state, stage)) {
      if (range.start < 0 || range.end > stage.itemCount || range.start >= range.end)
        yield `INV-1: ${what} [${range.start}, ${range.end}) lies outside stage ${stage.id}`;
      else if (seen.overlaps(range))
        yield `INV-1: ${what} [${range.start}, ${range.end}) of stage ${stage.id} is claimed twice`;
      else seen.add(range);
    }
    if (seen.size !== stage.itemCount)
      yield `INV-1: stage ${stage.id} has ${stage.itemCount} items, ${seen.size} accounted for`;
    for (const part of stage.parts.values())
      if (!stage.finished.covers(part)) yield `INV-1: part ${stage.id}@${part.start} is of items not accepted`;
  }
}

function* claims(state: State, stage: Stage): Generator<readonly [string, Range]> {
  for (const range of stage.finished) yield ['finished', range];
  for (const range of stage.pending) yield ['pending', range];
  for (const retry of stage.retries.values()) yield ['retry', retry];
  for (const { item } of stage.failures.values()) yield ['failure', { start: item, end: item + 1 }];
  for (const epoch of stage.running) {
    const attempt = state.attempts.get(epoch);
    if (!attempt || attempt.spare || stage.retrying.has(attempt.start) || stage.finished.overlaps(attempt)) continue;
    // Twins run the same range: the one that was first stands for both.
    const twin = twinOf(state, attempt);
    if (!twin || attempt.assignedAt < twin.assignedAt || attempt.why !== 'backup') yield ['attempt', attempt];
  }
}

function* checkAttempts(state: State): Generator<string> {
  for (const attempt of state.attempts.values()) {
    const session = state.sessions.get(attempt.peer);
    if (!session?.attempts.has(attempt.epoch)) yield `INV-3: attempt ${attempt.epoch} has no session that holds it`;
    if (!state.stages.get(attempt.stage)?.running.has(attempt.epoch))
      yield `INV-3: attempt ${attempt.epoch} is not in its stage`;
    if ((attempt.shrink !== undefined) !== state.shrinking.has(attempt.epoch))
      yield `attempt ${attempt.epoch} is ${attempt.shrink ? '' : 'not '}asked to shrink, and not counted so`;
    if (attempt.cursor < attempt.start || attempt.cursor > attempt.end)
      yield `attempt ${attempt.epoch} has its cursor outside its range`;
  }
}

function* checkSessions(state: State): Generator<string> {
  for (const session of state.sessions.values()) {
    if (session.attempts.size > session.backlog)
      yield `INV-2: peer ${session.peer} holds ${session.attempts.size} attempts of ${session.backlog}`;
    const presentBytes = Math.max(...session.devices.map((device) => device.memoryBytes));
    const load = new Map<string, number>();
    for (const epoch of session.attempts) {
      const attempt = state.attempts.get(epoch);
      if (!attempt) {
        yield `INV-3: peer ${session.peer} holds ${epoch}, which does not exist`;
        continue;
      }
      const neededBytes = state.stages.get(attempt.stage)?.spec.memoryBytes ?? 0;
      if (neededBytes > presentBytes)
        yield `INV-2: attempt ${epoch} needs ${neededBytes} bytes, peer ${session.peer} has ${presentBytes}`;
      load.set(attempt.stage, (load.get(attempt.stage) ?? 0) + attempt.end - attempt.cursor);
    }
    for (const [stage, items] of session.load)
      if (items !== (load.get(stage) ?? 0))
        yield `peer ${session.peer} is charged ${items} items of ${stage}, holds ${load.get(stage) ?? 0}`;
  }
}

/** Who stands in line is exactly what may be handed out, and in order. */
function* checkLines(state: State): Generator<string> {
  for (const stage of state.stages.values()) {
    const job = state.jobs.get(stage.jobId);
    const belongs = job?.status.kind === 'running' && stage.record.status.kind === 'running';
    if (belongs !== (stage.line !== undefined)) yield `stage ${stage.id} ${belongs ? 'misses in' : 'stands in'} line`;
    const isThere = job && stage.line && state.lines.get(job.submitter)?.entries.includes(stage.line);
    if (stage.line && isThere !== true) yield `stage ${stage.id} has a place in a line that does not have it`;
    if (
      stage.line &&
      stage.line.tally !== state.lines.get(job?.submitter ?? ('' as KeyId))?.classes.get(stage.workClass)
    )
      yield `stage ${stage.id} is counted with another class of work`;
    if (stage.retries.size > 0 !== state.retrying.has(stage.id)) yield `stage ${stage.id} has its retries miscounted`;
  }
}

function* checkTallies(state: State): Generator<string> {
  for (const [submitter, { entries, classes }] of state.lines) {
    const sums = new Map<string, { stages: number; pending: number }>();
    for (const { stage } of entries) {
      const { stages, pending } = sums.get(stage.workClass) ?? { stages: 0, pending: 0 };
      sums.set(stage.workClass, { stages: stages + 1, pending: pending + stage.pending.size });
    }
    for (const [workClass, { stages, pending }] of classes)
      if (sums.get(workClass)?.stages !== stages || sums.get(workClass)?.pending !== pending)
        yield `the line of ${submitter} counts ${stages} stages and ${pending} items of ${workClass}, and has others`;
  }
}

function* checkJobs(state: State): Generator<string> {
  for (const job of state.jobs.values()) {
    if (isEnded(job.status) === state.activeJobs.has(job.id)) yield `job ${job.id} is ${job.status.kind}, miscounted`;
    if (!isEnded(job.status)) continue;
    for (const { name } of job.spec.stages)
      for (const epoch of state.stages.get(`${job.id}/${name}` as Stage['id'])?.running ?? [])
        if (!state.attempts.get(epoch)?.canceled)
          yield `INV-8: job ${job.id} is ${job.status.kind} and attempt ${epoch} goes on`;
  }
}
