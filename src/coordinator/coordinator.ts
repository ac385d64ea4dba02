// Owns a running coordinator: opens what it keeps, wires the parts, listens, and stops in order. Decides nothing itself.

import { mkdir } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import { loadOrCreateKey } from '../identity/key-files.ts';
import type { KeyId } from '../lib/ids.ts';
import { FolderObjectStore } from '../objects/folder.ts';
import { AGENT_PATH } from '../protocol/http.ts';
import { systemClock } from '../runtime/clock.ts';
import { SqliteStore } from '../store/sqlite.ts';
import { AgentLinks } from './agent-links.ts';
import { createApp } from './app.ts';
import type { CoordinatorConfig } from './config.ts';
import type { Logger } from '../runtime/logger.ts';
import { readDashboardFiles } from './dashboard-files.ts';
import { DashboardTokens } from './dashboard-tokens.ts';
import { DecisionLog } from './decision-log.ts';
import { Engine } from './engine.ts';
import { Gatekeeper } from './gatekeeper.ts';
import { createHostGuard, type HostGuard } from './host-guard.ts';
import { JobLogs } from './job-logs.ts';
import { createServer, listen, prepareListening } from './listen.ts';
import { LiveStreams } from './live-streams.ts';
import { Meter } from './meter.ts';
import { Metrics } from './metrics.ts';
import { PartCheck } from './part-check.ts';
import { createHandlers, findJob } from './routes.ts';
import { Timeline } from './timeline.ts';
import { toJobDetail, listJobs, toJobSummary, toPeerView, type ViewContext } from './views.ts';

/** How many jobs the live stream of the whole swarm shows. */
const LIVE_JOBS = 50;
const SAMPLE_MS = 1_000;

export type CoordinatorPorts = {
  readonly logger: Logger;
  /** A commit failed: nothing more is accepted, and the process should end. */
  readonly onFatal: (error: unknown) => void;
};

export type Coordinator = AsyncDisposable & {
  readonly swarm: KeyId;
  /** Every address at which it can be reached, loopback first. */
  readonly urls: readonly string[];
  /** Absent on plain loopback. */
  readonly tlsPin: string | undefined;
  /** Opens the dashboard for a member, once and soon; where it listens without TLS, which a browser would not trust. */
  makeDashboardUrl(member: KeyId): string | undefined;
  stop(): Promise<void>;
};

/**
 * Starts a coordinator. Throws 'store-locked' when another one has this folder, 'store-corrupt', 'store-newer',
 * 'port-in-use', 'bad-input' for an address it must not or cannot listen on; nothing runs then.
 */
