// Owns the process that the embeddings benchmark compares the swarm with. Takes its order as JSON on the command line
// and says how long it took as JSON on stdout.

import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { embedDirectly } from './embeddings-direct.ts';

const orderSchema = z.strictObject({
  /** A JSON array of strings. */
  sentencesFile: z.string(),
  modelDir: z.string(),
  precision: z.enum(['float32', 'int8']),
  threads: z.int(),
  batchSize: z.int(),
});

const { sentencesFile, ...options } = orderSchema.parse(JSON.parse(process.argv[2] ?? ''));
const sentences = z.array(z.string()).parse(JSON.parse(await readFile(sentencesFile, 'utf8')));
const { elapsedMs } = await embedDirectly(sentences, options);
console.log(JSON.stringify({ elapsedMs }));
