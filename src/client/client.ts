// Owns the typed client: a method per kind of thing a program wants, all made from the route table. Runs in Node and in
// browsers. Knows nothing of terminals or files.

import type { JobId } from '../lib/ids.ts';
import { defined } from '../lib/assert.ts';
import { ROUTES, type RequestOf, type ResponseOf, type RouteName } from '../protocol/http.ts';
import { JOB_SPEC_TYPE, parseJobSpec, type JobSpecInput } from '../protocol/job-spec.ts';
import { signEnvelope } from '../protocol/dsse.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { Submission } from '../protocol/submission.ts';
import type { FailureView, JobDetail, LiveEvent, LogLine, PartView } from '../protocol/views.ts';
import { readAnswer } from './answer.ts';
import { openEvents } from './events.ts';
import type { Session } from './session.ts';

/** How often a log that is followed is asked for more. */
const FOLLOW_MS = 1_000;

export type WatchOptions = { readonly signal?: AbortSignal };

/** How requests reach a coordinator as somebody whom it knows. Throws 'unavailable' when they do not. */
export type Transport = { fetch(pathOrUrl: string, init?: RequestInit): Promise<Response> };

/** With a member's Session it can do everything; with a BrowserSession it looks. */
export class SwarmClient<T extends Transport = Session> {
  readonly session: T;

  constructor(session: T) {
    this.session = session;
  }

  /** Calls one route of the table. Throws the coordinator's refusal, or `unavailable`. */
  async call<Name extends RouteName>(
    name: Name,
    request: RequestOf<Name>,
    options: WatchOptions = {},
  ): Promise<ResponseOf<Name>> {
    const row = ROUTES[name];
    const { body, ...rest } = request as { readonly body?: unknown };
    const init: RequestInit = { method: row.method.toUpperCase(), ...options };
    if (body !== undefined) {
      init.headers = { 'content-type': 'application/json' };
      init.body = JSON.stringify(body);
    }
    const response = await this.session.fetch(toPath(row.path, rest), init);
    return (await readAnswer(response, row.response)) as ResponseOf<Name>;
  }

  /** Signs a spec with this session's key and submits it; a spec that was submitted before is the same job. */
  async submit(
    this: SwarmClient,
    spec: Omit<JobSpecInput, 'v' | 'swarm'>,
  ): Promise<{ readonly id: JobId; readonly changed: boolean }> {
    const { signer, swarm, membership } = this.session.options;
    const parsed = parseJobSpec({ v: 1, swarm, ...spec });
    if (!parsed.ok) throw new SwarmError('bad-input', parsed.error);
    const envelope = await signEnvelope(JOB_SPEC_TYPE, parsed.value, signer);
    const submission: Submission = { envelope, ...(membership && { membership }) };
    const { id, changed } = await this.call('submit', { body: { submission: JSON.stringify(submission) } });
    return { id: id as JobId, changed };
  }

  /** The job as it is now and whenever it changes, until it has ended. Survives cuts and restarts of the coordinator. */
  async *watchJob(job: JobId, options: WatchOptions = {}): AsyncGenerator<JobDetail> {
    for await (const event of openEvents(this.session, { job, ...options })) {
      if (event.type !== 'job') continue;
      yield event.job;
      if (event.job.endedAt !== undefined) return;
    }
  }

  /** Peers and jobs as they are now and whenever they change, without end. */
  async *watchSwarm(options: WatchOptions = {}): AsyncGenerator<Extract<LiveEvent, { type: 'swarm' }>> {
    for await (const event of openEvents(this.session, options)) if (event.type === 'swarm') yield event;
  }

  /** All result parts of a stage, in item order. */
  async *parts(job: JobId, stage: string): AsyncGenerator<PartView> {
    let from: number | undefined = 0;
    while (from !== undefined) {
      const page: ResponseOf<'parts'> = await this.call('parts', { job, stage, from, limit: 1_000 });
      yield* page.parts;
      from = page.next;
    }
  }

  /** The items of a job that failed for good. */
  async *failures(job: JobId): AsyncGenerator<FailureView> {
    let from: number | undefined = 0;
    while (from !== undefined) {
      const page: ResponseOf<'failures'> = await this.call('failures', { job, from, limit: 1_000 });
      yield* page.failures;
      from = page.next;
    }
  }

  /** The lines of a job's runners that are still kept; with `follow`, further ones until the job has ended. */
  async *logs(job: JobId, options: WatchOptions & { readonly follow?: boolean } = {}): AsyncGenerator<LogLine> {
    let from = 0;
    for (;;) {
      const ended = options.follow !== true || (await this.call('job', { job })).endedAt !== undefined;
      const page = await this.call('logs', { job, from, limit: 1_000 });
      yield* page.lines;
      const more = page.next > from;
      from = page.next;
      if (more) continue;
      if (ended || options.signal?.aborted === true) return;
      await new Promise((resolve) => setTimeout(resolve, FOLLOW_MS));
    }
  }
}

/** Fills a path's parameters; what is left over is the query. */
function toPath(template: string, given: object): string {
  const rest = new Map(Object.entries(given).filter(([, value]) => value !== undefined));
  const path = template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = defined(rest.get(name), `parameter ${name} of ${template}`);
    rest.delete(name);
    return encodeURIComponent(String(value));
  });
  const query = new URLSearchParams([...rest].map(([name, value]): [string, string] => [name, String(value)]));
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}
