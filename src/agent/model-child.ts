// Entry of the process that prepares a built-in model: one order in a line on stdin, one answer on stdout. Ends with the
// agent that asked for it.

import { createInterface } from 'node:readline';
import { BUILT_IN_MODEL } from '../workloads/embeddings/encoder.ts';
import { prepareModel } from '../workloads/embeddings/model.ts';
import { modelOrderSchema } from './model-preparation.ts';

async function main(line: string): Promise<void> {
  const { name, precision, cacheDir } = modelOrderSchema.parse(JSON.parse(line));
  if (name !== BUILT_IN_MODEL) throw new Error(`this release has no model ${name} of its own`);
  const { modelDir, modelId } = await prepareModel(name, cacheDir, { precision });
  process.stdout.write(JSON.stringify({ modelDir, modelId }), () => process.exit(0));
}

const lines = createInterface({ input: process.stdin });
lines.once('line', (line) => {
  main(line).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`, () => process.exit(1));
  });
});
lines.once('close', () => process.exit(1));
