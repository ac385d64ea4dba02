// Owns what an agent decides: the order in which tasks run, which reports are owed, and what becomes of its work when
// the link breaks and comes back. Work goes on while the link is down and is reported afterwards. Runs nothing itself.

import { assertNever, defined } from '../../lib/assert.ts';
import type { Epoch, JobId } from '../../lib/ids.ts';
import type { AssignedTask, ToAgent, Verdict } from '../../protocol/to-agent.ts';
import { MAX_BACKLOG, type Outcome, type ToCoordinator } from '../../protocol/to-coordinator.ts';
import { PROTOCOL_VERSION } from '../../protocol/version.ts';
import type { AgentEffect, AgentEvent } from './event.ts';
import type { AgentState, HeldTask, TaskId } from './state.ts';

/** Reports a message, so that it fits a frame even when each carries a long reason. */
const MAX_REPORTS_A_MESSAGE = 256;

type AgentTurn = { readonly state: AgentState; readonly changes: readonly never[]; readonly effects: AgentEffect[] };
type EventOf<K extends AgentEvent['kind']> = Extract<AgentEvent, { kind: K }>;
type MessageOf<K extends ToAgent['type']> = Extract<ToAgent, { type: K }>;

/** One transition. `changes` is always empty: an agent's attempts need not be durable. */
export function agentStep(
  state: AgentState,
  event: AgentEvent,
): { changes: readonly never[]; effects: readonly AgentEffect[] } {
  const turn: AgentTurn = { state, changes: [], effects: [] };
  dispatch(turn, event);
  return turn;
}

function dispatch(turn: AgentTurn, event: AgentEvent): void {
  switch (event.kind) {
    case 'link-up':
      return onLinkUp(turn);
    case 'link-down':
      return onLinkDown(turn);
    case 'received':
      return onReceived(turn, event.message);
    case 'job-checked':
      return onJobChecked(turn, event);
    case 'task-progressed':
      return onTaskProgressed(turn, event);
    case 'task-shrunk':
      return onTaskShrunk(turn, event);
    case 'task-computed':
      return onTaskComputed(turn, event);
    case 'task-ended':
      return onTaskEnded(turn, event);
    case 'heartbeat-due':
      return onHeartbeatDue(turn, event);
    case 'stop':
      return onStop(turn);
    case 'flush':
      return onFlush(turn);
    default:
      return assertNever(event);
  }
}

function onReceived(turn: AgentTurn, message: ToAgent): void {
  switch (message.type) {
    case 'welcome':
      return onWelcome(turn, message);
    case 'job':
      return onJob(turn, message);
    case 'assign':
      for (const task of message.tasks) holdTask(turn, task);
      return;
    case 'ack':
      for (const epoch of message.epochs) onAck(turn, epoch);
      return;
    case 'shrink':
      return onShrink(turn, message);
    case 'cancel':
      for (const epoch of message.epochs) stopTask(turn, epoch);
      return;
    case 'goodbye':
      turn.effects.push({ kind: 'close-link', retry: message.retry, reason: message.reason });
      return;
    default:
      return assertNever(message);
  }
}

function onLinkUp(turn: AgentTurn): void {
  const { state } = turn;
  const { name, version, sandbox, devices, backlog, labels, owner } = state.config;
  state.link = { kind: 'greeting' };
  forgetIdleJobs(turn);
  const attempts = [...state.tasks.values()].map(({ epoch, stage, start, end }) => ({ epoch, stage, start, end }));
  send(turn, {
    type: 'hello',
    protocol: PROTOCOL_VERSION,
    version,
    name,
    devices: [...devices],
    backlog,
    attempts,
    ...(sandbox !== undefined && { sandbox }),
    ...(labels && labels.length > 0 && { labels: [...labels] }),
    ...(owner !== undefined && { owner }),
  });
}

/** A coordinator sends a spec before the first task of it in each session, so nothing is lost. */
function forgetIdleJobs({ state, effects }: AgentTurn): void {
  const needed = new Set([...state.tasks.values()].map((task) => task.jobId));
  for (const job of state.jobs.keys()) {
    if (needed.has(job)) continue;
    state.jobs.delete(job);
    effects.push({ kind: 'forget-job', job });
  }
}

/** Nothing is stopped. What was sent may not have arrived, so it is owed again. */
function onLinkDown({ state }: AgentTurn): void {
  state.link = { kind: 'down' };
  for (const task of state.tasks.values()) {
    if (task.status.kind !== 'ended') continue;
    state.tasks.set(task.id, { ...task, status: { ...task.status, sent: false } });
    state.unsent.add(task.id);
  }
}

function onWelcome(turn: AgentTurn, message: MessageOf<'welcome'>): void {
  if (turn.state.link.kind !== 'greeting') return;
  turn.state.link = { kind: 'up' };
  turn.effects.push({ kind: 'set-heartbeat', heartbeatMs: message.heartbeatMs });
  for (const verdict of message.verdicts) takeVerdict(turn, verdict);
}

