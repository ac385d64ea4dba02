// Owns reading a decision log back: what was done, by whom and how fast, as a queue whose jobs come when they came, to be
// played again with other machines. Knows no connection.

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { deviceLogSlowness } from '../core/schedule/device-table.ts';
import type { JobId, KeyId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import { countSchema, jobIdSchema, keyIdSchema, stageNameSchema } from '../protocol/names.ts';
import type { QueueView } from '../protocol/views.ts';

/** A queue, and when each of its jobs comes, ms after the first. */
export type History = { readonly queue: QueueView; readonly comesAtMs: ReadonlyMap<JobId, number> };

type Peer = QueueView['peers'][number];
type Stage = QueueView['jobs'][number]['stages'][number];

/** What of a line counts here; attempts that yielded nothing say nothing of speed. */
const lineSchema = z.object({
  job: jobIdSchema,
  stage: stageNameSchema,
  start: countSchema,
  end: countSchema,
  peer: keyIdSchema,
  how: z.string().max(40),
  planned: z.object({ startAt: z.number() }),
  real: z.object({ endAt: z.number(), runMs: z.number().min(0).optional() }),
  bytes: countSchema.optional(),
});

const MAX_LINES = 5_000_000;
const NOBODY = `ed25519:${'0'.repeat(64)}` as KeyId;
/** Peers that are not connected now: what they are is not in the log. */
const UNKNOWN_DEVICE = { id: 'cpu', kind: 'cpu' as const, name: 'unknown', memoryBytes: 1e12, threads: 1 };

type Done = {
  items: number;
  bytes: number;
  firstAt: number;
  lastAt: number;
  /** By peer: items whose time is known, and that time. */
  readonly pace: Map<KeyId, { items: number; ms: number }>;
};

/** `present` are the peers that are connected now: their names and devices. Throws 'bad-input' with the line at fault. */
export async function readHistory(path: string, present: readonly Peer[]): Promise<History> {
  const jobs = new Map<JobId, Map<string, Done>>();
  let number = 0;
  try {
    for await (const text of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
      if (++number > MAX_LINES)
        throw new SwarmError('too-large', `${path} has over ${MAX_LINES} lines: give a part of it`);
      if (text.trim() !== '') note(jobs, parseLine(path, number, text));
    }
  } catch (cause) {
    if (cause instanceof SwarmError) throw cause;
    throw new SwarmError(
      'bad-input',
      `${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
    );
  }
  const peers = listPeers(jobs, present);
  const firstAt = Math.min(
    ...[...jobs.values()].flatMap((stages) => [...stages.values()].map((stage) => stage.firstAt)),
  );
  return {
    queue: { peers, jobs: [...jobs].map(([id, stages]) => toJob(id, stages, peers)) },
    comesAtMs: new Map(
      [...jobs].map(([id, stages]) => [id, Math.min(...[...stages.values()].map((stage) => stage.firstAt)) - firstAt]),
    ),
  };
}

function parseLine(path: string, number: number, text: string): z.infer<typeof lineSchema> {
  try {
    const parsed = lineSchema.safeParse(JSON.parse(text));
    if (parsed.success) return parsed.data;
  } catch {
    // Said below.
  }
  throw new SwarmError('bad-input', `${path}, line ${number}, is not from a decision log (swarm up --decision-log)`);
}

function note(jobs: Map<JobId, Map<string, Done>>, line: z.infer<typeof lineSchema>): void {
  if (line.how !== 'accepted') return;
  const stages = jobs.get(line.job) ?? new Map<string, Done>();
  jobs.set(line.job, stages);
  const done = stages.get(line.stage) ?? { items: 0, bytes: 0, firstAt: Infinity, lastAt: 0, pace: new Map() };
  stages.set(line.stage, done);
  const items = Math.max(0, line.end - line.start);
  done.items += items;
  done.bytes += line.bytes ?? 0;
  done.firstAt = Math.min(done.firstAt, line.planned.startAt);
  done.lastAt = Math.max(done.lastAt, line.real.endAt);
  if (line.real.runMs === undefined) return;
  const pace = done.pace.get(line.peer) ?? { items: 0, ms: 0 };
  done.pace.set(line.peer, { items: pace.items + items, ms: pace.ms + line.real.runMs });
}

function listPeers(jobs: ReadonlyMap<JobId, ReadonlyMap<string, Done>>, present: readonly Peer[]): Peer[] {
  const seen = new Set(
    [...jobs.values()].flatMap((stages) => [...stages.values()].flatMap(({ pace }) => [...pace.keys()])),
  );
  const known = present.filter(({ id }) => seen.has(id));
  const gone = [...seen].filter((id) => !known.some((peer) => peer.id === id));
  return [
    ...known,
    ...gone.map((id) => ({
      id,
      name: id.slice('ed25519:'.length, 'ed25519:'.length + 12),
      labels: [],
      devices: [UNKNOWN_DEVICE],
    })),
  ];
}

/** A stage that began when others of its job had ended is taken to have needed them. */
function toJob(id: JobId, stages: ReadonlyMap<string, Done>, peers: readonly Peer[]): QueueView['jobs'][number] {
  const effects = peerEffects(stages);
  return {
    ...{ id, name: id, submitter: NOBODY, priority: 0 },
    stages: [...stages]
      .sort(([, a], [, b]) => a.firstAt - b.firstAt)
      .map(([name, done]) => ({
        ...{ name, left: done.items, labels: [], memoryBytes: 0 },
        needs: [...stages]
          .filter(([other, { lastAt }]) => other !== name && lastAt <= done.firstAt)
          .map(([other]) => other),
        ...(done.bytes > 0 && { bytesPerItem: done.bytes / Math.max(1, done.items) }),
        ...toSpeeds(done, peers, effects),
      })),
  };
}

/** ln of how much slower each peer was than the others at the same stages. */
function peerEffects(stages: ReadonlyMap<string, Done>): Map<KeyId, number> {
  const sums = new Map<KeyId, { sum: number; count: number }>();
  for (const done of stages.values()) {
    const middle = workOf(done);
    for (const [peer, { items, ms }] of done.pace) {
      const { sum, count } = sums.get(peer) ?? { sum: 0, count: 0 };
      sums.set(peer, { sum: sum + Math.log(paceOf(ms, items)) - middle, count: count + 1 });
    }
  }
  return new Map([...sums].map(([peer, { sum, count }]) => [peer, sum / count]));
}

/** ln(ms per item), the mean over the peers that did it. */
function workOf({ pace }: Done): number {
  const logs = [...pace.values()].map(({ items, ms }) => Math.log(paceOf(ms, items)));
  return logs.reduce((sum, log) => sum + log, 0) / Math.max(1, logs.length);
}

function paceOf(ms: number, items: number): number {
  return Math.max(0.001, ms / Math.max(1, items));
}

/** As measured; for a peer that did nothing of the stage, by what it and the stage were like elsewhere. */
function toSpeeds(
  done: Done,
  peers: readonly Peer[],
  effects: ReadonlyMap<KeyId, number>,
): Pick<Stage, 'speeds' | 'msPerItemAtOneTflops'> {
  const work = workOf(done);
  const speeds = peers.map(({ id }) => {
    const pace = done.pace.get(id);
    return { peer: id, msPerItem: pace ? paceOf(pace.ms, pace.items) : Math.exp(work + (effects.get(id) ?? 0)) };
  });
  const atOne = peers.flatMap(({ id, devices }) => {
    const pace = done.pace.get(id);
    const slowness = Math.min(...devices.map(deviceLogSlowness));
    return pace && Number.isFinite(slowness) ? Math.log(paceOf(pace.ms, pace.items)) - slowness : [];
  });
  if (atOne.length === 0) return { speeds };
  return { speeds, msPerItemAtOneTflops: Math.exp(atOne.reduce((sum, log) => sum + log, 0) / atOne.length) };
}
