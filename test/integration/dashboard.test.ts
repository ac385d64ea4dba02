// How a browser gets in and what it can do there, over real sockets: links that work once, tokens that only look and
// outlive a restart, files under a strict policy, and the proxy before a coordinator that speaks TLS.

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrowserSession, redeemCode } from '../../src/client/browser-session.ts';
import { SwarmClient } from '../../src/client/client.ts';
import { startDashboardProxy } from '../../src/cli/dashboard-proxy.ts';
import type { Decision } from '../../src/coordinator/decision-log.ts';
import { until } from '../helpers/condition.ts';
import { joinSwarm, TestAgent } from '../helpers/test-agent.ts';
import { TestCoordinator } from '../helpers/test-coordinator.ts';
import { TestSwarm } from '../helpers/test-swarm.ts';

let dashboardDir: string;

beforeAll(async () => {
  dashboardDir = await mkdtemp(join(tmpdir(), 'swarm-dashboard-'));
  await mkdir(join(dashboardDir, 'assets'));
  await writeFile(join(dashboardDir, 'index.html'), '<!doctype html><title>built</title>');
  await writeFile(join(dashboardDir, 'assets', 'index-1234.js'), 'export {};');
  await writeFile(join(dashboardDir, '.built-from'), 'a secret');
});
afterAll(() => rm(dashboardDir, { recursive: true, force: true }));

async function signIn(coordinator: TestCoordinator): Promise<SwarmClient<BrowserSession>> {
  const { code } = await coordinator.client().call('link', {});
  const { token } = await redeemCode(coordinator.url, code);
  return new SwarmClient(new BrowserSession(coordinator.url, token));
}

