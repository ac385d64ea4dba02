// Owns the commands that look at jobs and steer them.

import type { Command } from 'commander';
import type { SwarmClient } from '../client/client.ts';
import type { JobId } from '../lib/ids.ts';
import { formatDuration } from '../lib/durations.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { JobDetail, JobSummary } from '../protocol/views.ts';
import { openConnection } from './connect.ts';
import { followJob, describeEnd, toJobExitCode } from './follow.ts';
import { readGlobals, type Globals } from './globals.ts';
import { onInterrupt } from './interrupt.ts';
import { note, print, toPercent, toPlain, toTable } from './output.ts';
import { toCount, toProgressLines } from './progress-view.ts';

export function registerJobs(program: Command): void {
  program
    .command('jobs')
    .description('list jobs, the newest first')
    .option('-n, --limit <count>', 'how many at most', '20')
    .addHelpText('after', '\nExample:\n  swarm jobs -n 5')
    .action(async ({ limit }: { limit: string }, command: Command) => {
      const { home, output } = readGlobals(command);
      using connection = await openConnection(home);
      print(output, await connection.client.call('jobs', { limit }), ({ jobs }) => toJobTable(jobs));
    });
  program
    .command('show <job>')
    .description('show one job: its stages, who works on it, how fast')
    .option('--failures', 'list the items that failed for good')
    .addHelpText('after', '\nExample:\n  swarm show 3f2a --failures')
    .action(async (wanted: string, options: { failures?: true }, command: Command) =>
      showJob(readGlobals(command), wanted, options.failures === true),
    );
  program
    .command('watch <job>')
    .description('follow a job until it has ended; Ctrl-C leaves it running')
    .addHelpText('after', '\nExample:\n  swarm watch 3f2a')
    .action(async (wanted: string, _: object, command: Command) => {
      const { home, output } = readGlobals(command);
      using connection = await openConnection(home);
      using interrupt = onInterrupt();
      const { client } = connection;
      const ended = await followJob(client, await findJobId(client, wanted), output, interrupt.signal);
      if (!ended) return void (process.exitCode = interrupt.exitCode());
      const text = await describeEnd(client, ended);
      print(output, ended, () => text);
      process.exitCode = toJobExitCode(ended);
    });
  program
    .command('logs <job>')
    .description('print what a job’s runners wrote')
    .option('-f, --follow', 'go on until the job has ended')
    .addHelpText('after', '\nExample:\n  swarm logs 3f2a -f')
    .action(async (wanted: string, options: { follow?: true }, command: Command) => {
      const { home, output } = readGlobals(command);
      using connection = await openConnection(home);
      using interrupt = onInterrupt();
      const { client } = connection;
      const follow = options.follow === true;
      for await (const line of client.logs(await findJobId(client, wanted), { follow, signal: interrupt.signal }))
        print(output, line, ({ name, stage, text }) => `${toPlain(name)}  ${stage}  ${toPlain(text)}`);
      if (interrupt.signal.aborted) process.exitCode = interrupt.exitCode();
    });
  registerSteering(program);
}

function registerSteering(program: Command): void {
  const verbs = [
    ['cancel', 'end a job; what runs is stopped', 'canceled'],
    ['pause', 'start nothing new of a job; what runs is finished', 'paused'],
    ['resume', 'go on with a paused job', 'running'],
  ] as const;
  for (const [verb, about, state] of verbs)
    program
      .command(`${verb} <job>`)
      .description(about)
      .addHelpText('after', `\nExample:\n  swarm ${verb} 3f2a`)
      .action(async (wanted: string, _: object, command: Command) => {
        const { home, output } = readGlobals(command);
        using connection = await openConnection(home);
        const job = await findJobId(connection.client, wanted);
        const done = await connection.client.call(verb, { job });
        print(output, done, ({ changed }) => `job ${job} is ${changed ? '' : 'already '}${state}`);
      });
  program
    .command('explain <job>')
    .description('say why what is left of a job is not running')
    .addHelpText('after', '\nExample:\n  swarm explain 3f2a')
    .action(async (wanted: string, _: object, command: Command) => {
      const { home, output } = readGlobals(command);
      using connection = await openConnection(home);
      const { client } = connection;
      const job = await client.call('job', { job: await findJobId(client, wanted) });
      const explained = [];
      for (const { name } of job.stages)
        explained.push({ stage: name, ...(await client.call('explain', { job: job.id, stage: name })) });
      print(output, { job: job.id, stages: explained }, ({ stages }) =>
        stages.map(({ stage, lines }) => `${stage}: ${lines.map(toPlain).join('\n')}`).join('\n'),
      );
    });
}

