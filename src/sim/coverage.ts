// Owns the table of which fault met which circumstance, over many runs: what never met was never tested.

import { FAULT_KINDS } from './faults.ts';
import { CIRCUMSTANCES } from './strikes.ts';

export function sumCoverage(
  reports: readonly { readonly coverage: Readonly<Record<string, number>> }[],
): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { coverage } of reports)
    for (const [key, count] of Object.entries(coverage)) sums.set(key, (sums.get(key) ?? 0) + count);
  return sums;
}

/** A row for each circumstance, a column for each kind of fault; 0 where they never met. */
export function toCoverageTable(sums: ReadonlyMap<string, number>): string {
  const width = Math.max(...CIRCUMSTANCES.map(({ length }) => length));
  const kinds = FAULT_KINDS.filter((kind) =>
    CIRCUMSTANCES.some((circumstance) => sums.has(`${kind} while ${circumstance}`)),
  );
  const head = ' '.repeat(width) + kinds.map((kind) => `  ${kind}`).join('');
  const rows = CIRCUMSTANCES.map((circumstance) => {
    const cells = kinds.map((kind) => String(sums.get(`${kind} while ${circumstance}`) ?? 0).padStart(kind.length + 2));
    return circumstance.padEnd(width) + cells.join('');
  });
  return [head, ...rows].join('\n');
}
