// Owns a real coordinator with one real agent that joined it, and what tests do with both: submit, wait, read results.

import type { ArtifactId, JobId } from '../../src/lib/ids.ts';
import { ItemListWriter } from '../../src/objects/item-list-writer.ts';
import { hashBytes } from '../../src/objects/objects-hash.ts';
import { uploadArtifact } from '../../src/objects/transfer.ts';
import type { JobSpecInput } from '../../src/protocol/job-spec.ts';
import type { JobDetail } from '../../src/protocol/views.ts';
import { until } from './condition.ts';
import { joinSwarm, TestAgent } from './test-agent.ts';
import { TestCoordinator } from './test-coordinator.ts';

/** Writes its items into its part. */
export const CHAOS = { workload: 'chaos', params: { mode: 'none' } };

const WITH_CHAOS = { ...process.env, SWARM_TEST_WORKLOADS: '1' };

/** A coordinator with one agent. */
export class TestSwarm implements AsyncDisposable {
  readonly coordinator: TestCoordinator;
  readonly agent: TestAgent;
  #jobs = 0;

  constructor(coordinator: TestCoordinator, agent: TestAgent) {
    this.coordinator = coordinator;
    this.agent = agent;
  }

  static async start(
    overrides: ConstructorParameters<typeof TestAgent>[1] = {},
    host = '127.0.0.1',
  ): Promise<TestSwarm> {
    const coordinator = await TestCoordinator.start({ host, allowPublic: true });
    const { swarm, admin, url, tlsPin } = coordinator;
    const joined = await joinSwarm(swarm, admin, url, (trust) => trust, tlsPin);
    return new TestSwarm(coordinator, await TestAgent.start(joined, { environment: WITH_CHAOS, ...overrides }));
  }

  async submit(...stages: Partial<JobSpecInput['stages'][number]>[]): Promise<JobId> {
    const full = stages.map((stage, i) => ({
      ...{ name: `stage-${i}`, workload: 'noop', items: { kind: 'count' as const, count: 10 } },
      ...stage,
    }));
    const { id } = await this.coordinator
      .client()
      .submit({ clientKey: `key-${++this.#jobs}`, name: 'test', stages: full });
    return id;
  }

  async put(bytes: Uint8Array): Promise<ArtifactId> {
    const { session } = this.coordinator.client();
    const id = hashBytes(bytes);
    const { url } = session.options;
    await uploadArtifact({ fetch: (to, init) => session.fetch(to, init), baseUrl: url, id, source: bytes });
    return id;
  }

  async putList(items: readonly unknown[]): Promise<{ kind: 'list'; root: ArtifactId; count: number }> {
    const writer = new ItemListWriter(async (bytes) => void (await this.put(bytes)));
    for (const item of items) await writer.add(item as string);
    const { root, count } = await writer.finish();
    return { kind: 'list', root, count };
  }

  job(id: JobId): Promise<JobDetail> {
    return this.coordinator.client().call('job', { job: id });
  }

  async ended(id: JobId): Promise<JobDetail> {
    return until(
      `job ${id} to end`,
      async () => {
        const job = await this.job(id).catch(() => undefined);
        return job?.endedAt !== undefined && job;
      },
      50_000,
    );
  }

  /** The parts of a stage as text. */
  async texts(id: JobId, stage: string): Promise<string[]> {
    const client = this.coordinator.client();
    const texts: string[] = [];
    for await (const { part } of client.parts(id, stage)) {
      const response = await client.session.fetch(`/v1/artifacts/${part?.id}`);
      texts.push(await response.text());
    }
    return texts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent[Symbol.asyncDispose]();
    await this.coordinator[Symbol.asyncDispose]();
  }
}
