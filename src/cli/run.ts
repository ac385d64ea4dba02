// Owns `swarm run`: jobs from options instead of a file.

import { Option, type Command } from 'commander';
import type { Precision } from '../workloads/embeddings/encoder.ts';
import type { SplitMode } from '../workloads/embeddings/split.ts';
import { openConnection } from './connect.ts';
import { readGlobals } from './globals.ts';
import { addJobOptions, parseWhole, toJobTerms, type JobOptions } from './job-options.ts';
import { print } from './output.ts';
import { modelCache } from './query.ts';
import { waitForEnd } from './submit.ts';

type NoopOptions = JobOptions & {
  readonly items: number;
  readonly msPerItem?: number;
  readonly taskItems?: number;
  readonly detach?: true;
};

export type EmbeddingsOptions = JobOptions & {
  /** Absent only with `detach`. */
  readonly out?: string;
  readonly detach?: true;
  readonly column?: string;
  readonly idColumn?: string;
  readonly split?: SplitMode;
  readonly chunkChars?: number;
  readonly invalidUtf8: 'fail' | 'replace';
  readonly model: string;
  readonly precision: Precision;
  readonly name?: string;
};

export function registerRun(program: Command): void {
  const run = program.command('run').description('start a job from options: run WORKLOAD');
  const noop = run
    .command('noop')
    .description('items that do nothing, or take a while: to try a swarm out')
    .requiredOption('--items <count>', 'how many', parseWhole)
    .option('--ms-per-item <ms>', 'how long each takes', parseWhole)
    .option('--task-items <count>', 'items handed out together; sized to each peer’s speed unless told', parseWhole)
    .option('--detach', 'do not wait for the end')
    .addHelpText('after', '\nExample:\n  swarm run noop --items 1000 --ms-per-item 10')
    .action(async (options: NoopOptions, command: Command) => {
      const { home, output } = readGlobals(command);
      using connection = await openConnection(home);
      const stage = {
        name: 'map',
        workload: 'noop',
        params: options.msPerItem === undefined ? {} : { msPerItem: options.msPerItem },
        items: { kind: 'count' as const, count: options.items },
        yieldsParts: false,
        ...(options.taskItems !== undefined && { taskItems: options.taskItems }),
      };
      const submitted = await connection.client.submit({
        clientKey: crypto.randomUUID(),
        name: 'noop',
        ...toJobTerms(options),
        stages: [stage],
      });
      if (options.detach === true) return print(output, submitted, ({ id }) => id);
      process.exitCode = await waitForEnd(connection.client, submitted.id, output);
    });
  const embeddings = run
    .command('embeddings <input>')
    .description('sentence embeddings of a file or folder (text, Markdown, JSONL, CSV, Parquet) into one Parquet file')
    .option('--out <file>', 'the Parquet file to write; needed without --detach')
    .option('--detach', 'print the job’s id and do not wait: swarm artifacts get JOB fetches the file')
    .option('--column <name>', 'column of tables that holds the text (default: text)')
    .option('--id-column <name>', 'column of tables that names the row')
    .addOption(
      new Option('--split <mode>', 'one item a sentence, a chunk, or none').choices(['sentence', 'chunk', 'none']),
    )
    .option('--chunk-chars <count>', 'length of a chunk', parseWhole)
    .addOption(
      new Option('--invalid-utf8 <mode>', 'what to do with bytes that are not UTF-8')
        .choices(['fail', 'replace'])
        .default('fail'),
    )
    .option('--model <model>', 'use-lite, a folder with an ONNX sentence encoder, or a hub id', 'use-lite')
    .addOption(new Option('--precision <precision>', 'of the weights').choices(['int8', 'float32']).default('int8'))
    .option('--name <name>', 'what the job is called')
    .addHelpText(
      'after',
      '\nExamples:\n  swarm run embeddings ~/notes --out notes.parquet\n  swarm run embeddings reviews.csv --column review --id-column id --out reviews.parquet',
    )
    .action(async (input: string, options: EmbeddingsOptions, command: Command) => {
      if (options.out === undefined && options.detach !== true)
        command.error("error: option '--out <file>' is needed without --detach");
      const { home, output } = readGlobals(command);
      const { runEmbeddings } = await import('./run-embeddings.ts');
      using connection = await openConnection(home);
      process.exitCode = await runEmbeddings(connection, { input, options, cacheDir: modelCache(home.dir) }, output);
    });
  for (const command of [noop, embeddings]) addJobOptions(command);
}
