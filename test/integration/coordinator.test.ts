// Tests of a real coordinator over real sockets: who may do what, what bad input gets, and what survives.

import { request } from 'node:http';
import { connect, createServer, type AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../src/protocol/errors.ts';
import { SwarmError } from '../../src/protocol/errors.ts';
import { signEnvelope } from '../../src/protocol/dsse.ts';
import { ROUTES, type RouteName } from '../../src/protocol/http.ts';
import { JOB_SPEC_TYPE, parseJobSpec, type JobSpecInput } from '../../src/protocol/job-spec.ts';
import { generateKey } from '../../src/protocol/keys.ts';
import { Session } from '../../src/client/session.ts';
import { startCoordinator } from '../../src/coordinator/coordinator.ts';
import { until } from '../helpers/condition.ts';
import { SILENT, TestCoordinator } from '../helpers/test-coordinator.ts';

const NOOP: Omit<JobSpecInput, 'v' | 'swarm'> = {
  clientKey: 'one',
  name: 'nothing',
  stages: [{ name: 'map', workload: 'noop', items: { kind: 'count', count: 10 }, yieldsParts: false }],
};

async function codeOf(promise: Promise<unknown>): Promise<ErrorCode | 'accepted'> {
  try {
    await promise;
    return 'accepted';
  } catch (error) {
    if (error instanceof SwarmError) return error.code;
    throw error;
  }
}

/** A request with headers that fetch does not let one set. */
function statusOf(url: string, headers: Record<string, string>, method = 'GET'): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { headers, method }, (response) => {
      resolve(response.statusCode ?? 0);
      sent.destroy();
    });
    sent.on('error', reject);
    sent.flushHeaders();
  });
}

