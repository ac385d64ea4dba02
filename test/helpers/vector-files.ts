// Owns comparing two embeddings files as the kill test must: ids, sources, texts and their order exactly, vectors within
// 1e-5 (they may differ in the last bits with how a range was split).

import { openVectors, type VectorFile } from '../../src/workloads/embeddings/parquet-vectors.ts';

const TOLERANCE = 1e-5;

/** The number of rows. Throws at the first difference. */
export async function compareVectorFiles(expectedPath: string, actualPath: string): Promise<number> {
  await using expected = await openVectors(expectedPath);
  await using actual = await openVectors(actualPath);
  if (expected.rowCount !== actual.rowCount)
    throw new Error(`${actualPath} has ${actual.rowCount} rows, not ${expected.rowCount}`);
  const [wantedItems, items] = [await itemsOf(expected), await itemsOf(actual)];
  for (const [row, item] of items.entries())
    if (JSON.stringify(item) !== JSON.stringify(wantedItems[row]))
      throw new Error(`row ${row} is ${JSON.stringify(item)}, not ${JSON.stringify(wantedItems[row])}`);
  const [wantedValues, values] = [await valuesOf(expected), await valuesOf(actual)];
  for (const [i, value] of values.entries())
    if (!(Math.abs(value - (wantedValues[i] ?? NaN)) <= TOLERANCE))
      throw new Error(`value ${i} is ${value}, not ${wantedValues[i]}`);
  return actual.rowCount;
}

async function itemsOf(file: VectorFile): Promise<unknown[]> {
  return file.items(0, file.rowCount);
}

async function valuesOf(file: VectorFile): Promise<Float32Array> {
  const all = new Float32Array(file.rowCount * file.maker.dims);
  for await (const { start, values } of file.vectors()) all.set(values, start * file.maker.dims);
  return all;
}
