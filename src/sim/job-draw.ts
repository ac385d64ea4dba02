// Owns the drawing of jobs for a run: small DAGs of every shape the core knows.

import type { KeyId } from '../lib/ids.ts';
import type { Prng } from '../lib/prng.ts';
import { jobSpecSchema, type JobSpec, type JobSpecInput } from '../protocol/job-spec.ts';

const GIB = 1_024 ** 3;

export function drawJob(prng: Prng, swarm: KeyId, number: number): JobSpec {
  const stages: JobSpecInput['stages'] = [];
  const count = prng.int(1, 3);
  for (let i = 0; i < count; i++) stages.push(drawStage(prng, i));
  if (prng.chance(0.5)) {
    const of = `map-${count - 1}`;
    stages.push({ name: 'merge', needs: [of], workload: 'noop', items: { kind: 'parts', of } });
  }
  const name = `job ${number}`;
  return jobSpecSchema.parse({ v: 1, swarm, clientKey: `key-${number}`, name, priority: 0, stages });
}

function drawStage(prng: Prng, i: number): JobSpecInput['stages'][number] {
  const stage: JobSpecInput['stages'][number] = {
    name: `map-${i}`,
    needs: i > 0 && prng.chance(0.6) ? [`map-${i - 1}`] : [],
    workload: 'noop',
    items: { kind: 'count', count: prng.pick([1, 7, 60, 400]) },
    memoryBytes: prng.pick([0, 1, 12]) * GIB,
  };
  return prng.chance(0.3) ? { ...stage, taskItems: prng.int(5, 40) } : stage;
}