async function showJob({ home, output }: Globals, wanted: string, withFailures: boolean): Promise<void> {
  using connection = await openConnection(home);
  const { client } = connection;
  const job = await client.call('job', { job: await findJobId(client, wanted) });
  const failures = withFailures ? await Array.fromAsync(client.failures(job.id)) : undefined;
  print(output, { ...job, ...(failures && { failures }) }, () => toJobText(job));
  for (const { stage, item, tries, reason } of failures ?? [])
    note(output, `  ${stage} item ${item}, after ${tries} tries: ${toPlain(reason)}`);
}

/** A full id, or the beginning of one that no other job shares. */
export async function findJobId(client: SwarmClient, wanted: string): Promise<JobId> {
  if (/^[0-9a-f]{16}$/.test(wanted)) return wanted as JobId;
  if (!/^[0-9a-f]{1,15}$/.test(wanted))
    throw new SwarmError('bad-request', `"${wanted}" is no job id; swarm jobs lists them`);
  const { jobs } = await client.call('jobs', { limit: 1_000 });
  const [only, another] = jobs.filter(({ id }) => id.startsWith(wanted));
  if (only && !another) return only.id;
  const what = only ? `several jobs begin with ${wanted}` : `no job begins with ${wanted}`;
  throw new SwarmError('not-found', `${what}; swarm jobs lists them`);
}

function toJobTable(jobs: readonly JobSummary[]): string {
  if (jobs.length === 0) return 'no jobs yet: swarm run embeddings DIR --out FILE starts one';
  const rows = jobs.map((job) => [
    job.id,
    job.name,
    toStatus(job),
    `${toCount(job.items.done)}/${toCount(job.items.total)}`,
    toPercent(job.items.total === 0 ? 0 : job.items.done / job.items.total),
    job.submitterName,
    `${formatDuration(Math.max(0, Date.now() - job.submittedAt))} ago`,
  ]);
  return toTable(['JOB', 'NAME', 'STATUS', 'ITEMS', 'DONE', 'FROM', 'SUBMITTED'], rows);
}

function toStatus({ status, items }: JobSummary): string {
  return status === 'completed' && items.failed > 0 ? `completed with ${items.failed} failures` : status;
}

function toJobText(job: JobDetail): string {
  const stages = job.stages.map(({ name, workload, status, items, runningTasks, retries, refusals }) => [
    name,
    workload,
    status,
    `${toCount(items.done)}/${toCount(items.total)}`,
    String(items.failed),
    String(runningTasks),
    String(retries),
    refusals.map((refusal) => `${refusal.name}: ${refusal.reason}`).join('; '),
  ]);
  return [
    `${toPlain(job.name)}  (${job.id}, from ${toPlain(job.submitterName)})`,
    `${toStatus(job)}${job.reason === undefined ? '' : `: ${toPlain(job.reason)}`}`,
    '',
    ...toProgressLines(job),
    '',
    toTable(['STAGE', 'WORKLOAD', 'STATUS', 'ITEMS', 'FAILED', 'TASKS', 'RETRIES', 'REFUSED BY'], stages),
  ].join('\n');
}
