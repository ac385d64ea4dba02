// Owns the closed table of workloads that a builtin runner may open: code of this release only. A workload is added here
// and nowhere else.

import type { RunModule } from '../../workloads/workload.ts';

const WORKLOADS: { readonly [name: string]: () => Promise<RunModule> } = {
  embeddings: () => import('../../workloads/embeddings/run.ts'),
  noop: () => import('../../workloads/noop/run.ts'),
};

/** Misbehave on purpose; opened only where SWARM_TEST_WORKLOADS=1. */
const TEST_WORKLOADS: typeof WORKLOADS = {
  chaos: () => import('../../workloads/chaos/run.ts'),
};

/** The names an agent offers. */
export function listBuiltinWorkloads(withTestWorkloads: boolean): string[] {
  return Object.keys(tableOf(withTestWorkloads)).toSorted();
}

/** Undefined when this release has no such workload. */
export function loadBuiltinWorkload(name: string, withTestWorkloads: boolean): Promise<RunModule> | undefined {
  const table = tableOf(withTestWorkloads);
  return Object.hasOwn(table, name) ? table[name]?.() : undefined;
}

/** True where the environment allows the test workloads. */
export function allowsTestWorkloads(environment: NodeJS.ProcessEnv): boolean {
  return environment['SWARM_TEST_WORKLOADS'] === '1';
}

function tableOf(withTestWorkloads: boolean): typeof WORKLOADS {
  return withTestWorkloads ? { ...WORKLOADS, ...TEST_WORKLOADS } : WORKLOADS;
}
