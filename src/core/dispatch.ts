// Owns the forming of tasks: the plan decides where and how much, this cuts ranges and hands them out, takes tails back
// and starts second attempts.

import { defined } from '../lib/assert.ts';
import type { JobId, PeerId, StageId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import type { AssignedTask } from '../protocol/to-agent.ts';
import { takePending } from './line.ts';
import { askToShrink, pairTwins, startAttempt, stopSpare, type Start } from './attempt.ts';
import { toObservation } from './learn.ts';
import { estimateSpeed } from './schedule/estimate.ts';
import { guideFor } from './schedule/guide.ts';
import type { Draft } from './schedule/draft.ts';
import { plan } from './schedule/plan.ts';
import { planRescue } from './schedule/rescue.ts';
import { toView } from './schedule/view.ts';
import type { Attempt, Stage } from './state.ts';
import { send, type Turn } from './turn.ts';

type Batches = Map<PeerId, AssignedTask[]>;

/**
 * Hands out work after a batch of events, until the plan has nothing more to give: ranges with gaps are cut shorter than
 * planned, so one plan may leave something (INV-7).
 */
export function onTasksCalledFor(turn: Turn): void {
  if (turn.state.lines.size === 0) return;
  const batches: Batches = new Map();
  for (let draft = planNow(turn); handOut(turn, batches, draft) + lookAfter(turn, batches, draft) > 0;)
    draft = planNow(turn);
  for (const [peer, tasks] of batches) {
    for (const task of tasks) introduceJob(turn, peer, task.stage);
    send(turn, peer, { type: 'assign', tasks });
  }
}

function planNow({ state, at }: Turn): Draft {
  const view = toView(state, at);
  return plan(view, guideFor(state, view));
}

/** Carries out one plan; how many tasks it gave. */
function handOut(turn: Turn, batches: Batches, { assignments }: Draft): number {
  let given = 0;
  for (const { stage: stageId, peer, retry, itemsPerTask, tasks } of assignments) {
    const stage = defined(turn.state.stages.get(stageId), `stage ${stageId}`);
    const msPerItem = estimateSpeed(turn.state.estimates, toObservation(turn.state, stage, peer, turn.at))?.msPerItem;
    for (let i = 0; i < tasks; i++) {
      const taken = takeRange(stage, retry, itemsPerTask);
      if (!taken) break;
      const expected = msPerItem === undefined ? undefined : { expectedMs: msPerItem * (taken.end - taken.start) };
      addTask(batches, startAttempt(turn, stage, peer, { ...taken, ...expected }));
      given++;
    }
  }
  return given;
}

function takeRange(stage: Stage, retry: number | undefined, length: number): Start | undefined {
  if (retry === undefined) {
    const range = takePending(stage, length);
    return range && { ...range, tries: 0, why: 'fresh' };
  }
  stage.retrying.add(retry);
  const { start, end, tries }: Range & { tries: number } = defined(
    stage.retries.get(retry),
    `retry ${stage.id}@${retry}`,
  );
  return { start, end, tries, why: 'retry' };
}

/** Where the plan had nothing to give, asks slow peers for their tails and does late attempts twice; how often. */
function lookAfter(turn: Turn, batches: Batches, draft: Draft): number {
  const { state } = turn;
  if (draft.assignments.length > 0) return 0;
  const { reclaims, backups, spares } = planRescue(draft);
  for (const epoch of spares) stopSpare(turn, defined(state.attempts.get(epoch), `attempt ${epoch}`));
  for (const { epoch, until, meantFor } of reclaims)
    askToShrink(turn, defined(state.attempts.get(epoch), `attempt ${epoch}`), until, meantFor);
  for (const { epoch, peer, expectedMs } of backups) {
    const first = defined(state.attempts.get(epoch), `attempt ${epoch}`);
    const stage = defined(state.stages.get(first.stage), `stage ${first.stage}`);
    const { start, end, tries } = first;
    const second = startAttempt(turn, stage, peer, { start, end, tries, why: 'backup', expectedMs });
    pairTwins(state, first, second);
    state.counters.backups++;
    state.counters.backupMs += expectedMs;
    addTask(batches, second);
  }
  return reclaims.length + backups.length + spares.length;
}

function addTask(batches: Batches, { epoch, peer, stage, start, end }: Attempt): void {
  const tasks = batches.get(peer);
  if (tasks) tasks.push({ epoch, stage, start, end });
  else batches.set(peer, [{ epoch, stage, start, end }]);
}

/** Sends a job's signed spec once a link, before its first task. */
function introduceJob(turn: Turn, peer: PeerId, stageId: StageId): void {
  const jobId = stageId.slice(0, stageId.indexOf('/')) as JobId;
  const session = turn.state.sessions.get(peer);
  if (!session || session.knownJobs.has(jobId)) return;
  session.knownJobs.add(jobId);
  send(turn, peer, { type: 'job', job: jobId, envelope: defined(turn.state.jobs.get(jobId), `job ${jobId}`).envelope });
}
