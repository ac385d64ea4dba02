// Owns an embeddings job from a person's folder to a Parquet file beside them: list, upload, submit, follow, download.
// Nothing is half-written: the output appears whole or not at all.

import { basename, resolve } from 'node:path';
import { defined } from '../lib/assert.ts';
import type { ArtifactId, JobId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import { downloadArtifact } from '../objects/transfer-download.ts';
import { uploadArtifact } from '../objects/transfer.ts';
import type { JobDetail } from '../protocol/views.ts';
import { prepareEmbeddingsJob, RESULT_STAGE } from '../workloads/embeddings/job.ts';
import type { ListTally } from '../workloads/embeddings/list.ts';
import { checkOutput } from '../workloads/embeddings/merge.ts';
import type { Connection } from './connect.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { describeEnd, followOrCancel, toJobExitCode } from './follow.ts';
import { onInterrupt } from './interrupt.ts';
import { note, print, ProgressDisplay, type Output } from './output.ts';
import { toJobTerms } from './job-options.ts';
import { toCount } from './progress-view.ts';
import type { EmbeddingsOptions } from './run.ts';

export type EmbeddingsRun = {
  readonly input: string;
  readonly options: EmbeddingsOptions;
  /** Where models are prepared. */
  readonly cacheDir: string;
};

/** Runs the job to its end; the exit code. Ctrl-C cancels it. */
export async function runEmbeddings(connection: Connection, run: EmbeddingsRun, output: Output): Promise<number> {
  using interrupt = onInterrupt();
  const { client } = connection;
  const out = run.options.out === undefined ? undefined : resolve(run.options.out);
  try {
    if (out !== undefined) await checkOutput(out);
    const { id, tally } = await submitEmbeddings(connection, run, output, interrupt.signal);
    note(output, `submitted job ${id}: ${describeTally(tally)}`);
    if (out === undefined || run.options.detach === true) return sayDetached(id, out, output);
    const ended = await followOrCancel(client, id, output, interrupt.signal);
    if (interrupt.signal.aborted) return sayCanceled(id, ended, output, interrupt.exitCode());
    if (ended.status === 'completed') await downloadResult(connection, id, out, interrupt.signal);
    const text = await describeEnd(client, ended);
    const { items, status } = ended;
    print(output, { job: id, status, items, ...(status === 'completed' && { out }) }, () =>
      status === 'completed' ? `${text}\nwrote ${out}` : text,
    );
    return toJobExitCode(ended);
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    const isUnsure = error instanceof SwarmError && error.code === 'unavailable';
    note(output, `interrupted: ${isUnsure ? error.message : 'nothing was written'}`);
    return interrupt.exitCode();
  }
}

function sayDetached(job: JobId, out: string | undefined, output: Output): number {
  print(output, { job }, () => job);
  note(output, `when it has ended: swarm artifacts get ${job} --out ${out ?? 'FILE'}`);
  return EXIT_CODES.ok;
}

/** Lists, uploads, signs and submits. Nothing is submitted when the input does not hold. */
export async function submitEmbeddings(
  { client, transfer }: Connection,
  { input, options, cacheDir }: EmbeddingsRun,
  output: Output,
  signal: AbortSignal,
): Promise<{ readonly id: JobId; readonly tally: ListTally }> {
  const display = new ProgressDisplay(output);
  const { column, idColumn, split, chunkChars, model, precision } = options;
  const { stages, tally } = await prepareEmbeddingsJob({
    ...{ input, model, precision, cacheDir },
    list: {
      encodingErrors: options.invalidUtf8,
      signal,
      onProgress: ({ items }) => display.update([`listing ${basename(input)}: ${toCount(items)} items`]),
      ...(column !== undefined && { column }),
      ...(idColumn !== undefined && { idColumn }),
      ...(split !== undefined && { split }),
      ...(chunkChars !== undefined && { chunkChars }),
    },
    putBytes: async (source, id) => void (await uploadArtifact({ ...transfer, id, source, signal })),
    putFile: async (id, path) => {
      const onProgress = ({ doneBytes, totalBytes = 0 }: { doneBytes: number; totalBytes: number | undefined }) =>
        display.update([`uploading ${basename(path)}: ${toCount(doneBytes)} of ${toCount(totalBytes)} bytes`]);
      await uploadArtifact({ ...transfer, id, source: { path }, signal, onProgress });
    },
  });
  display.clear();
  const name = options.name ?? `embeddings of ${basename(resolve(input))}`.slice(0, 100);
  const { id } = await client.submit({ clientKey: crypto.randomUUID(), name, ...toJobTerms(options), stages });
  return { id, tally };
}

/** Fetches the merged file to `out`, where it appears whole. */
export async function downloadResult(
  { client, transfer }: Connection,
  job: JobId,
  out: string,
  signal: AbortSignal,
): Promise<void> {
  const [merged] = await Array.fromAsync(client.parts(job, RESULT_STAGE));
  const { id, sizeBytes }: { id: ArtifactId; sizeBytes: number } = defined(merged?.part, `the result of job ${job}`);
  await checkOutput(out);
  await downloadArtifact({ ...transfer, id, toFile: out, maxBytes: sizeBytes, signal });
}

function sayCanceled(job: JobId, ended: JobDetail, output: Output, exitCode: number): number {
  if (ended.status !== 'canceled')
    throw new SwarmError('unavailable', `job ${job} could not be canceled and may go on: swarm cancel ${job}`);
  print(output, { job, status: ended.status }, () => `interrupted: job ${job} was canceled and nothing was written`);
  return exitCode === EXIT_CODES.ok ? EXIT_CODES.canceled : exitCode;
}

function describeTally({
  files,
  items,
  droppedEmpty,
  skippedUnsupported,
  skippedHidden,
  skippedLinks,
}: ListTally): string {
  const skipped = skippedUnsupported + skippedHidden + skippedLinks;
  const notes = [
    droppedEmpty > 0 ? `${toCount(droppedEmpty)} empty ones left out` : '',
    skipped > 0 ? `${toCount(skipped)} files skipped (other formats, hidden, links)` : '',
  ].filter((text) => text !== '');
  const counted = `${toCount(items)} items from ${toCount(files)} ${files === 1 ? 'file' : 'files'}`;
  return notes.length === 0 ? counted : `${counted}; ${notes.join('; ')}`;
}
