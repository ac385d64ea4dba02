// Models on their way to a runner: fetched file by file by hash, checked as a whole, kept, and fetched again when damaged.

import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { prepareBuiltInModel } from '../../src/agent/model-preparation.ts';
import type { ModelSpec } from '../../src/protocol/job-spec.ts';
import { prepareModel } from '../../src/workloads/embeddings/model.ts';
import { toModelId, toSha256 } from '../../src/workloads/embeddings/model-files.ts';
import { CHAOS, TestSwarm } from '../helpers/test-swarm.ts';

const FILES = { 'config.json': '{}', 'onnx/model.onnx': 'weights '.repeat(1_000) };

async function putModel(swarm: TestSwarm, content: Record<string, string> = FILES): Promise<ModelSpec> {
  const files: ModelSpec['files'] = [];
  for (const [path, text] of Object.entries(content)) {
    const bytes = new TextEncoder().encode(text);
    files.push({ path, id: await swarm.put(bytes), sizeBytes: bytes.byteLength });
  }
  const known = files.map(({ path, id, sizeBytes }) => ({ name: path, sha256: id.slice(7), sizeBytes }));
  return { name: 'tiny', sha256: toModelId(known), files };
}

function listModels(swarm: TestSwarm): Promise<string[]> {
  return readdir(join(swarm.agent.dir, 'models')).catch(() => []);
}

describe('a model that travels', () => {
  test('is fetched once, kept whole, and given to the runner', async () => {
    await using swarm = await TestSwarm.start();
    const model = await putModel(swarm);
    const stage = { ...CHAOS, model, taskItems: 3, yieldsParts: true };
    const id = await swarm.submit(stage);
    expect((await swarm.ended(id)).status).toBe('completed');
    expect(await listModels(swarm)).toEqual([model.sha256]);
    const dir = join(swarm.agent.dir, 'models', model.sha256);
    expect((await readdir(dir, { recursive: true })).toSorted()).toEqual(['config.json', 'onnx', 'onnx/model.onnx']);
  });

  test('is fetched anew when what is kept was damaged, also in a download that stopped halfway', async () => {
    await using swarm = await TestSwarm.start();
    const model = await putModel(swarm);
    for (const folder of [model.sha256, `${model.sha256}.partial`]) {
      const dir = join(swarm.agent.dir, 'models', folder);
      await mkdir(join(dir, 'onnx'), { recursive: true });
      await writeFile(join(dir, 'config.json'), '[]');
    }
    expect((await swarm.ended(await swarm.submit({ ...CHAOS, model }))).status).toBe('completed');
    expect(await listModels(swarm)).toEqual([model.sha256]);
  });

  test('whose files are not what the job names is refused by this machine', async () => {
    await using swarm = await TestSwarm.start();
    const model = { ...(await putModel(swarm)), sha256: toSha256('another') };
    const id = await swarm.submit({ ...CHAOS, model });
    await expect
      .poll(async () => (await swarm.job(id)).stages[0]?.refusals, { timeout: 20_000 })
      .toMatchObject([{ reason: expect.stringMatching(/the job names/) }]);
    expect(await listModels(swarm)).toEqual([]);
  });

  test('that is larger than the owner allows is refused before a byte of it is fetched', async () => {
    await using swarm = await TestSwarm.start({ cacheBytes: 1_000 });
    const id = await swarm.submit({ ...CHAOS, model: await putModel(swarm) });
    await expect
      .poll(async () => (await swarm.job(id)).stages[0]?.refusals, { timeout: 20_000 })
      .toMatchObject([{ reason: expect.stringMatching(/keeps at most/) }]);
  });

  test('makes room by removing the one that was used longest ago', async () => {
    await using swarm = await TestSwarm.start({ cacheBytes: 12_000 });
    const old = await putModel(swarm);
    expect((await swarm.ended(await swarm.submit({ ...CHAOS, model: old }))).status).toBe('completed');
    const next = await putModel(swarm, { 'config.json': 'x'.repeat(8_000) });
    expect((await swarm.ended(await swarm.submit({ ...CHAOS, model: next }))).status).toBe('completed');
    expect(await listModels(swarm)).toEqual([next.sha256]);
  });
});

describe('a model that comes with the release', () => {
  test('is prepared in a process of its own, as the submitter would prepare it', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'swarm-model-'));
    try {
      const order = { name: 'use-lite', precision: 'float32', cacheDir: dir };
      const prepared = await prepareBuiltInModel(order, new AbortController().signal);
      const { modelDir, modelId } = await prepareModel('use-lite', dir);
      expect(prepared).toEqual({ ok: true, value: { modelDir, modelId } });
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  test('that does not exist is said so', async () => {
    const order = { name: 'gpt-17', precision: 'float32', cacheDir: tmpdir() };
    const prepared = await prepareBuiltInModel(order, new AbortController().signal);
    expect(prepared).toEqual({ ok: false, error: expect.stringMatching(/no model gpt-17/) });
  });
});
