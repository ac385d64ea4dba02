// The agent's machine: what it takes, what it owes, and what becomes of its work across cuts.

import { describe, expect, test } from 'vitest';
import type { Epoch, JobId, StageId } from '../../lib/ids.ts';
import type { AssignedTask, Verdict } from '../../protocol/to-agent.ts';
import { MAX_BACKLOG, type Outcome, type ToCoordinator } from '../../protocol/to-coordinator.ts';
import type { AgentEffect, AgentEventBody } from './event.ts';
import { createAgentState, type AgentState, type TaskId } from './state.ts';
import { agentStep } from './step.ts';

const JOB = '00000000000000aa' as JobId;
const STAGE = `${JOB}/map` as StageId;
const DONE: Outcome = { kind: 'done', durationMs: 5 };
type SentOf<T extends ToCoordinator['type']> = Extract<ToCoordinator, { type: T }>;

class Harness {
  readonly state: AgentState;
  readonly effects: AgentEffect[] = [];

  constructor(config: { slots?: number; backlog?: number } = {}) {
    const devices = [{ id: 'cpu', kind: 'cpu' as const, name: 'test', memoryBytes: 1, threads: 1 }];
    this.state = createAgentState({ name: 'a', version: '1', devices, backlog: 8, slots: 1, ...config });
  }

  /** Steps the events as one batch; returns its effects. */
  send(...events: AgentEventBody[]): AgentEffect[] {
    const effects = [...events, { kind: 'flush' as const }].flatMap((event) => [
      ...agentStep(this.state, { ...event, at: 1 }).effects,
    ]);
    this.effects.push(...effects);
    return effects;
  }

  connect(...verdicts: Verdict[]): AgentEffect[] {
    const greeting = this.send({ kind: 'link-up' });
    const message = { type: 'welcome' as const, protocol: 1, heartbeatMs: 1_000, leaseMs: 9_000, verdicts };
    return [...greeting, ...this.send({ kind: 'received', message })];
  }

  introduce(): void {
    this.send({ kind: 'received', message: { type: 'job', job: JOB, envelope: '{}' } });
    this.send({ kind: 'job-checked', job: JOB });
  }

  assign(...tasks: AssignedTask[]): AgentEffect[] {
    return this.send({ kind: 'received', message: { type: 'assign', tasks } });
  }

  ack(...epochs: string[]): void {
    this.send({ kind: 'received', message: { type: 'ack', epochs: epochs as Epoch[] } });
  }

  cancel(...epochs: string[]): AgentEffect[] {
    return this.send({ kind: 'received', message: { type: 'cancel', epochs: epochs as Epoch[] } });
  }
}

/** An agent that is connected and holds a checked job. */
function ready(config: { slots?: number; backlog?: number } = {}): Harness {
  const agent = new Harness(config);
  agent.connect();
  agent.introduce();
  return agent;
}

function task(epoch: string, start = 0, end = start + 10): AssignedTask {
  return { epoch: epoch as Epoch, stage: STAGE, start, end };
}

function started(effects: readonly AgentEffect[]): TaskId[] {
  return effects.filter((effect) => effect.kind === 'run-task').map((effect) => effect.task);
}

function sent<T extends ToCoordinator['type']>(effects: readonly AgentEffect[], type: T): SentOf<T>[] {
  return effects
    .filter((effect) => effect.kind === 'send')
    .map((effect) => effect.message)
    .filter((message): message is SentOf<T> => message.type === type);
}

function reported(effects: readonly AgentEffect[]): [string, string][] {
  return sent(effects, 'report').flatMap(({ reports }) =>
    reports.map(({ epoch, outcome }): [string, string] => [epoch, outcome.kind]),
  );
}