function takeVerdict(turn: AgentTurn, verdict: Verdict): void {
  if (verdict.kind === 'keep') return;
  const task = taskOf(turn.state, verdict.epoch);
  if (!task) return;
  if (verdict.kind === 'adopt') return rename(turn.state, task, verdict.newEpoch);
  discardTask(turn, task);
}

function rename(state: AgentState, task: HeldTask, epoch: Epoch): void {
  state.byEpoch.delete(task.epoch);
  state.byEpoch.set(epoch, task.id);
  state.tasks.set(task.id, { ...task, epoch });
}

/** A job's spec is checked once, however often it is sent. */
function onJob(turn: AgentTurn, { job, envelope }: MessageOf<'job'>): void {
  const known = turn.state.jobs.get(job);
  if (known && known.kind !== 'refused') return;
  turn.state.jobs.set(job, { kind: 'checking' });
  turn.effects.push({ kind: 'check-job', job, envelope });
}

function onJobChecked(turn: AgentTurn, { job, refusal }: EventOf<'job-checked'>): void {
  const { state } = turn;
  if (!state.jobs.has(job)) return;
  state.jobs.set(job, refusal === undefined ? { kind: 'accepted' } : { kind: 'refused', reason: refusal });
}

/** Takes an assigned task. One that came before, or that no spec came for, is not run. */
function holdTask(turn: AgentTurn, { epoch, stage, start, end }: AssignedTask): void {
  const { state } = turn;
  if (state.byEpoch.has(epoch)) return;
  if (state.tasks.size >= MAX_BACKLOG) {
    const reason = 'the coordinator hands out more than any peer may hold';
    turn.effects.push({ kind: 'close-link', retry: true, reason });
    return;
  }
  const id = ++state.taskCounter;
  const jobId = stage.slice(0, stage.indexOf('/')) as JobId;
  state.tasks.set(id, {
    id,
    epoch,
    stage,
    jobId,
    start,
    end,
    cursor: start,
    stopping: false,
    status: { kind: 'queued' },
  });
  state.byEpoch.set(epoch, id);
  state.queue.add(id);
  const problem = start >= end ? 'the range is empty' : checkCapacity(state, jobId);
  if (state.stopping) endTask(state, id, { kind: 'stopped' });
  else if (problem) endTask(state, id, { kind: 'failed', scope: 'task', reason: problem });
}

function checkCapacity(state: AgentState, jobId: JobId): string | undefined {
  if (!state.jobs.has(jobId)) return `the spec of job ${jobId} did not come before its task`;
  return state.tasks.size > state.config.backlog
    ? `the peer holds ${state.config.backlog} tasks and takes no more`
    : undefined;
}

function onAck({ state }: AgentTurn, epoch: Epoch): void {
  const task = taskOf(state, epoch);
  if (task?.status.kind === 'ended') forgetTask(state, task);
}

/**
 * A queued task gives its tail up at once, all of it if it is asked to; one that runs is asked, and answers when it knows
 * where it stops. What is computed already says so.
 */
function onShrink(turn: AgentTurn, message: MessageOf<'shrink'>): void {
  const { state } = turn;
  const kept: { epoch: Epoch; end: number }[] = [];
  for (const { epoch, until } of message.tasks) {
    const task = taskOf(state, epoch);
    if (!task || task.stopping || task.status.kind === 'ended') continue;
    if (task.status.kind === 'queued' && until <= task.start) endTask(state, task.id, { kind: 'stopped' });
    else if (task.status.kind === 'running' && until < task.end)
      turn.effects.push({ kind: 'shrink-task', task: task.id, until: Math.max(until, task.start + 1) });
    else {
      const end = task.status.kind === 'queued' ? Math.min(task.end, until) : task.end;
      state.tasks.set(task.id, { ...task, end });
      kept.push({ epoch, end });
    }
  }
  if (kept.length > 0) send(turn, { type: 'shrunk', tasks: kept });
}

/** While the link is down nothing is sent: the next hello says how long the range is now. */
function onTaskShrunk(turn: AgentTurn, event: EventOf<'task-shrunk'>): void {
  const { state } = turn;
  const task = state.tasks.get(event.task);
  if (task?.status.kind !== 'running' || event.end > task.end) return;
  state.tasks.set(task.id, { ...task, end: event.end });
  if (state.link.kind === 'up') send(turn, { type: 'shrunk', tasks: [{ epoch: task.epoch, end: event.end }] });
}

function stopTask(turn: AgentTurn, epoch: Epoch): void {
  const task = taskOf(turn.state, epoch);
  if (!task || task.stopping || task.status.kind === 'ended') return;
  if (task.status.kind === 'queued') return endTask(turn.state, task.id, { kind: 'stopped' });
  turn.state.tasks.set(task.id, { ...task, stopping: true });
  turn.effects.push({ kind: 'stop-task', task: task.id });
}

