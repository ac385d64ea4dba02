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

/** Hands out work after a batch of events: the plan decides where and how much, this forms the tasks. */
export function onTasksCalledFor(turn: Turn): void {
  const batches = new Map<PeerId, AssignedTask[]>();
  for (const assignment of plan(toView(turn.state, turn.at))) {
    const stage = defined(turn.state.stages.get(assignment.stage), `stage ${assignment.stage}`);
    for (let i = 0; i < assignment.tasks; i++) {
      const taken = takeRange(stage, assignment.retry, assignment.itemsPerTask);
      if (!taken) break;
      const attempt = startAttempt(turn.state, stage, assignment.peer, taken, taken.tries, turn.at);
      addTask(batches, attempt);
    }
  }
  for (const [peer, tasks] of batches) {
    for (const task of tasks) introduceJob(turn, peer, task.stage);
    send(turn, peer, { type: 'assign', tasks });
  }
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