function byEpoch([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : 1;
}

describe('tasks', () => {
  test('run in order, as many at once as there are slots, and are reported and forgotten once acknowledged', () => {
    const agent = ready({ slots: 2 });
    expect(started(agent.assign(task('1.1'), task('1.2', 10), task('1.3', 20)))).toEqual([1, 2]);
    const ended = agent.send({ kind: 'task-ended', task: 2, outcome: DONE });
    expect(started(ended)).toEqual([3]);
    expect(reported(ended)).toEqual([['1.2', 'done']]);
    agent.ack('1.2');
    expect([...agent.state.tasks.keys()]).toEqual([1, 3]);
  });

  test('a computed task leaves its slot to the next while its part is stored', () => {
    const agent = ready();
    agent.assign(task('1.1'), task('1.2', 10));
    const computed = agent.send({ kind: 'task-computed', task: 1 });
    expect(started(computed)).toEqual([2]);
    expect(reported(computed)).toEqual([]);
    expect(reported(agent.send({ kind: 'task-ended', task: 1, outcome: DONE }))).toEqual([['1.1', 'done']]);
  });

  test('wait until their job is checked', () => {
    const agent = new Harness();
    agent.connect();
    agent.send({ kind: 'received', message: { type: 'job', job: JOB, envelope: '{}' } });
    expect(started(agent.assign(task('1.1')))).toEqual([]);
    expect(started(agent.send({ kind: 'job-checked', job: JOB }))).toEqual([1]);
  });

  test('of a refused job are refused for this peer, with the reason', () => {
    const agent = new Harness();
    agent.connect();
    agent.send({ kind: 'received', message: { type: 'job', job: JOB, envelope: '{}' } });
    agent.assign(task('1.1'));
    const [report] = sent(agent.send({ kind: 'job-checked', job: JOB, refusal: 'not trusted' }), 'report');
    expect(report?.reports[0]?.outcome).toEqual({ kind: 'failed', scope: 'peer', reason: 'not trusted' });
  });

  test('without a spec, without items or beyond the backlog fail at once', () => {
    const stranger = new Harness();
    stranger.connect();
    expect(reported(stranger.assign(task('1.1')))).toEqual([['1.1', 'failed']]);
    const agent = ready({ backlog: 2 });
    const effects = agent.assign(task('1.1', 5, 5), task('1.2', 10), task('1.3', 20));
    expect(reported(effects).toSorted(byEpoch)).toEqual([
      ['1.1', 'failed'],
      ['1.3', 'failed'],
    ]);
  });

  test('that come twice are held once', () => {
    const agent = ready();
    agent.assign(task('1.1'));
    agent.assign(task('1.1'));
    expect(agent.state.tasks.size).toBe(1);
  });

  test('beyond any backlog close the link, so that what is held stays bounded', () => {
    const agent = ready({ backlog: MAX_BACKLOG });
    const many = Array.from({ length: MAX_BACKLOG + 5 }, (_, i) => task(`1.${i}`, i));
    const effects = agent.assign(...many);
    expect(effects).toContainEqual(expect.objectContaining({ kind: 'close-link', retry: true }));
    expect(agent.state.tasks.size).toBe(MAX_BACKLOG);
  });

  test('an acknowledgement of what still runs is no acknowledgement', () => {
    const agent = ready();
    agent.assign(task('1.1'));
    agent.ack('1.1');
    expect(agent.state.tasks.size).toBe(1);
  });
});

describe('cancel', () => {
  test('a queued task ends at once; a running one is asked to stop, once', () => {
    const agent = ready();
    agent.assign(task('1.1'), task('1.2', 10));
    const effects = agent.cancel('1.1', '1.2');
    expect(effects).toContainEqual({ kind: 'stop-task', task: 1 });
    expect(reported(effects)).toEqual([['1.2', 'stopped']]);
    expect(agent.cancel('1.1').filter((effect) => effect.kind === 'stop-task')).toEqual([]);
    expect(reported(agent.send({ kind: 'task-ended', task: 1, outcome: { kind: 'stopped' } }))).toEqual([
      ['1.1', 'stopped'],
    ]);
  });

  test('reaches a task whose part is being stored', () => {
    const agent = ready();
    agent.assign(task('1.1'));
    agent.send({ kind: 'task-computed', task: 1 });
    expect(agent.cancel('1.1')).toContainEqual({ kind: 'stop-task', task: 1 });
    expect(reported(agent.send({ kind: 'task-ended', task: 1, outcome: { kind: 'stopped' } }))).toHaveLength(1);
  });

  test('of what has ended changes nothing', () => {
    const agent = ready();
    agent.assign(task('1.1'));
    agent.send({ kind: 'task-ended', task: 1, outcome: DONE });
    expect(agent.cancel('1.1')).toEqual([]);
  });
});

describe('giving up a tail', () => {
  const shrink = (agent: Harness, epoch: string, until: number) =>
    agent.send({ kind: 'received', message: { type: 'shrink', tasks: [{ epoch: epoch as Epoch, until }] } });
  const kept = (effects: readonly AgentEffect[]) => sent(effects, 'shrunk').flatMap(({ tasks }) => tasks);

  test('a queued task gives it up at once, all of it if asked', () => {
    const agent = ready();
    agent.assign(task('1.1'), task('1.2', 10), task('1.3', 20));
    expect(kept(shrink(agent, '1.2', 15))).toEqual([{ epoch: '1.2', end: 15 }]);
    expect(reported(shrink(agent, '1.3', 20))).toEqual([['1.3', 'stopped']]);
    const next = agent.send({ kind: 'task-ended', task: 1, outcome: DONE });
    expect(next).toContainEqual(expect.objectContaining({ kind: 'run-task', range: { start: 10, end: 15 } }));
  });

  test('a running one is asked, and nothing is promised before it answers', () => {
    const agent = ready();
    agent.assign(task('1.1'));
    const asked = shrink(agent, '1.1', 4);
    expect(kept(asked)).toEqual([]);
    expect(asked).toContainEqual({ kind: 'shrink-task', task: 1, until: 4 });
    expect(kept(agent.send({ kind: 'task-shrunk', task: 1, end: 6 }))).toEqual([{ epoch: '1.1', end: 6 }]);
    expect(kept(agent.send({ kind: 'task-shrunk', task: 1, end: 9 }))).toEqual([]);
  });

  test('what is computed says where it ends; a hello after a cut lists the range as it is now', () => {
    const agent = ready();
    agent.assign(task('1.1'), task('1.2', 10));
    agent.send({ kind: 'task-computed', task: 1 });
    expect(kept(shrink(agent, '1.1', 4))).toEqual([{ epoch: '1.1', end: 10 }]);
    agent.send({ kind: 'link-down' });
    expect(kept(agent.send({ kind: 'task-shrunk', task: 2, end: 13 }))).toEqual([]);
    expect(sent(agent.send({ kind: 'link-up' }), 'hello')[0]?.attempts).toContainEqual(
      expect.objectContaining({ epoch: '1.2', start: 10, end: 13 }),
    );
  });
});

describe('the link', () => {
  test('down: work goes on, and what was not acknowledged is reported again', () => {
    const agent = ready();
    agent.assign(task('1.1'), task('1.2', 10));
    expect(reported(agent.send({ kind: 'task-ended', task: 1, outcome: DONE }))).toHaveLength(1);
    agent.send({ kind: 'link-down' });
    expect(reported(agent.send({ kind: 'task-ended', task: 2, outcome: DONE }))).toEqual([]);
    const effects = agent.connect({ kind: 'keep', epoch: '1.1' as Epoch }, { kind: 'keep', epoch: '1.2' as Epoch });
    expect(sent(effects, 'hello')[0]?.attempts.map(({ epoch }) => epoch)).toEqual(['1.1', '1.2']);
    expect(reported(effects).toSorted(byEpoch)).toEqual([
      ['1.1', 'done'],
      ['1.2', 'done'],
    ]);
  });

  test('back: an adopted attempt is reported under its new epoch', () => {
    const agent = ready();
    agent.assign(task('1.1'));
    agent.send({ kind: 'link-down' });
    agent.connect({ kind: 'adopt', epoch: '1.1' as Epoch, newEpoch: '2.7' as Epoch });
    expect(reported(agent.send({ kind: 'task-ended', task: 1, outcome: DONE }))).toEqual([['2.7', 'done']]);
    agent.ack('2.7');
    expect(agent.state.tasks.size).toBe(0);
  });

  test('back: dropped work is stopped and not reported, and its slot is taken until it has really ended', () => {
    const agent = ready();
    agent.assign(task('1.1'), task('1.2', 10));
    agent.send({ kind: 'link-down' });
    const effects = agent.connect({ kind: 'drop', epoch: '1.1' as Epoch }, { kind: 'keep', epoch: '1.2' as Epoch });
    expect(effects).toContainEqual({ kind: 'stop-task', task: 1 });
    expect(started(effects)).toEqual([]);
    const ended = agent.send({ kind: 'task-ended', task: 1, outcome: { kind: 'stopped' } });
    expect(reported(ended)).toEqual([]);
    expect(started(ended)).toEqual([2]);
  });

  test('back: a dropped upload is stopped and forgotten', () => {
    const agent = ready();
    agent.assign(task('1.1'));
    agent.send({ kind: 'task-computed', task: 1 }, { kind: 'link-down' });
    expect(agent.connect({ kind: 'drop', epoch: '1.1' as Epoch })).toContainEqual({ kind: 'stop-task', task: 1 });
    expect(agent.state.tasks.size).toBe(0);
  });

  test('nothing but hello is sent before the welcome', () => {
    const agent = ready();
    agent.assign(task('1.1'));
    agent.send({ kind: 'link-down' }, { kind: 'task-ended', task: 1, outcome: DONE });
    const greeting = agent.send({ kind: 'link-up' }, { kind: 'heartbeat-due' });
    expect(greeting.map((effect) => effect.kind === 'send' && effect.message.type)).toEqual(['hello']);
  });

  test('new: specs without held tasks are forgotten, and asked for again by nobody but the coordinator', () => {
    const agent = ready();
    agent.send({ kind: 'link-down' });
    expect(agent.connect()).toContainEqual({ kind: 'forget-job', job: JOB });
    agent.introduce();
    expect(started(agent.assign(task('1.1')))).toEqual([1]);
    agent.send({ kind: 'link-down' });
    expect(agent.connect({ kind: 'keep', epoch: '1.1' as Epoch })).not.toContainEqual({ kind: 'forget-job', job: JOB });
  });

  test('a goodbye closes it, and says whether to come back', () => {
    const agent = ready();
    const message = { type: 'goodbye' as const, reason: 'replaced', retry: false };
    expect(agent.send({ kind: 'received', message })).toEqual([
      { kind: 'close-link', retry: false, reason: 'replaced' },
    ]);
  });
});

describe('what is sent', () => {
  test('a heartbeat tells cursors that moved since the last, never back or beyond the range', () => {
    const agent = ready();
    agent.assign(task('1.1'));
    agent.send({ kind: 'task-progressed', task: 1, cursor: 99 }, { kind: 'task-progressed', task: 1, cursor: 2 });
    const [beat] = sent(agent.send({ kind: 'heartbeat-due' }), 'heartbeat');
    expect(beat?.cursors).toEqual([{ epoch: '1.1', cursor: 10 }]);
    expect(sent(agent.send({ kind: 'heartbeat-due' }), 'heartbeat')[0]?.cursors).toEqual([]);
  });

  test('many reports are split, so that each message fits a frame', () => {
    const agent = ready({ slots: 600, backlog: 600 });
    agent.assign(...Array.from({ length: 600 }, (_, i) => task(`1.${i + 1}`, i)));
    const ended = Array.from({ length: 600 }, (_, i) => ({ kind: 'task-ended' as const, task: i + 1, outcome: DONE }));
    const messages = sent(agent.send(...ended), 'report');
    expect(messages.map(({ reports }) => reports.length)).toEqual([256, 256, 88]);
  });
});

test('stopping hands everything back and takes nothing new', () => {
  const agent = ready();
  agent.assign(task('1.1'), task('1.2', 10));
  const effects = agent.send({ kind: 'stop' });
  expect(effects).toContainEqual({ kind: 'stop-task', task: 1 });
  expect(reported(effects)).toEqual([['1.2', 'stopped']]);
  const more = agent.assign(task('1.3', 20));
  expect(started(more)).toEqual([]);
  expect(reported(more)).toEqual([['1.3', 'stopped']]);
});