describe('signing in', () => {
  test('a link works once', async () => {
    await using coordinator = await TestCoordinator.start();
    const { code } = await coordinator.client().call('link', {});
    expect(await redeemCode(coordinator.url, code)).toMatchObject({ role: 'viewer', name: 'admin' });
    await expect(redeemCode(coordinator.url, code)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test.each(['', 'x'.repeat(43), 'x'.repeat(64)])('a code that was never given out is refused: "%s"', async (code) => {
    await using coordinator = await TestCoordinator.start();
    await expect(redeemCode(coordinator.url, code)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test('whoever is no member gets no link', async () => {
    await using coordinator = await TestCoordinator.start();
    const response = await fetch(`${coordinator.url}/v1/session/link`, { method: 'POST' });
    expect(response.status).toBe(401);
  });

  test('the token is good after a restart of the coordinator, and is not when it was changed', async () => {
    await using coordinator = await TestCoordinator.start();
    const { code } = await coordinator.client().call('link', {});
    const { token } = await redeemCode(coordinator.url, code);
    await coordinator.restart();
    const client = (text: string) => new SwarmClient(new BrowserSession(coordinator.url, text));
    expect(await client(token).call('peers', {})).toEqual({ peers: [] });
    const changed = (token.startsWith('A') ? 'B' : 'A') + token.slice(1);
    for (const bad of [changed, token.slice(0, -4), `${token}AAAA`])
      await expect(client(bad).call('peers', {})).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test('a browser looks: it changes nothing, and lets no other browser in', async () => {
    await using swarm = await TestSwarm.start();
    const viewer = await signIn(swarm.coordinator);
    const id = await swarm.submit({ params: { msPerItem: 1_000 } });
    expect(await viewer.call('job', { job: id })).toMatchObject({ status: 'running' });
    await expect(viewer.call('cancel', { job: id })).rejects.toMatchObject({ code: 'forbidden' });
    await expect(viewer.call('link', {})).rejects.toMatchObject({ code: 'forbidden' });
    const { peers } = await viewer.call('peers', {});
    const drain = { peer: peers[0]?.id ?? '', body: { drained: true } };
    await expect(viewer.call('drain', drain)).rejects.toMatchObject({ code: 'forbidden' });
    const artifact = await viewer.session.fetch(`/v1/artifacts/sha256:${'0'.repeat(64)}`);
    expect(artifact.status).toBe(403);
  });
});

describe('what it sees', () => {
  test('peers with what they do, and attempts from their start to their end', async () => {
    await using swarm = await TestSwarm.start();
    const viewer = await signIn(swarm.coordinator);
    const id = await swarm.submit({
      items: { kind: 'count', count: 40 },
      params: { msPerItem: 20 },
      yieldsParts: false,
    });
    const doing = await until('the peer to do it', async () => {
      const { peers } = await viewer.call('peers', {});
      return peers[0]?.session?.doing[0];
    });
    expect(doing).toMatchObject({ job: id, jobName: 'test', stage: 'stage-0', why: 'fresh' });
    await swarm.ended(id);
    const { attempts, incarnation } = await viewer.call('timeline', { job: id });
    expect(incarnation).toBe(1);
    expect(attempts.reduce((sum, { start, end }) => sum + end - start, 0)).toBe(40);
    for (const attempt of attempts) {
      expect(attempt).toMatchObject({ how: 'accepted', durationMs: expect.any(Number), stage: 'stage-0' });
      expect(attempt.endedAt).toBeGreaterThanOrEqual(attempt.startedAt);
    }
    expect((await viewer.call('timeline', { job: '0123456789abcdef' })).attempts).toEqual([]);
  });
});

describe('the decision log', () => {
  test('has a line for each attempt, with what was planned and what came of it; a restart adds to it', async () => {
    const decisionLog = join(dashboardDir, 'decisions.jsonl');
    const coordinator = await TestCoordinator.start({ decisionLog });
    const joined = await joinSwarm(coordinator.swarm, coordinator.admin, coordinator.url);
    await using swarm = new TestSwarm(coordinator, await TestAgent.start(joined));
    const work = { items: { kind: 'count' as const, count: 30 }, params: { msPerItem: 5 }, yieldsParts: false };
    await swarm.ended(await swarm.submit(work));
    await coordinator.restart();
    await swarm.ended(await swarm.submit(work));
    await coordinator.stop();
    const lines = (await readFile(decisionLog, 'utf8')).trim().split('\n');
    const decisions = lines.map((line) => JSON.parse(line) as Decision);
    expect(decisions.reduce((sum, { start, end }) => sum + end - start, 0)).toBe(60);
    expect(new Set(decisions.map(({ epoch }) => epoch.split('.')[0]))).toEqual(new Set(['1', '2']));
    expect(decisions.at(-1)).toMatchObject({
      ...{ stage: 'stage-0', why: 'fresh', how: 'accepted', planned: { runMs: expect.any(Number) } },
      real: { endAt: expect.any(Number), runMs: expect.any(Number) },
    });
  });

  test('one that cannot be written is said at the start', async () => {
    const start = TestCoordinator.start({ decisionLog: join(dashboardDir, 'nowhere', 'decisions.jsonl') });
    await expect(start).rejects.toMatchObject({ code: 'bad-input' });
  });
});

describe('files', () => {
  test('the page and its parts are served under a policy that lets nothing else run', async () => {
    await using coordinator = await TestCoordinator.start({ dashboardDir });
    const page = await fetch(coordinator.url);
    expect(await page.text()).toContain('built');
    expect(page.headers.get('content-security-policy')).toMatch(/default-src 'none'.*script-src 'self'/);
    expect(page.headers.get('content-security-policy')).not.toMatch(/unsafe|\*|http/);
    expect(page.headers.get('x-content-type-options')).toBe('nosniff');
    expect(page.headers.get('cache-control')).toBe('no-store');
    const script = await fetch(`${coordinator.url}/assets/index-1234.js`);
    expect(script.headers.get('content-type')).toMatch(/^text\/javascript/);
    expect(script.headers.get('cache-control')).toContain('immutable');
  });

  test.each(['/.built-from', '/../key.pem', '/..%2fkey.pem', '/assets', '/assets/', '/index.html/', '//key.pem'])(
    'nothing but what was built: %s',
    async (path) => {
      await using coordinator = await TestCoordinator.start({ dashboardDir });
      const { port } = new URL(coordinator.url);
      expect(await statusOf(Number(port), { path })).toBe(401);
    },
  );

  test('without a build the page says what to do', async () => {
    await using coordinator = await TestCoordinator.start();
    const page = await fetch(coordinator.url);
    expect([page.status, await page.text()]).toEqual([503, expect.stringContaining('npm run build')]);
  });
});

describe('the proxy before a coordinator that speaks TLS', () => {
  test('a browser signs in and looks through it; pages and names of others are turned away', async () => {
    await using coordinator = await TestCoordinator.start({ host: '0.0.0.0', allowPublic: true, dashboardDir });
    const { session } = coordinator.client();
    const { url, fetch: pinned } = session.options;
    await using proxy = await startDashboardProxy({ url, fetch: pinned ?? fetch, port: 0 });
    expect(await (await fetch(proxy.url)).text()).toContain('built');
    const { code } = await coordinator.client().call('link', {});
    const { token } = await redeemCode(proxy.url, code);
    const viewer = new SwarmClient(new BrowserSession(proxy.url, token));
    expect(await viewer.call('peers', {})).toEqual({ peers: [] });
    for await (const { peers } of viewer.watchSwarm()) {
      expect(peers).toEqual([]);
      break;
    }
    const port = Number(new URL(proxy.url).port);
    expect(await statusOf(port, { host: 'evil.example' })).toBe(403);
    expect(await statusOf(port, { origin: 'https://evil.example' })).toBe(403);
    expect((await fetch(`${proxy.url}/v1/jobs`, { method: 'DELETE' })).status).toBe(405);
  });

  test('a coordinator that is away is one to be asked again', async () => {
    await using coordinator = await TestCoordinator.start({ host: '0.0.0.0', allowPublic: true });
    const { url, fetch: pinned } = coordinator.client().session.options;
    await using proxy = await startDashboardProxy({ url, fetch: pinned ?? fetch, port: 0 });
    await coordinator.stop();
    const away = new SwarmClient(new BrowserSession(proxy.url, 'x'));
    await expect(away.call('peers', {})).rejects.toMatchObject({ code: 'unavailable', retryable: true });
  });
});

/** Of a GET with a path and headers as they are, which `fetch` would not send. */
function statusOf(port: number, { path = '/', ...headers }: { path?: string; host?: string; origin?: string }) {
  return new Promise<number | undefined>((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on('error', reject);
    sent.end();
  });
}
