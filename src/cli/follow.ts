// Owns following a job to its end in the terminal, and what its end means for the exit code.

import type { SwarmClient } from '../client/client.ts';
import { defined } from '../lib/assert.ts';
import { formatDuration } from '../lib/durations.ts';
import type { JobId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { JobDetail } from '../protocol/views.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { ProgressDisplay, toPlain, type Output } from './output.ts';
import { toCount, toProgressLine, toProgressLines } from './progress-view.ts';

const MAX_SHOWN_FAILURES = 5;
const CANCEL_MS = 10_000;

/** Shows a job's progress until it has ended; undefined when the signal fired before. */
export async function followJob(
  client: SwarmClient,
  job: JobId,
  output: Output,
  signal: AbortSignal,
): Promise<JobDetail | undefined> {
  const display = new ProgressDisplay(output);
  let last: JobDetail | undefined;
  for await (const now of client.watchJob(job, { signal })) {
    last = now;
    if (now.endedAt === undefined) display.update(toProgressLines(now), toProgressLine(now));
  }
  if (last) display.finish(toProgressLines(last));
  return last?.endedAt === undefined ? undefined : last;
}

/** Follows a job and cancels it when the signal fires; how it ended. Throws 'unavailable' when it could not be canceled. */
export async function followOrCancel(
  client: SwarmClient,
  job: JobId,
  output: Output,
  signal: AbortSignal,
): Promise<JobDetail> {
  const ended = await followJob(client, job, output, signal);
  if (ended) return ended;
  try {
    // The coordinator may be what the person grew tired of waiting for.
    const limit = { signal: AbortSignal.timeout(CANCEL_MS) };
    await client.call('cancel', { job }, limit);
    return await client.call('job', { job }, limit);
  } catch (cause) {
    throw new SwarmError('unavailable', `job ${job} could not be canceled and may go on: swarm cancel ${job}`, {
      cause,
    });
  }
}

/** Says in one sentence how a job ended; lists the first items that failed. */
export async function describeEnd(client: SwarmClient, job: JobDetail): Promise<string> {
  const tookMs = defined(job.endedAt, 'end of the job') - job.submittedAt;
  const { done, failed, total } = job.items;
  if (job.status === 'failed') return `job ${job.id} failed: ${toPlain(job.reason ?? 'no reason was given')}`;
  if (job.status !== 'completed')
    return `job ${job.id} was ${job.status} with ${toCount(done)} of ${toCount(total)} items done`;
  if (failed === 0) return `job ${job.id} completed: ${toCount(done)} items in ${formatDuration(tookMs)}`;
  const lines = [`job ${job.id} completed with failures: ${toCount(done)} items done, ${toCount(failed)} failed`];
  for await (const { stage, item, tries, reason } of client.failures(job.id)) {
    if (lines.length > MAX_SHOWN_FAILURES) break;
    lines.push(`  ${stage} item ${item}, after ${tries} tries: ${toPlain(reason).slice(0, 300)}`);
  }
  if (failed > MAX_SHOWN_FAILURES) lines.push(`  … all of them: swarm show ${job.id} --failures`);
  return lines.join('\n');
}

/** The exit code for a job's end. */
export function toJobExitCode({ status, items }: JobDetail): number {
  if (status === 'completed') return items.failed > 0 ? EXIT_CODES.completedWithFailures : EXIT_CODES.ok;
  return status === 'canceled' ? EXIT_CODES.canceled : EXIT_CODES.failed;
}
