// Any other ONNX sentence encoder: a folder in the transformers.js layout, a hub, and the folders that are refused.

import { spawnSync } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cp, mkdir, mkdtemp, readFile, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openEncoder, type Encoder } from '../../src/workloads/embeddings/encoder.ts';
import { describeModelLicence, prepareModel } from '../../src/workloads/embeddings/model.ts';
import { OnnxGraph } from '../../src/workloads/embeddings/onnx-graph.ts';
import { ProtobufWriter } from '../../src/workloads/embeddings/onnx-protobuf.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'red', 'green', 'blue', 'query'];
let dir: string;

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'encoder-folder-')));
});
afterEach(async () => rm(dir, { recursive: true, force: true }));

/** A network of one table: each token's vector has a one at the token's id. */
function tableNetwork(extraInput?: string): Uint8Array {
  const graph = new OnnxGraph();
  const ids = graph.input('input_ids', 'int64', ['batch', 'tokens']);
  graph.input('attention_mask', 'int64', ['batch', 'tokens']);
  if (extraInput !== undefined) graph.input(extraInput, 'int64', ['batch', 'tokens']);
  const table = Float32Array.from({ length: WORDS.length ** 2 }, (_, at) => (at % (WORDS.length + 1) === 0 ? 1 : 0));
  graph.named(
    'last_hidden_state',
    graph.node('Gather', [graph.float32('table', [WORDS.length, WORDS.length], table), ids]),
  );
  graph.output('last_hidden_state', 'float32', ['batch', 'tokens', WORDS.length]);
  return graph.toBytes('table', 'test');
}

/** As the table, but token vectors pass through 8 bits whose range is the whole batch's; "blue" is 100 times as long. */
function rangedNetwork(): Uint8Array {
  const graph = new OnnxGraph();
  const ids = graph.input('input_ids', 'int64', ['batch', 'tokens']);
  graph.input('attention_mask', 'int64', ['batch', 'tokens']);
  const table = Float32Array.from(
    { length: WORDS.length ** 2 },
    (_, at) => Math.sin(at) * (at >= 6 * WORDS.length ? 100 : 1),
  );
  const exact = graph.node('Gather', [graph.float32('table', [WORDS.length, WORDS.length], table), ids]);
  const [bytes = '', scale = '', zero = ''] = graph.nodeWithOutputs('DynamicQuantizeLinear', [exact], 3);
  graph.named('last_hidden_state', graph.node('DequantizeLinear', [bytes, scale, zero]));
  graph.output('last_hidden_state', 'float32', ['batch', 'tokens', WORDS.length]);
  return graph.toBytes('ranged', 'test');
}

const TOKENIZER = {
  version: '1.0',
  added_tokens: WORDS.slice(0, 4).map((content, id) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  })),
  normalizer: {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [
      { SpecialToken: { id: '[CLS]', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '[SEP]', type_id: 0 } },
    ],
    pair: [],
    special_tokens: {
      '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
      '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] },
    },
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])),
  },
};

async function put(files: Readonly<Record<string, Uint8Array | object | string>>, into = dir): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(into, name)), { recursive: true });
    const bytes = typeof content === 'string' || content instanceof Uint8Array ? content : JSON.stringify(content);
    await writeFile(join(into, name), bytes);
  }
}

async function putModel(into = dir): Promise<void> {
  const files = {
    'config.json': { model_type: 'bert', max_position_embeddings: 6, auto_map: { AutoModel: 'evil.py' } },
    'tokenizer.json': TOKENIZER,
    'tokenizer_config.json': { tokenizer_class: 'BertTokenizer', pad_token: '[PAD]' },
    'onnx/model.onnx': tableNetwork(),
    'README.md': '---\ntags: [x]\nlicense: mit\n---\nA model.\n',
  };
  await put(files, into);
}

async function open(): Promise<Encoder> {
  return openEncoder({ model: 'mine', modelDir: dir, precision: 'float32', threads: 1 });
}

