// Owns the Prometheus metrics. Most are read off the state when they are asked for.

import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ObjectStore } from '../objects/objects.ts';
import type { Engine } from './engine.ts';

export class Metrics {
  readonly #registry = new Registry();
  readonly #commits: Histogram;

  constructor() {
    this.#commits = new Histogram({
      name: 'swarm_commit_seconds',
      help: 'Time to make a batch of changes durable.',
      buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1],
      registers: [this.#registry],
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  onCommit(durationMs: number): void {
    this.#commits.observe(durationMs / 1_000);
  }

  /** Registers what is read off a running coordinator. */
  observe(engine: Engine, objects: ObjectStore, counts: { links: () => number; streams: () => number }): void {
    const { state } = engine;
    collectDefaultMetrics({ register: this.#registry });
    this.#gauge('swarm_peers_known', 'Machines that joined.', () => state.peers.size);
    this.#gauge(
      'swarm_peers_connected',
      'Machines with a live link.',
      () => [...state.sessions.values()].filter((session) => session.connected).length,
    );
    this.#gauge('swarm_agent_links', 'Open WebSockets of agents.', counts.links);
    this.#gauge('swarm_live_streams', 'Open live streams of clients.', counts.streams);
    this.#gauge('swarm_attempts', 'Tasks that peers hold now.', () => state.attempts.size);
    this.#gauge('swarm_loop_queue', 'Events that wait for their step.', () => engine.queueLength);
    this.#gauge('swarm_artifact_bytes', 'Bytes of stored artifacts.', async () => (await objects.usage()).usedBytes);
    for (const name of Object.keys(state.counters) as (keyof typeof state.counters)[])
      this.#gauge(`swarm_${toSnakeCase(name)}_total`, HELP[name], () => state.counters[name]);
    const jobs = new Gauge({
      name: 'swarm_jobs',
      help: 'Jobs by status.',
      labelNames: ['status'],
      registers: [this.#registry],
      collect() {
        const byStatus = { running: 0, paused: 0, completed: 0, canceled: 0, failed: 0 };
        for (const job of state.jobs.values()) byStatus[job.status.kind]++;
        for (const [status, count] of Object.entries(byStatus)) jobs.set({ status }, count);
      },
    });
  }

  #gauge(name: string, help: string, read: () => number | Promise<number>): void {
    const gauge = new Gauge({
      name,
      help,
      registers: [this.#registry],
      async collect() {
        gauge.set(await read());
      },
    });
  }
}

const HELP: Readonly<Record<keyof Engine['state']['counters'], string>> = {
  accepted: 'Items whose result was accepted, since the start.',
  duplicatesDropped: 'Results that came for items done already (INV-1).',
  staleDropped: 'Reports of attempts that no longer count (INV-3).',
  retried: 'Tasks that failed and were tried again.',
  lost: 'Attempts given up because their peer was silent or had forgotten them.',
  failedItems: 'Items that failed for good.',
  adopted: 'Attempts taken over after a restart or a cut.',
  fenced: 'Attempts refused after a restart or a cut.',
  stolen: 'Items taken back from slow attempts for others.',
  backups: 'Attempts at what was late or out of reach elsewhere.',
  samplesEqual: 'Second results of a range with the same bytes as the first.',
  samplesUnlike: 'Second results of a range with other bytes than the first.',
  spentMs: 'Device time of all that has ended, ms.',
  backupMs: 'Device time of second attempts as it was expected when they began, ms.',
};

function toSnakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
