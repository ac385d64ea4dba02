// Owns how a benchmark reports: a small table for people, and as the last line one JSON object for programs.

export type Row = readonly [what: string, measured: string, goal: string];

export function printReport(
  bench: string,
  rows: readonly Row[],
  figures: Readonly<Record<string, unknown>>,
  goals: Readonly<Record<string, unknown>>,
  ok: boolean,
): void {
  const width = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length));
  for (const [what, measured, goal] of rows)
    console.log(`${what.padEnd(width(0))}  ${measured.padStart(width(1))}  ${goal}`.trimEnd());
  console.log(JSON.stringify({ bench, ok, figures, goals }));
  if (!ok) process.exitCode = 1;
}

/** The middle value; the mean of the middle two of an even number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? NaN)
    : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}
