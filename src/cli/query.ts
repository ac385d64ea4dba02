// Owns `swarm query`: asks an embeddings file in plain language. Works without a coordinator.

import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { SwarmError } from '../protocol/errors.ts';
import type { Encoder, Precision } from '../workloads/embeddings/encoder.ts';
import type { QueryHit } from '../workloads/embeddings/query.ts';
import { findHome, toHome } from './home.ts';
import { print, toPlain, type Output } from './output.ts';

const DEFAULT_HITS = 5;
const TEXT_WIDTH = 160;

export function registerQuery(program: Command): void {
  program
    .command('query <file> <texts...>')
    .description('find the items of an embeddings file that are closest to a text')
    .option('-k, --hits <count>', 'how many to show', String(DEFAULT_HITS))
    .option('--model <model>', 'the model the file was made with: use-lite, a folder, or a hub id', 'use-lite')
    .addHelpText('after', '\nExample:\n  swarm query speeches.parquet "peace with other nations" -k 3')
    .action(async (file: string, texts: string[], options: { hits: string; model: string }, command: Command) => {
      const globals = command.optsWithGlobals<{ json?: boolean; home?: string }>();
      const home = globals.home === undefined ? findHome() : toHome(globals.home);
      const answers = await answerQueries({
        file,
        texts,
        hits: parseHits(options.hits),
        model: options.model,
        cacheDir: modelCache(home.dir),
      });
      const output: Output = { json: globals.json === true, isTerminal: process.stdout.isTTY };
      print(output, answers, (all) => all.map(formatAnswer).join('\n\n'));
    });
}

/** Where prepared models are kept on this machine. */
export function modelCache(homeDir: string): string {
  return join(homeDir, 'models');
}

export type Answer = { readonly query: string; readonly hits: readonly QueryHit[] };

/** Embeds the queries with the model that made the file and scans it. Throws when the file was made by another model. */
export async function answerQueries(request: {
  readonly file: string;
  readonly texts: readonly string[];
  readonly hits: number;
  readonly model: string;
  readonly cacheDir: string;
}): Promise<Answer[]> {
  const { queryTexts, readVectorInfo } = await import('../workloads/embeddings/query.ts');
  const { modelId } = await readVectorInfo(request.file);
  await using encoder = await openEncoderOf(modelId, request.model, request.cacheDir);
  const found = await queryTexts(request.file, encoder, request.texts, request.hits);
  return request.texts.map((query, i) => ({ query, hits: found[i] ?? [] }));
}

/** The encoder whose model made a file: a model's precisions are models of their own, so each is tried. */
async function openEncoderOf(modelId: string, model: string, cacheDir: string): Promise<Encoder> {
  const { prepareModel } = await import('../workloads/embeddings/model.ts');
  const { openEncoder } = await import('../workloads/embeddings/encoder.ts');
  const faults: unknown[] = [];
  for (const precision of ['int8', 'float32'] satisfies Precision[]) {
    const prepared = await prepareModel(model, cacheDir, { precision }).catch((error: unknown) => {
      faults.push(error);
    });
    if (prepared?.modelId === modelId)
      return openEncoder({ model, modelDir: prepared.modelDir, precision, threads: availableParallelism(), modelId });
  }
  // A folder may hold one precision only; that the other is missing is then no fault.
  if (faults.length > 1) throw faults[0];
  throw new SwarmError(
    'bad-input',
    `the file was made with model ${modelId.slice(0, 16)}…, which "${model}" is not: name the model it was made with by --model`,
  );
}

function parseHits(text: string): number {
  const hits = Number(text);
  if (Number.isInteger(hits) && hits >= 1 && hits <= 1_000) return hits;
  throw new SwarmError('bad-request', `--hits takes a whole number from 1 to 1000, not "${text}"`);
}

/** One answer for people: the query and its best items with their scores. */
export function formatAnswer({ query, hits }: Answer): string {
  const lines = hits.map(
    ({ score, text, source }) => `  ${score.toFixed(3)}  ${shorten(toPlain(text))}\n         ${toPlain(source)}`,
  );
  return [`"${toPlain(query)}"`, ...lines].join('\n');
}

function shorten(text: string): string {
  return text.length <= TEXT_WIDTH ? text : `${text.slice(0, TEXT_WIDTH - 1).trimEnd()}…`;
}
