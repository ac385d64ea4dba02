// Owns the forming of tasks: the plan decides where and how much, this cuts ranges and hands them out.

import { defined } from '../lib/assert.ts';
import type { JobId, PeerId, StageId } from '../lib/ids.ts';
import type { Range } from '../lib/range-set.ts';
import type { AssignedTask } from '../protocol/to-agent.ts';
import { startAttempt } from './attempt.ts';
import { plan } from './schedule/plan.ts';
import { toView } from './schedule/view.ts';
import type { Attempt, Stage } from './state.ts';
import { send, type Turn } from './turn.ts';

/**
 * Hands out work after a batch of events, until the plan has nothing more to give: ranges with gaps are cut shorter than
 * planned, so one plan may leave something (INV-7).
 */
export function onTasksCalledFor(turn: Turn): void {
  const batches = new Map<PeerId, AssignedTask[]>();
  while (handOut(turn, batches) > 0);
  for (const [peer, tasks] of batches) {
    for (const task of tasks) introduceJob(turn, peer, task.stage);
    send(turn, peer, { type: 'assign', tasks });
  }
}

/** Carries out one plan; how many tasks it gave. */
function handOut(turn: Turn, batches: Map<PeerId, AssignedTask[]>): number {
  const { state, at } = turn;
  let given = 0;
  for (const assignment of plan(toView(state, at))) {
    const stage = defined(state.stages.get(assignment.stage), `stage ${assignment.stage}`);
    for (let i = 0; i < assignment.tasks; i++) {
      const taken = takeRange(stage, assignment.retry, assignment.itemsPerTask);
      if (!taken) break;
      addTask(
        batches,
        startAttempt(turn, stage, assignment.peer, taken, assignment.retry === undefined ? 'fresh' : 'retry'),
      );
      given++;
    }
  }
  return given;
}

function takeRange(stage: Stage, retry: number | undefined, length: number): (Range & { tries: number }) | undefined {
  if (retry === undefined) {
    const range = stage.pending.takeFirst(length);
    return range && { ...range, tries: 0 };
  }
  stage.retrying.add(retry);
  return defined(stage.retries.get(retry), `retry ${stage.id}@${retry}`);
}

function addTask(batches: Map<PeerId, AssignedTask[]>, { epoch, peer, stage, start, end }: Attempt): void {
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