/** Fenced: the coordinator knows the task no more, so no report is owed. What computes is stopped. */
function discardTask(turn: AgentTurn, task: HeldTask): void {
  const busy = task.status.kind === 'running' || task.status.kind === 'storing';
  if (busy) turn.effects.push({ kind: 'stop-task', task: task.id });
  forgetTask(turn.state, task);
  // The device is taken until the shell says that the task has ended.
  if (task.status.kind === 'running') turn.state.running.add(task.id);
}

function onTaskProgressed({ state }: AgentTurn, event: EventOf<'task-progressed'>): void {
  const task = state.tasks.get(event.task);
  if (task?.status.kind !== 'running' || event.cursor <= task.cursor) return;
  state.tasks.set(task.id, { ...task, cursor: Math.min(event.cursor, task.end) });
  state.moved.add(task.id);
}

function onTaskComputed({ state }: AgentTurn, event: EventOf<'task-computed'>): void {
  state.running.delete(event.task);
  const task = state.tasks.get(event.task);
  if (task?.status.kind === 'running') state.tasks.set(task.id, { ...task, status: { kind: 'storing' } });
}

function onTaskEnded({ state }: AgentTurn, event: EventOf<'task-ended'>): void {
  state.running.delete(event.task);
  const task = state.tasks.get(event.task);
  if (task && task.status.kind !== 'ended') endTask(state, task.id, event.outcome);
}

function onHeartbeatDue(turn: AgentTurn, { telemetry }: EventOf<'heartbeat-due'>): void {
  const { state } = turn;
  if (state.link.kind !== 'up') return;
  const cursors = [...state.moved].flatMap((id) => {
    const task = state.tasks.get(id);
    return task ? [{ epoch: task.epoch, cursor: task.cursor }] : [];
  });
  state.moved.clear();
  send(turn, { type: 'heartbeat', cursors, ...(telemetry && { telemetry }) });
}

function onStop(turn: AgentTurn): void {
  turn.state.stopping = true;
  for (const { epoch } of [...turn.state.tasks.values()]) stopTask(turn, epoch);
}

function onFlush(turn: AgentTurn): void {
  startTasks(turn);
  if (turn.state.link.kind === 'up') sendReports(turn);
}

/** Starts queued tasks in the order they came, as far as slots are free and specs are checked. */
function startTasks(turn: AgentTurn): void {
  const { state } = turn;
  for (const id of state.queue) {
    const task = defined(state.tasks.get(id), `task ${id}`);
    const check = state.jobs.get(task.jobId);
    if (check?.kind === 'refused') endTask(state, id, { kind: 'failed', scope: 'peer', reason: check.reason });
    if (check?.kind !== 'accepted') continue;
    if (state.running.size >= state.config.slots) return;
    state.queue.delete(id);
    state.running.add(id);
    state.tasks.set(id, { ...task, status: { kind: 'running' } });
    const { jobId: job, stage, start, end } = task;
    turn.effects.push({ kind: 'run-task', task: id, job, stage, range: { start, end } });
  }
}

function sendReports(turn: AgentTurn): void {
  const { state } = turn;
  if (state.unsent.size === 0) return;
  const reports = [...state.unsent].flatMap((id) => {
    const task = state.tasks.get(id);
    if (task?.status.kind !== 'ended') return [];
    state.tasks.set(id, { ...task, status: { ...task.status, sent: true } });
    return [{ epoch: task.epoch, outcome: task.status.outcome }];
  });
  state.unsent.clear();
  for (let i = 0; i < reports.length; i += MAX_REPORTS_A_MESSAGE)
    send(turn, { type: 'report', reports: reports.slice(i, i + MAX_REPORTS_A_MESSAGE) });
}

function endTask(state: AgentState, id: TaskId, outcome: Outcome): void {
  const task = defined(state.tasks.get(id), `task ${id}`);
  state.queue.delete(id);
  state.running.delete(id);
  state.moved.delete(id);
  state.tasks.set(id, { ...task, status: { kind: 'ended', outcome, sent: false } });
  state.unsent.add(id);
}

function forgetTask(state: AgentState, task: HeldTask): void {
  for (const set of [state.queue, state.running, state.unsent, state.moved]) set.delete(task.id);
  state.tasks.delete(task.id);
  state.byEpoch.delete(task.epoch);
}

function taskOf(state: AgentState, epoch: Epoch): HeldTask | undefined {
  const id = state.byEpoch.get(epoch);
  return id === undefined ? undefined : state.tasks.get(id);
}

function send(turn: AgentTurn, message: ToCoordinator): void {
  turn.effects.push({ kind: 'send', message });
}
