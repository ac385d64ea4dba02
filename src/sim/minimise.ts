// Owns making a failing seed small: which of its faults are needed for it to fail. Delta debugging (Zeller and
// Hildebrandt 2002) over strikes, after whole kinds of luck have been switched off one by one.

import { NO_FAULTS } from './faults.ts';
import { runSeed, type RunOptions, type RunReport } from './run.ts';
import type { Strike } from './strikes.ts';

export type Minimised = {
  readonly report: RunReport;
  /** The strikes that are needed, and what of the mix could be switched off. */
  readonly strikes: readonly Strike[];
  readonly off: readonly string[];
  readonly runs: number;
};

/** Undefined when the seed does not fail. */
export async function minimise(options: RunOptions): Promise<Minimised | undefined> {
  let runs = 0;
  const fails = async (
    only: ReadonlySet<string> | undefined,
    off: ReadonlySet<string>,
  ): Promise<RunReport | undefined> => {
    runs++;
    const report = await runSeed({ ...options, off, ...(only && { only }) });
    return report.violation === undefined ? undefined : report;
  };
  let off: ReadonlySet<string> = new Set();
  let report = await fails(undefined, off);
  if (!report) return undefined;
  for (const name of Object.keys(NO_FAULTS)) {
    const fewer = await fails(undefined, new Set([...off, name]));
    if (fewer) [report, off] = [fewer, new Set([...off, name])];
  }
  const fewest = await reduce(
    report.strikes.map(({ name }) => name),
    async (names) => (await fails(new Set(names), off)) !== undefined,
  );
  const last = (await fails(new Set(fewest), off)) ?? report;
  const strikes = last.strikes.filter(({ name }) => fewest.includes(name));
  return { report: last, strikes, off: [...off], runs };
}

/** A subset for which `fails` holds and from which no single one can be taken; all fail together. */
async function reduce(
  all: readonly string[],
  fails: (names: readonly string[]) => Promise<boolean>,
): Promise<string[]> {
  let names = [...all];
  if (names.length > 0 && (await fails([]))) return [];
  for (let size = Math.ceil(names.length / 2); size >= 1;) {
    let isSmaller = false;
    for (let start = 0; start < names.length;) {
      const rest = [...names.slice(0, start), ...names.slice(start + size)];
      if (rest.length > 0 && (await fails(rest))) [names, isSmaller] = [rest, true];
      else start += size;
    }
    if (size === 1 && !isSmaller) return names;
    size = isSmaller ? Math.min(size, Math.ceil(names.length / 2)) : Math.ceil(size / 2);
    if (size === 1 && names.length === 1) return names;
  }
  return names;
}
