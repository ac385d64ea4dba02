// Owns how a job's progress looks in lines of text. Pure: from what the coordinator tells to what is printed.

import { formatDuration } from '../lib/durations.ts';
import type { JobDetail } from '../protocol/views.ts';
import { toBar, toPercent, toPlain } from './output.ts';

const BAR_CELLS = 24;
const WORKER_BAR_CELLS = 12;
const MAX_NAME_CHARS = 20;
const MAX_WORKERS = 12;

/** The first line says it all; then one line for each worker. */
export function toProgressLines(job: JobDetail): string[] {
  return [toHeadline(job), ...toWorkerLines(job)];
}

/** Everything in one line, for logs that no terminal redraws. */
export function toProgressLine(job: JobDetail): string {
  const rates = job.workers
    .filter(({ itemsPerSecond = 0 }) => itemsPerSecond > 0)
    .toSorted((a, b) => a.name.localeCompare(b.name))
    .slice(0, MAX_WORKERS)
    .map(({ name, itemsPerSecond = 0 }) => `${toName(name)} ${toRate(itemsPerSecond)}`);
  return [toHeadline(job), ...(rates.length === 0 ? [] : [`(${rates.join(', ')})`])].join('  ');
}

function toHeadline(job: JobDetail): string {
  const { total, done, failed } = job.items;
  const share = total === 0 ? 0 : done / total;
  const parts = [`${toBar(share, BAR_CELLS)} ${toPercent(share)}`, `${toCount(done)} of ${toCount(total)} items`];
  if (job.itemsPerSecond !== undefined && job.itemsPerSecond > 0) parts.push(toRate(job.itemsPerSecond));
  if (failed > 0) parts.push(`${toCount(failed)} failed`);
  parts.push(toPhase(job));
  return parts.join('  ');
}

/** What it is doing, or for how long still. */
function toPhase(job: JobDetail): string {
  if (job.status !== 'running') return job.status;
  const { total, done, failed } = job.items;
  const running = job.stages.find(({ status }) => status === 'running');
  if (done + failed >= total && running) return `stage ${running.name}`;
  if (!job.eta) return 'measuring';
  const [likely, latest] = [formatDuration(job.eta.p50Ms), formatDuration(job.eta.p90Ms)];
  return likely === latest ? `${likely} left` : `${likely}–${latest} left`;
}

function toWorkerLines({ workers }: JobDetail): string[] {
  const sorted = workers.toSorted((a, b) => a.name.localeCompare(b.name));
  const shown = sorted.slice(0, MAX_WORKERS);
  const most = Math.max(1, ...workers.map(({ doneItems }) => doneItems));
  const width = Math.max(0, ...shown.map(({ name }) => toName(name).length));
  const lines = shown.map(({ name, doneItems, itemsPerSecond, runningTasks }) =>
    [
      `  ${toName(name).padEnd(width)}`,
      toBar(doneItems / most, WORKER_BAR_CELLS),
      `${toCount(doneItems).padStart(7)} items`,
      (itemsPerSecond === undefined ? '' : toRate(itemsPerSecond)).padStart(13),
      runningTasks === 0 ? '' : `${runningTasks} ${runningTasks === 1 ? 'task' : 'tasks'}`,
    ]
      .join('  ')
      .trimEnd(),
  );
  return sorted.length > shown.length ? [...lines, `  and ${sorted.length - shown.length} more`] : lines;
}

function toName(name: string): string {
  return toPlain(name).slice(0, MAX_NAME_CHARS);
}

function toRate(itemsPerSecond: number): string {
  const digits = itemsPerSecond < 10 ? 1 : 0;
  return `${itemsPerSecond.toLocaleString('en-US', { maximumFractionDigits: digits })} items/s`;
}

/** Whole numbers with separators: 8,166. */
export function toCount(value: number): string {
  return Math.floor(value).toLocaleString('en-US');
}