export async function startCoordinator(config: CoordinatorConfig, ports: CoordinatorPorts): Promise<Coordinator> {
  const { logger } = ports;
  await mkdir(config.dir, { recursive: true, mode: 0o700 });
  const signer = await loadOrCreateKey(join(config.dir, 'key.pem'));
  const listening = await prepareListening(config);
  await using cleanup = new AsyncDisposableStack();
  // The store's lock comes first: it keeps a second coordinator from the artifacts too.
  const store = await SqliteStore.open(join(config.dir, 'state.db'));
  cleanup.defer(() => store.close());
  const objects = await FolderObjectStore.open(join(config.dir, 'artifacts'), { quotaBytes: config.quotaBytes });

  const metrics = new Metrics();
  const logs = new JobLogs();
  const meter = new Meter();
  const decisions = config.decisionLog === undefined ? undefined : await DecisionLog.open(config.decisionLog, logger);
  if (decisions) cleanup.use(decisions);
  const timeline = new Timeline({ onEnded: (attempt) => decisions?.add(attempt) });
  const links = new AgentLinks({ logger, logs });
  const engine = await Engine.open({
    store,
    clock: systemClock,
    limits: config.limits ?? {},
    swarm: signer.keyId,
    adminKey: config.adminKey,
    release: (effects) => links.release(effects),
    onTrace: (entry) => timeline.note(entry),
    onCommit: (durationMs) => metrics.onCommit(durationMs),
    onFatal: ports.onFatal,
  });
  cleanup.defer(() => engine.stop());
  const sampling = setInterval(() => meter.sample(engine.state, engine.now()), SAMPLE_MS).unref();
  cleanup.defer(() => clearInterval(sampling));

  const { adminKey, version } = config;
  const tlsPin = listening.tls?.pin;
  const dashboards = await DashboardTokens.open(join(config.dir, 'dashboard-key'));
  const gatekeeper = new Gatekeeper({ engine, signer, adminKey, tlsPin: tlsPin ?? '', dashboards });
  const toViewContext = (): ViewContext => ({
    state: engine.state,
    now: engine.now(),
    adminKey,
    telemetryOf: (peer) => links.telemetryOf(peer),
  });
  let isStopping = false;
  const whenDurable = (): Promise<void> => engine.durable();
  const live = new LiveStreams({
    whenDurable,
    toEvent: (job) => {
      const view = toViewContext();
      if (job !== undefined)
        return { type: 'job', job: toJobDetail(view, findJob(view.state, job), meter.ratesOf(job)) };
      const peers = [...view.state.peers.values()].map((peer) => toPeerView(view, peer));
      const jobs = listJobs(view.state).slice(0, LIVE_JOBS);
      return { type: 'swarm', peers, jobs: jobs.map((record) => toJobSummary(view, record)) };
    },
  });
  metrics.observe(engine, objects, { links: () => links.count, streams: () => live.count });
  const handlers = createHandlers({
    engine,
    gatekeeper,
    objects,
    meter,
    logs,
    timeline,
    swarm: signer.keyId,
    adminKey,
    version,
    startedAt: engine.now(),
    isStopping: () => isStopping,
    toViewContext,
  });
  const hostGuard = createHostGuard(listening.hosts);
  const { metricsToken } = config;
  const dashboard = await readDashboardFiles(config.dashboardDir);
  const app = createApp({
    ...{
      handlers,
      whenDurable,
      gatekeeper,
      objects,
      live,
      metrics,
      hostGuard,
      dashboard,
      logger,
      version,
      metricsToken,
    },
  });

  const { server, close: closeServer } = createServer(listening.tls);
  const onRequest = getRequestListener(app.fetch);
  server.on('request', (request, response) => void onRequest(request, response));
  const partCheck = new PartCheck(engine, objects);
  server.on('upgrade', (request, socket, head) => {
    if (!mayUpgrade(hostGuard, request, socket)) return;
    links.accept(request, socket, head, { engine, gatekeeper, partCheck });
  });
  const urls = await listen(server, config, listening.tls !== undefined);
  logger.info({ swarm: signer.keyId, urls, incarnation: engine.state.incarnation }, 'the coordinator listens');

  const kept = cleanup.move();
  const shutDown = async (): Promise<void> => {
    isStopping = true;
    live.stop();
    links.stop();
    await closeServer();
    await kept.disposeAsync();
    logger.info({}, 'the coordinator stopped');
  };
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= shutDown());
  const makeDashboardUrl = (member: KeyId): string | undefined =>
    tlsPin === undefined ? `${urls[0]}/#${gatekeeper.makeLink({ key: member }).code}` : undefined;
  return { swarm: signer.keyId, urls, tlsPin, makeDashboardUrl, stop, [Symbol.asyncDispose]: stop };
}

/** Agents are no browsers: an upgrade with an Origin is a page trying. */
function mayUpgrade(guard: HostGuard, request: IncomingMessage, socket: Duplex): boolean {
  const { host, origin } = request.headers;
  const isAgent = request.url?.split('?', 1)[0] === AGENT_PATH;
  if (isAgent && origin === undefined && guard.check(host, undefined) === undefined) return true;
  socket.on('error', () => socket.destroy());
  // Not left to the other side: a socket that was upgraded has no time limit of the server's any more.
  socket.end(`HTTP/1.1 ${isAgent ? '403 Forbidden' : '404 Not Found'}\r\nConnection: close\r\n\r\n`, () =>
    socket.destroy(),
  );
  return false;
}