async function expectRefusal(code: string, message: string | RegExp): Promise<void> {
  const expected = { code, message: expect.stringMatching(message) as unknown };
  await expect(open()).rejects.toMatchObject(expected);
}

describe('a folder', () => {
  beforeEach(async () => putModel());

  test('embeds by mean over tokens, padding left out', async () => {
    await using encoder = await open();
    expect([encoder.dims, encoder.maxTokens]).toEqual([8, 6]);
    const vectors = await encoder.embed(['red', 'Green green blue', 'red red red red red red red']);
    const third = 1 / Math.sqrt(3);
    expect(Array.from(vectors.subarray(0, 8), (x) => x.toFixed(4))).toEqual(
      [0, 0, third, third, third, 0, 0, 0].map((x) => x.toFixed(4)),
    );
    expect(vectors[8 + 5]).toBeCloseTo(2 * (vectors[8 + 6] ?? 0), 5);
    // Truncated to [CLS] red red red red [SEP].
    expect(vectors[16 + 4]).toBeCloseTo(4 * (vectors[16 + 2] ?? 0), 5);
  });

  test('pools and prefixes as its files say', async () => {
    await put({
      '1_Pooling/config.json': { pooling_mode_cls_token: true, pooling_mode_mean_tokens: false },
      'modules.json': [
        { type: 'sentence_transformers.models.Transformer', path: '' },
        { type: 'sentence_transformers.models.Pooling', path: '1_Pooling' },
      ],
    });
    await using byClass = await open();
    expect(Array.from(await byClass.embed(['red']))).toEqual([0, 0, 1, 0, 0, 0, 0, 0]);
    await put({
      '1_Pooling/config.json': { pooling_mode_max_tokens: true },
      'config_sentence_transformers.json': { prompts: { q: 'query ' }, default_prompt_name: 'q' },
    });
    await using withPrompt = await open();
    expect((await withPrompt.embed(['red']))[7]).toBeGreaterThan(0.4);
    expect(withPrompt.modelId).not.toBe(byClass.modelId);
  });

  test('runs one text at a time where the network takes ranges over the batch', async () => {
    await put({ 'onnx/model.onnx': rangedNetwork() });
    await using encoder = await open();
    const beside = await encoder.embed(['red', 'blue blue']);
    expect(await encoder.embed(['red'])).toEqual(beside.slice(0, 8));
  });

  test('has the identity that prepareModel told, whatever else lies there', async () => {
    const prepared = await prepareModel(dir, join(dir, 'unused'));
    await put({ 'notes.txt': 'mine' });
    await using encoder = await open();
    expect(encoder.modelId).toBe(prepared.modelId);
    expect(prepared.files.map((file) => file.name)).toEqual([
      'config.json',
      'onnx/model.onnx',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    expect(await describeModelLicence('mine', dir)).toBe('mit');
  });

  test('opens with nothing but read access to it', () => {
    const script = `
      const { openEncoder } = await import(${JSON.stringify(join(ROOT, 'src/workloads/embeddings/encoder.ts'))});
      const encoder = await openEncoder({ model: 'mine', modelDir: ${JSON.stringify(dir)}, precision: 'float32', threads: 1 });
      console.log((await encoder.embed(['red'])).length);`;
    const readable = [join(ROOT, 'node_modules'), join(ROOT, 'src'), join(ROOT, 'package.json'), dir];
    const flags = ['--permission', '--allow-addons', ...readable.map((path) => `--allow-fs-read=${path}`)];
    const child = spawnSync(process.execPath, [...flags, '--input-type=module', '--eval', script], {
      encoding: 'utf8',
      cwd: dir,
    });
    expect(child.stderr).not.toContain('ERR_ACCESS_DENIED');
    expect(child.stdout.trim()).toBe('8');
  });
});

describe('a folder is refused', () => {
  beforeEach(async () => putModel());

  test('when it is not there, or not a folder', async () => {
    await rm(dir, { recursive: true });
    await expectRefusal('not-found', /no model folder .*tokenizer\.json/);
    await writeFile(dir, 'x');
    await expectRefusal('bad-input', 'not a folder');
  });

  test('when files are missing', async () => {
    await rm(join(dir, 'tokenizer.json'));
    await expectRefusal('bad-input', 'lacks tokenizer.json');
    await putModel();
    const int8 = openEncoder({ model: 'mine', modelDir: dir, precision: 'int8', threads: 1 });
    await expect(int8).rejects.toMatchObject({
      message: expect.stringContaining('ask for precision float32') as unknown,
    });
  });

  test('when a file is not what its name says', async () => {
    await put({ 'config.json': '{"truncated' });
    await expectRefusal('bad-input', 'config.json');
    await putModel();
    await put({ 'tokenizer.json': { model: 7 } });
    await expectRefusal('bad-input', 'tokenizer.json');
    await put({ 'tokenizer.json': { ...TOKENIZER, model: { type: 'WordPiece' } } });
    await expectRefusal('bad-input', 'cannot read the tokeniser');
    await putModel();
    await put({ 'onnx/model.onnx': '<!doctype html>Entry not found' });
    await expectRefusal('bad-input', 'not an ONNX model');
    await put({ 'onnx/model.onnx': tableNetwork().subarray(0, 300) });
    await expectRefusal('bad-input', 'model.onnx');
  });

  test('when the network wants what a sentence encoder has not', async () => {
    await put({ 'onnx/model.onnx': tableNetwork('pixel_values') });
    await expectRefusal('bad-input', 'pixel_values');
  });

  test.each(['../../../../etc/hostname', '/etc/hostname', '..\\x', 'C:\\x'])(
    'when its weights lie outside: %s',
    async (location) => {
      await put({ 'onnx/model.onnx': externalNetwork(location) });
      await expectRefusal('bad-input', 'outside its folder');
    },
  );

  test('when its weights file is missing, or a link that leads out', async () => {
    await put({ 'onnx/model.onnx': externalNetwork('model.onnx_data') });
    await expectRefusal('bad-input', /onnx\/model\.onnx_data, which is missing/);
    await symlink('/etc/hostname', join(dir, 'onnx/model.onnx_data'));
    await expectRefusal('bad-input', 'leads out');
  });

  test('when it pools in an unknown way or has a layer after pooling', async () => {
    await put({ '1_Pooling/config.json': { pooling_mode_weightedmean_tokens: true } });
    await expectRefusal('bad-input', 'weightedmean');
    await put({
      '1_Pooling/config.json': {},
      'modules.json': [{ type: 'sentence_transformers.models.Dense', path: '2_Dense' }],
    });
    await expectRefusal('bad-input', 'Dense');
  });
});

function externalNetwork(location: string): Uint8Array {
  const entry = new ProtobufWriter().text(1, 'location').text(2, location);
  const tensor = new ProtobufWriter().packedInts(1, [1]).int(2, 1).text(8, 'w').message(13, entry).int(14, 1);
  return new ProtobufWriter().int(1, 8).message(7, new ProtobufWriter().message(5, tensor)).finish();
}

describe('a hub id', () => {
  const commit = 'a'.repeat(40);
  let server: Server;
  let hub: string;
  let requests: string[];
  let cut: boolean;

  beforeEach(async () => {
    await putModel(join(dir, 'remote'));
    requests = [];
    cut = false;
    server = createServer((request, response) => {
      requests.push(request.url ?? '');
      const file = /^\/me\/tiny\/resolve\/a{40}\/(.+)$/.exec(request.url ?? '')?.[1];
      const names = [
        'README.md',
        'config.json',
        'tokenizer.json',
        'tokenizer_config.json',
        'onnx/model.onnx',
        'evil.py',
        '../x',
      ];
      if (request.url?.includes('/me/portal/') === true) response.end('<html>log in to the Wi-Fi</html>');
      else if (request.url?.startsWith('/api/models/me/tiny/revision/') === true) {
        response.end(JSON.stringify({ sha: commit, siblings: names.map((rfilename) => ({ rfilename })) }));
      } else if (file === undefined) response.writeHead(404).end();
      else if (cut && file === 'onnx/model.onnx')
        response.writeHead(200, { 'content-length': '9999' }).end('half', () => response.destroy());
      else void readFile(join(dir, 'remote', file)).then((bytes) => response.end(bytes));
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    hub = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => new Promise<void>((done) => void server.close(() => done())));

  test('is downloaded once, only its known files, and works offline by commit', async () => {
    const cache = join(dir, 'cache');
    const prepared = await prepareModel('me/tiny', cache, { hub });
    expect(requests.some((url) => url.includes('evil.py') || url.includes('..'))).toBe(false);
    await using encoder = await openEncoder({
      model: 'me/tiny',
      modelDir: prepared.modelDir,
      precision: 'float32',
      threads: 1,
      modelId: prepared.modelId,
    });
    expect(encoder.dims).toBe(8);
    expect(await describeModelLicence('me/tiny', prepared.modelDir)).toBe('mit');
    const before = requests.length;
    const again = await prepareModel(`me/tiny@${commit}`, cache, { hub: 'http://127.0.0.1:1' });
    expect(again).toEqual(prepared);
    expect(requests.length).toBe(before);
  });

  test('leaves nothing when the download breaks off, and works when tried again', async () => {
    const cache = join(dir, 'cache');
    cut = true;
    await expect(prepareModel('me/tiny', cache, { hub })).rejects.toMatchObject({ code: 'unavailable' });
    expect(await readdir(join(cache, 'hub'))).toEqual([]);
    cut = false;
    expect((await prepareModel('me/tiny', cache, { hub })).files.length).toBe(4);
  });

  test('is refused when the hub is a log-in page', async () => {
    await expect(prepareModel('me/portal', dir, { hub })).rejects.toMatchObject({ code: 'bad-input' });
  });

  test('is refused when it does not exist, or the hub is out of reach', async () => {
    await expect(prepareModel('me/nothing', dir, { hub })).rejects.toMatchObject({ code: 'not-found' });
    const offline = prepareModel('me/tiny', dir, { hub: 'http://127.0.0.1:1' });
    await expect(offline).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('local folder') as unknown,
    });
  });
});

// Downloads 22 MB, so it runs only where SWARM_SLOW_TESTS is set, as in CI.
describe.skipIf(process.env['SWARM_SLOW_TESTS'] === undefined)('all-MiniLM-L6-v2 with int8 weights', () => {
  test('finds the sentence that means the same, whatever its batch mates', async () => {
    const modelDir = join(ROOT, '.cache/test-models/minilm-int8');
    await cp(modelDir, join(dir, 'minilm'), { recursive: true }).catch((cause: unknown) => {
      throw new Error(`the test model is not in ${modelDir}; run \`node scripts/fetch-test-model.mjs\``, { cause });
    });
    await using encoder = await openEncoder({ model: 'minilm', modelDir, precision: 'int8', threads: 1 });
    expect([encoder.dims, encoder.maxTokens]).toEqual([384, 256]);
    const texts = [
      'How do I reset my password?',
      'I forgot my login credentials.',
      'The cat sat on the mat.',
      'A kitten was resting on the rug.',
    ];
    const vectors = await encoder.embed(texts);
    const dot = (a: number, b: number): number =>
      vectors.subarray(a * 384, (a + 1) * 384).reduce((sum, x, at) => sum + x * (vectors[b * 384 + at] ?? 0), 0);
    expect(dot(0, 1)).toBeGreaterThan(0.5);
    expect(dot(2, 3)).toBeGreaterThan(0.5);
    expect(dot(0, 2)).toBeLessThan(0.3);
    const alone = await encoder.embed([texts[2] ?? '']);
    const differences = alone.map((value, at) => Math.abs(value - (vectors[2 * 384 + at] ?? NaN)));
    expect(Math.max(...differences)).toBeLessThan(1e-5);
  });
});