describe('who may come in', () => {
  test('nothing but health is answered without a session', async () => {
    await using coordinator = await TestCoordinator.start();
    const rows = Object.entries(ROUTES).map(([name, row]) => ({ ...row, name: name as RouteName }));
    const bytes = ['/openapi.json', '/metrics', '/v1/events', `/v1/artifacts/sha256:${'0'.repeat(64)}`, '/nowhere'];
    const extra = bytes.map((path) => ({ method: 'get', path, access: [] as readonly string[] }));
    for (const { method, path, access } of [...rows, ...extra]) {
      if (access === 'handshake') continue;
      const url = coordinator.url + path.replaceAll('{job}', '0123456789abcdef').replaceAll(/\{\w+\}/g, 'x');
      const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' };
      const { status } = await fetch(url, method === 'post' ? post : {});
      expect([path, status]).toEqual([path, access === 'public' ? 200 : 401]);
    }
  });

  test('the admin sees the swarm, the OpenAPI document and the metrics', async () => {
    await using coordinator = await TestCoordinator.start();
    const client = coordinator.client();
    expect(await client.call('swarm', {})).toMatchObject({ swarm: coordinator.swarm, jobs: { known: 0 } });
    const document = (await (await client.session.fetch('/openapi.json')).json()) as { openapi: string; paths: object };
    expect(document.openapi).toBe('3.1.0');
    for (const row of Object.values(ROUTES)) expect(document.paths).toHaveProperty([row.path, row.method]);
    expect(await (await client.session.fetch('/metrics')).text()).toContain('swarm_jobs{status="running"} 0');
  });

  test('a metrics token opens /metrics and nothing else', async () => {
    await using coordinator = await TestCoordinator.start({ metricsToken: 'scrape-me' });
    const headers = { authorization: 'Bearer scrape-me' };
    expect((await fetch(`${coordinator.url}/metrics`, { headers })).status).toBe(200);
    expect((await fetch(`${coordinator.url}/v1/swarm`, { headers })).status).toBe(401);
  });

  test('an upgrade of any other path is refused, and its socket is not kept', async () => {
    await using coordinator = await TestCoordinator.start();
    const headers = { connection: 'Upgrade', upgrade: 'websocket' };
    for (const path of ['//', '/elsewhere', 'http://[']) {
      const stranger = connect({ port: Number(new URL(coordinator.url).port), allowHalfOpen: true });
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      stranger.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${lines.join('')}\r\n`);
      let answer = '';
      stranger.on('data', (chunk: Buffer) => (answer += chunk.toString()));
      await until('an answer', () => answer !== '');
      expect(answer).toMatch(/^HTTP\/1.1 404 /);
    }
    // Half of each socket is still open on the stranger's side.
    await coordinator.stop();
  });

  test('a body is not read before its sender is known to may send it', async () => {
    await using coordinator = await TestCoordinator.start();
    const stranger = connect({ port: Number(new URL(coordinator.url).port) });
    let answer = '';
    stranger.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    stranger.on('error', () => undefined);
    stranger.write('POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n');
    stranger.write('Transfer-Encoding: chunked\r\n\r\n5\r\n{"sub');
    await until('an answer', () => answer !== '', 5_000);
    expect(answer).toMatch(/^HTTP\/1.1 401 /);
    stranger.destroy();
  });

  test('a key that nobody knows is refused; with an invite it is enrolled in its role', async () => {
    await using coordinator = await TestCoordinator.start();
    const stranger = (await generateKey()).signer;
    expect(await codeOf(coordinator.client(stranger).session.open())).toBe('forbidden');
    const { signer, membership } = await coordinator.invite('viewer', { name: 'Vera' });
    const viewer = coordinator.client(signer, membership);
    expect(await viewer.session.open()).toEqual({ role: 'viewer', name: 'Vera' });
    expect(await codeOf(viewer.call('jobs', {}))).toBe('accepted');
    expect(await codeOf(viewer.submit(NOOP))).toBe('forbidden');
    expect((await viewer.session.fetch(`/v1/artifacts/sha256:${'0'.repeat(64)}`)).status).toBe(403);
    // Known from now on, without showing the membership again, also after a restart.
    await coordinator.restart();
    expect(await coordinator.client(signer).session.open()).toMatchObject({ role: 'viewer' });
  });

  test('an invite that expired, is used up, or was signed by another admin is refused with the reason', async () => {
    await using coordinator = await TestCoordinator.start();
    await using other = await TestCoordinator.start();
    const expired = await coordinator.invite('viewer', { expiresAt: Date.now() - 1_000 });
    await expect(coordinator.client(expired.signer, expired.membership).session.open()).rejects.toThrow(/expired/);
    const once = await coordinator.invite('viewer', { maxUses: 1 });
    await coordinator.client(once.signer, once.membership).session.open();
    const second = (await generateKey()).signer;
    const { parseInvite, acceptInvite } = await import('../../src/protocol/invite.ts');
    const { webCryptoSignatures } = await import('../../src/protocol/keys.ts');
    const invite = await parseInvite(once.invite, webCryptoSignatures);
    if (!invite.ok) throw new Error(invite.error);
    const again = await acceptInvite(invite.value, second.keyId, 'second');
    await expect(coordinator.client(second, again).session.open()).rejects.toThrow(/used 1 of 1/);
    const foreign = await other.invite('viewer');
    expect(await codeOf(coordinator.client(foreign.signer, foreign.membership).session.open())).toBe('bad-invite');
  });

  test('a membership of someone else’s key is of no use', async () => {
    await using coordinator = await TestCoordinator.start();
    const { membership } = await coordinator.invite('admin');
    const thief = (await generateKey()).signer;
    expect(await codeOf(coordinator.client(thief, membership).session.open())).toBe('bad-invite');
  });

  test('a handshake is used once, and a proof of another key is refused', async () => {
    await using coordinator = await TestCoordinator.start();
    const post = async (path: string, body: object) => {
      const headers = { 'content-type': 'application/json' };
      return fetch(coordinator.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
    };
    const { proveClient, toClientHello } = await import('../../src/protocol/handshake.ts');
    const { drawNonce, webCryptoSignatures } = await import('../../src/protocol/keys.ts');
    const hello = toClientHello(coordinator.admin.keyId, drawNonce());
    const { handshake, answer } = (await (await post('/v1/session/hello', hello)).json()) as {
      handshake: string;
      answer: unknown;
    };
    const channel = { purpose: 'http', tlsPin: '' } as const;
    const forger = (await generateKey()).signer;
    const forged = await proveClient(hello, answer, channel, forger, coordinator.swarm, webCryptoSignatures);
    expect((await post('/v1/session/proof', { handshake, proof: forged.ok && forged.value })).status).toBe(401);
    // The failed try used it up: the true key comes too late.
    const proof = await proveClient(hello, answer, channel, coordinator.admin, coordinator.swarm, webCryptoSignatures);
    expect((await post('/v1/session/proof', { handshake, proof: proof.ok && proof.value })).status).toBe(401);
  });

  test('a wrong Host or a foreign Origin is refused', async () => {
    await using coordinator = await TestCoordinator.start({ publicHosts: ['swarm.example'] });
    const url = `${coordinator.url}/healthz`;
    const { port } = new URL(coordinator.url);
    expect(await statusOf(url, { host: `evil.example:${port}` })).toBe(403);
    expect(await statusOf(url, { host: `swarm.example:${port}` })).toBe(200);
    expect(await statusOf(url, { host: `localhost:${port}` })).toBe(200);
    expect(await statusOf(url, { host: `127.0.0.1:${port}`, origin: 'https://evil.example' })).toBe(403);
    expect(await statusOf(url, { host: `127.0.0.1:${port}`, origin: 'null' })).toBe(403);
    expect(await statusOf(url, { host: `127.0.0.1:${port}`, origin: coordinator.url })).toBe(200);
  });

  test('beyond loopback it is TLS with a pin; a client with another pin sends nothing', async () => {
    await using coordinator = await TestCoordinator.start({ host: '0.0.0.0', allowPublic: true });
    expect(coordinator.url).toMatch(/^https:\/\/127\.0\.0\.1:/);
    expect(await coordinator.client().session.open()).toMatchObject({ role: 'admin' });
    const { PinnedAgent } = await import('../../src/identity/pinned-agent.ts');
    const { pinnedFetch } = await import('../../src/identity/pinned-fetch.ts');
    const { Session } = await import('../../src/client/session.ts');
    const tlsPin = 'f'.repeat(64);
    const { url, swarm, admin: signer } = coordinator;
    const wrong = new Session({ url, swarm, signer, tlsPin, fetch: pinnedFetch(new PinnedAgent(tlsPin)) });
    await expect(wrong.open()).rejects.toThrow(/does not have the key/);
    // One who connects and does not even begin TLS does not hold up the end.
    const mute = connect({ port: Number(new URL(url).port), host: '127.0.0.1' });
    mute.on('error', () => undefined);
    await new Promise<void>((resolve) => mute.once('connect', resolve));
    await coordinator.stop();
    mute.destroy();
  });
});

describe('weights of shares', () => {
  test('an admin sets them, for members and for itself; others do not, nor beyond bounds', async () => {
    await using coordinator = await TestCoordinator.start();
    const { signer, membership } = await coordinator.invite('submitter', { name: 'anna' });
    const anna = coordinator.client(signer, membership);
    const own = { member: signer.keyId };
    await expect(anna.call('weigh', { ...own, body: { weight: 9 } })).rejects.toMatchObject({ code: 'forbidden' });
    const admin = coordinator.client();
    expect(await admin.call('weigh', { ...own, body: { weight: 2 } })).toMatchObject({ changed: true });
    expect(await admin.call('weigh', { ...own, body: { weight: 2 } })).toMatchObject({ changed: false });
    const itself = { member: coordinator.admin.keyId, body: { weight: 0.5 } };
    expect(await admin.call('weigh', itself)).toMatchObject({ changed: true });
    for (const weight of [0, -1, 11, NaN])
      await expect(admin.call('weigh', { ...own, body: { weight } })).rejects.toMatchObject({ code: 'bad-request' });
    const stranger = { member: `ed25519:${'9'.repeat(64)}`, body: { weight: 2 } };
    await expect(admin.call('weigh', stranger)).rejects.toMatchObject({ code: 'not-found' });
    await coordinator.restart();
    const { members } = await coordinator.client().call('members', {});
    expect(members).toMatchObject([{ name: 'anna', role: 'submitter', weight: 2 }]);
  });
});

describe('what bad input gets', () => {
  test('a tampered or foreign submission is refused, and nothing of it is kept', async () => {
    await using coordinator = await TestCoordinator.start();
    const { admin, swarm } = coordinator;
    const client = coordinator.client();
    const submit = (submission: unknown) =>
      codeOf(client.call('submit', { body: { submission: JSON.stringify(submission) } }));
    const spec = parseJobSpec({ v: 1, swarm, ...NOOP });
    if (!spec.ok) throw new Error(spec.error);
    const envelope = await signEnvelope(JOB_SPEC_TYPE, spec.value, admin);
    const altered = Buffer.from(envelope.payload, 'base64').toString().replace('"count":10', '"count":99');
    expect(await submit({ envelope: { ...envelope, payload: Buffer.from(altered).toString('base64') } })).toBe(
      'bad-signature',
    );
    const stranger = (await generateKey()).signer;
    expect(await submit({ envelope: await signEnvelope(JOB_SPEC_TYPE, spec.value, stranger) })).toBe('forbidden');
    const elsewhere = { ...spec.value, swarm: stranger.keyId };
    expect(await submit({ envelope: await signEnvelope(JOB_SPEC_TYPE, elsewhere, admin) })).toBe('bad-input');
    expect(await submit('no submission')).toBe('bad-signature');
    expect((await client.call('jobs', {})).jobs).toEqual([]);
  });

  test('the same submission is one job; another spec under its client key is a conflict', async () => {
    await using coordinator = await TestCoordinator.start();
    const client = coordinator.client();
    const first = await client.submit(NOOP);
    expect(first.changed).toBe(true);
    expect(await client.submit(NOOP)).toEqual({ id: first.id, changed: false });
    expect(await codeOf(client.submit({ ...NOOP, name: 'something else' }))).toBe('conflict');
  });

  test('a job as large as jobs may be, and a quota beyond a terabyte, can be shown', async () => {
    await using coordinator = await TestCoordinator.start({ quotaBytes: 4e12 });
    const client = coordinator.client();
    const items = { kind: 'count', count: 1e12 } as const;
    const stages = ['a', 'b'].map((name) => ({ name, workload: 'noop', items }));
    await client.submit({ ...NOOP, stages });
    expect((await client.call('jobs', {})).jobs).toMatchObject([{ items: { total: 2e12 } }]);
    expect(await client.call('swarm', {})).toMatchObject({ artifacts: { quotaBytes: 4e12 } });
  });

  test('a job of someone else cannot be changed, except by an admin', async () => {
    await using coordinator = await TestCoordinator.start();
    const [anna, ben] = [await coordinator.invite('submitter'), await coordinator.invite('submitter')];
    const { id: job } = await coordinator.client(anna.signer, anna.membership).submit(NOOP);
    const bens = coordinator.client(ben.signer, ben.membership);
    expect(await codeOf(bens.call('cancel', { job }))).toBe('forbidden');
    expect(await codeOf(coordinator.client().call('pause', { job }))).toBe('accepted');
    expect(await coordinator.client().call('job', { job })).toMatchObject({
      status: 'paused',
      reason: 'paused by admin',
    });
    expect(await codeOf(coordinator.client().call('cancel', { job }))).toBe('accepted');
    expect(await codeOf(coordinator.client().call('resume', { job }))).toBe('conflict');
  });

  test('malformed requests are told what is wrong', async () => {
    await using coordinator = await TestCoordinator.start();
    const { session } = coordinator.client();
    const post = (body: string, type = 'application/json') =>
      session.fetch('/v1/jobs', { method: 'POST', headers: { 'content-type': type }, body });
    expect((await post('{')).status).toBe(400);
    expect((await post('{"submission":"x","more":1}')).status).toBe(400);
    expect((await post('{"submission":"x"}', 'text/plain')).status).toBe(400);
    const announced = { 'content-type': 'application/json', 'content-length': '3000000' };
    expect(await statusOf(`${coordinator.url}/v1/jobs`, announced, 'POST')).toBe(401);
    expect(await statusOf(`${coordinator.url}/v1/session/hello`, announced, 'POST')).toBe(413);
    expect((await post('x'.repeat(2 * 1_024 * 1_024))).status).toBe(413);
    expect((await session.fetch('/v1/jobs?limit=0')).status).toBe(400);
    expect((await session.fetch('/v1/jobs')).headers.get('cache-control')).toBe('no-store');
    expect((await session.fetch('/v1/jobs/nonsense')).status).toBe(400);
    expect((await session.fetch('/v1/jobs/0123456789abcdef')).status).toBe(404);
    expect((await session.fetch('/v1/events?job=0123456789abcdef')).status).toBe(404);
  });

  test('a port in use, a second coordinator on the same folder and a foreign admin key are refused', async () => {
    await using coordinator = await TestCoordinator.start();
    const ports = { logger: SILENT, onFatal: () => undefined };
    const { config } = coordinator;
    const start = (changed: object) => codeOf(startCoordinator({ ...config, ...changed }, ports));
    expect(await start({})).toBe('store-locked');
    const port = Number(new URL(coordinator.url).port);
    expect(await start({ dir: `${config.dir}/second`, port })).toBe('port-in-use');
    expect(await start({ dir: `${config.dir}/third`, host: '8.8.8.8' })).toBe('bad-input');
    await coordinator.stop();
    expect(await start({ adminKey: (await generateKey()).signer.keyId })).toBe('conflict');
  });

  test('an artifact over the quota is refused, and what is stored stays readable', async () => {
    await using coordinator = await TestCoordinator.start({ quotaBytes: 100_000 });
    const { uploadArtifact } = await import('../../src/objects/transfer.ts');
    const { hashBytes } = await import('../../src/objects/objects-hash.ts');
    const { session } = coordinator.client();
    const upload = async (source: Uint8Array<ArrayBuffer>) => {
      const id = hashBytes(source);
      const options = { fetch: (url: string, init: object) => session.fetch(url, init), baseUrl: coordinator.url };
      await uploadArtifact({ ...options, id, source });
      return id;
    };
    const small = await upload(new Uint8Array(50_000).fill(1));
    expect(await codeOf(upload(new Uint8Array(60_000).fill(2)))).toBe('quota-exceeded');
    const response = await session.fetch(`/v1/artifacts/${small}`);
    expect(response.headers.get('cache-control')).toMatch(/immutable/);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(new Uint8Array(50_000).fill(1));
  });
});

describe('live streams', () => {
  test('a watcher sees changes and the end', async () => {
    await using coordinator = await TestCoordinator.start();
    const client = coordinator.client();
    const { id: job } = await client.submit(NOOP);
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { status } of client.watchJob(job)) seen.push(status);
    })();
    await until('the first event', () => seen.length > 0);
    await client.call('pause', { job });
    await until('the pause', () => seen.includes('paused'));
    await client.call('cancel', { job });
    await watching;
    expect(seen.at(-1)).toBe('canceled');
  });

  test('one member cannot take all streams, nor leave any behind', async () => {
    await using coordinator = await TestCoordinator.start();
    const { session } = coordinator.client();
    const abort = new AbortController();
    const open = () => session.fetch('/v1/events', { signal: abort.signal });
    for (let i = 0; i < 4; i++) expect((await session.fetch('/v1/events', { method: 'HEAD' })).status).toBe(405);
    const responses = await Promise.all(Array.from({ length: 33 }, open));
    const statuses = responses.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(32);
    expect(statuses).toContain(429);
    const viewer = await coordinator.invite('viewer');
    const events = coordinator.client(viewer.signer, viewer.membership).watchSwarm();
    expect((await events.next()).value).toMatchObject({ type: 'swarm', jobs: [] });
    await events.return(undefined);
    abort.abort();
    const count = async () => /swarm_live_streams (\d+)/.exec(await (await session.fetch('/metrics')).text())?.[1];
    await until('all streams to be gone', async () => (await count()) === '0', 5_000);
  });

  test('a coordinator that takes connections and says nothing is given up', async () => {
    const mute = createServer((socket) => socket.on('error', () => undefined));
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const { port } = mute.address() as AddressInfo;
    const { signer } = await generateKey();
    const session = new Session({ url: `http://127.0.0.1:${port}`, signer, swarm: signer.keyId, handshakeMs: 50 });
    expect(await codeOf(session.open())).toBe('timeout');
    mute.close();
  });

  test('a watcher survives a restart of the coordinator', async () => {
    await using coordinator = await TestCoordinator.start();
    const client = coordinator.client();
    const { id: job } = await client.submit(NOOP);
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { status } of client.watchJob(job)) seen.push(status);
    })();
    await until('the first event', () => seen.length > 0);
    await coordinator.restart();
    await client.call('cancel', { job });
    await watching;
    expect(seen.at(-1)).toBe('canceled');
  });

  test('readers that do not read cost no memory: the coordinator holds one event for each', async () => {
    await using coordinator = await TestCoordinator.start();
    const client = coordinator.client();
    const { id: job } = await client.submit(NOOP);
    let token = '';
    const spy = coordinator.client();
    await spy.session.fetch('/v1/swarm');
    // The token is asked for by hand, because fetch would read ahead.
    const probe = globalThis.fetch;
    globalThis.fetch = (input, init) => {
      token = new Headers(init?.headers).get('authorization') ?? token;
      return probe(input, init);
    };
    await spy.session.fetch('/v1/swarm');
    globalThis.fetch = probe;
    const { port, host } = new URL(coordinator.url);
    const sockets = Array.from({ length: 20 }, () => {
      const socket = connect(Number(port), '127.0.0.1').pause();
      socket.write(`GET /v1/events?job=${job} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${token}\r\n\r\n`);
      return socket;
    });
    const streams = async () =>
      /swarm_live_streams (\d+)/.exec(await (await client.session.fetch('/metrics')).text())?.[1];
    await until('all streams to be open', async () => (await streams()) === '20');
    for (let i = 0; i < 200; i++) await client.call('prioritise', { job, body: { priority: i % 100 } });
    const paused = sockets.map((socket) => socket.bytesRead);
    expect(Math.max(...paused)).toBeLessThan(65_536);
    for (const socket of sockets) socket.destroy();
    await until('the streams to be gone', async () => (await streams()) === '0');
  });
});
