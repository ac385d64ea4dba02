import { describe, expect, test } from 'vitest';
import { ROUTES, type RouteName } from '../../src/protocol/http.ts';
import { TestCoordinator } from '../helpers/test-coordinator.ts';

describe('coordinator over HTTP', () => {
  test('nothing but health is answered without a session', async () => {
    await using coordinator = await TestCoordinator.start();
    const paths = Object.entries(ROUTES).map(([name, row]) => ({
      name: name as RouteName,
      method: row.method.toUpperCase(),
      path: row.path,
      access: row.access,
    }));
    const extra = ['/openapi.json', '/metrics', '/v1/events', `/v1/artifacts/sha256:${'0'.repeat(64)}`, '/nowhere'];
    for (const { method, path, access } of [
      ...paths,
      ...extra.map((path) => ({ method: 'GET', path, access: [] as readonly string[] })),
    ]) {
      if (access === 'handshake') continue;
      const url = coordinator.url + path.replaceAll(/\{job\}/g, '0123456789abcdef').replaceAll(/\{\w+\}/g, 'x');
      const init =
        method === 'POST' ? { method, headers: { 'content-type': 'application/json' }, body: '{}' } : { method };
      const { status } = await fetch(url, init);
      expect([path, status]).toEqual([path, access === 'public' ? 200 : 401]);
    }
  });

  test('the admin sees the swarm and the OpenAPI document', async () => {
    await using coordinator = await TestCoordinator.start();
    const client = coordinator.client();
    expect(await client.call('swarm', {})).toMatchObject({ swarm: coordinator.swarm, jobs: { known: 0 } });
    const document = (await (await client.session.fetch('/openapi.json')).json()) as { openapi: string; paths: object };
    expect(document.openapi).toBe('3.1.0');
    for (const row of Object.values(ROUTES)) expect(document.paths).toHaveProperty([row.path, row.method]);
    expect(await (await client.session.fetch('/metrics')).text()).toContain('swarm_jobs{status="running"} 0');
  });
});
