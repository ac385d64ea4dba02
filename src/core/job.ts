// Owns jobs: submission, cancel, pause, priority, and how the end of a stage moves the DAG. Knows nothing of who
// checked the signature, nor of how work is spread.

import { toStageId, type JobId } from '../lib/ids.ts';
import type { EventBody } from './event.ts';
import { toRecord } from './record.ts';
import { lineUpJob } from './line.ts';
import { judgePrediction } from './schedule/forecast.ts';
import { addStages, startReadyStages } from './stage.ts';
import { stopAttempts } from './attempt.ts';
import type { JobRecord, JobStatus, State } from './state.ts';
import { put, refuse, reply, type Turn } from './turn.ts';

type EventOf<K extends EventBody['kind']> = Extract<EventBody, { kind: K }>;

export function isEnded(status: JobStatus): boolean {
  return status.kind === 'completed' || status.kind === 'canceled' || status.kind === 'failed';
}

/** Accepts a job once: the same submitter and client key get the same job, another spec under that key a conflict. */
export function onJobSubmitted(turn: Turn, event: EventOf<'job-submitted'>): void {
  const { state, at } = turn;
  const submission = submissionKey(event.submitter, event.spec.clientKey);
  const earlier = state.submissions.get(submission);
  if (earlier === event.jobId) return reply(turn, event.request, earlier, false);
  if (earlier)
    return refuse(
      turn,
      event.request,
      'conflict',
      `client key "${event.spec.clientKey}" already names job ${earlier}, which has another spec; use a new key`,
    );
  const { deadlineAt } = event.spec;
  if (deadlineAt !== undefined && deadlineAt <= at)
    return refuse(
      turn,
      event.request,
      'bad-input',
      'the deadline has passed; submit the job with a later one or with none',
    );
  if (state.jobs.has(event.jobId))
    return refuse(turn, event.request, 'conflict', `job ${event.jobId} exists and was submitted by someone else`);
  if (state.activeJobs.size >= state.limits.maxActiveJobs)
    return refuse(
      turn,
      event.request,
      'quota-exceeded',
      `${state.limits.maxActiveJobs} jobs are active; wait for some to end or cancel them`,
    );
  const job: JobRecord = {
    id: event.jobId,
    submitter: event.submitter,
    submittedAt: at,
    spec: event.spec,
    envelope: event.envelope,
    priority: event.spec.priority,
    status: { kind: 'running' },
  };
  saveJob(turn, job);
  addStages(turn, job);
  startReadyStages(turn, job);
  lineUpJob(state, job);
  reply(turn, event.request, job.id, true);
}

function submissionKey(submitter: string, clientKey: string): string {
  return `${submitter}/${clientKey}`;
}

export function onJobCanceled(turn: Turn, event: EventOf<'job-canceled'>): void {
  changeStatus(turn, event, (job) => {
    endJob(turn, job, { kind: 'canceled', at: turn.at, by: event.by });
    return true;
  });
}

/** A paused job's running tasks finish; nothing new starts. */
export function onJobPaused(turn: Turn, event: EventOf<'job-paused'>): void {
  changeStatus(turn, event, (job) => {
    if (job.status.kind === 'paused') return false;
    saveJob(turn, { ...job, status: { kind: 'paused', by: event.by } });
    return true;
  });
}

export function onJobResumed(turn: Turn, event: EventOf<'job-resumed'>): void {
  changeStatus(turn, event, (job) => {
    if (job.status.kind === 'running') return false;
    saveJob(turn, { ...job, status: { kind: 'running' } });
    return true;
  });
}

export function onJobPrioritySet(turn: Turn, event: EventOf<'job-priority-set'>): void {
  changeStatus(turn, event, (job) => {
    if (job.priority === event.priority) return false;
    saveJob(turn, { ...job, priority: event.priority });
    return true;
  });
}

/** Applies `change` to a job that has not ended. Canceling a canceled job again is no error and changes nothing. */
function changeStatus(
  turn: Turn,
  event: { readonly kind: string; readonly request: number; readonly jobId: JobId },
  change: (job: JobRecord) => boolean,
): void {
  const job = turn.state.jobs.get(event.jobId);
  if (!job) return refuse(turn, event.request, 'not-found', `there is no job ${event.jobId}; swarm jobs lists them`);
  if (!isEnded(job.status)) return reply(turn, event.request, job.id, change(job));
  if (event.kind === 'job-canceled' && job.status.kind === 'canceled') return reply(turn, event.request, job.id, false);
  refuse(turn, event.request, 'conflict', `job ${job.id} is ${job.status.kind} already`);
}

/** Called when a stage finished: starts what waited for it, and completes the job when it was the last. */
export function onStageFinished(turn: Turn, jobId: JobId): void {
  const job = turn.state.jobs.get(jobId);
  if (!job || isEnded(job.status)) return;
  startReadyStages(turn, job);
  lineUpJob(turn.state, job);
  let failedItems = 0;
  for (const { name } of job.spec.stages) {
    const stage = turn.state.stages.get(toStageId(job.id, name));
    if (stage?.record.status.kind !== 'finished') return;
    failedItems += stage.failures.size;
  }
  const completed = { ...job, status: { kind: 'completed' as const, at: turn.at, failedItems } };
  saveJob(turn, completed);
  const judged = judgePrediction(turn.state, completed, turn.at);
  if (judged) put(turn, toRecord('forecast', judged));
}

/** Ends a job before its time: what runs is stopped, what is reported later no longer counts. */
export function endJob(turn: Turn, job: JobRecord, status: JobStatus): void {
  saveJob(turn, { ...job, status });
  turn.state.predictions.delete(job.id);
  for (const { name } of job.spec.stages) stopAttempts(turn, toStageId(job.id, name));
}

function saveJob(turn: Turn, job: JobRecord): void {
  keepJob(turn.state, job);
  lineUpJob(turn.state, job);
  put(turn, toRecord('job', job));
}

/** Puts a job into the state, with what is derived from it. */
export function keepJob(state: State, job: JobRecord): void {
  state.jobs.set(job.id, job);
  state.submissions.set(submissionKey(job.submitter, job.spec.clientKey), job.id);
  if (isEnded(job.status)) state.activeJobs.delete(job.id);
  else state.activeJobs.add(job.id);
}
