import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, open, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { textItemSchema, type TextItem } from '../../src/workloads/embeddings/list-item.ts';
import { bundledSpeechesDir, DEMO_SPEECHES, writeDemoCorpus } from '../../src/workloads/embeddings/list-speeches.ts';
import { forEachItem, listItems, type ListOptions, type ListTally } from '../../src/workloads/embeddings/list.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'swarm-listing-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function put(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  return path;
}

async function list(input: string, options: ListOptions = {}): Promise<{ items: TextItem[]; tally: ListTally }> {
  const items: TextItem[] = [];
  const tally = await forEachItem(listItems(input, options), async (item) => {
    items.push(item);
  });
  return { items, tally };
}

const brief = (items: readonly TextItem[]): string[] => items.map(({ id, text }) => `${id} ${text}`);

async function checkRefused(input: string, message: RegExp, options: ListOptions = {}): Promise<void> {
  await expect(list(input, options)).rejects.toMatchObject({
    code: 'bad-input',
    message: expect.stringMatching(message),
  });
}

const parquet = (columnData: Parameters<typeof parquetWriteBuffer>[0]['columnData'], rowGroupSize = 2): Uint8Array =>
  new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize }));

const string = (name: string, data: (string | null)[]) => ({ name, data, type: 'STRING' as const });

describe('a folder', () => {
  test('is listed in bytewise order of whole paths, hidden files and other kinds left out', async () => {
    for (const name of [
      'b.txt',
      'a/z.txt',
      'a.txt',
      'a-1.md',
      'é.txt',
      'Z.txt',
      'a/b/c.txt',
      '.git/x.txt',
      '.y.txt',
      'n.pdf',
    ]) {
      await put(name, `In ${name}.`);
    }
    const { items, tally } = await list(folder);
    const sources = items.map(({ source }) => source);
    expect(sources).toEqual(['Z.txt', 'a-1.md', 'a.txt', 'a/b/c.txt', 'a/z.txt', 'b.txt', 'é.txt']);
    expect(sources).toEqual(sources.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
    expect(tally).toEqual({
      files: 7,
      items: 7,
      droppedEmpty: 0,
      splitRows: 0,
      skippedUnsupported: 1,
      skippedHidden: 2,
      skippedLinks: 0,
    });
  });

  test('is never left through a link, nor walked in circles', async () => {
    await put('in/one.txt', 'Inside.');
    const outside = await put('secret.txt', 'Outside.');
    await symlink(outside, join(folder, 'in', 'leak.txt'));
    await symlink(folder, join(folder, 'in', 'up'));
    await symlink('nowhere', join(folder, 'in', 'dangling.txt'));
    await symlink('one.txt', join(folder, 'in', 'two.txt'));
    const { items, tally } = await list(join(folder, 'in'));
    expect(brief(items)).toEqual(['one.txt#1 Inside.', 'two.txt#1 Inside.']);
    expect(tally.skippedLinks).toBe(3);
    await symlink(join(folder, 'in'), join(folder, 'entry'));
    expect((await list(join(folder, 'entry'))).items).toHaveLength(2);
  });

  test('gives the same items twice, and tells progress', async () => {
    await put('a.txt', 'Word here. '.repeat(2_500));
    await put('b.csv', 'text\nrow\n');
    const seen: number[] = [];
    const first = await list(folder, { onProgress: ({ items }) => seen.push(items) });
    expect(seen).toEqual([1_000, 2_000, 2_500, 2_501]);
    expect(await list(folder)).toEqual(first);
    for (const item of first.items) expect(textItemSchema.safeParse(item).success).toBe(true);
  });

  test('can be canceled', async () => {
    await put('a.txt', 'Word here. '.repeat(10));
    await expect(list(folder, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'canceled' });
  });
});

describe('text', () => {
  test('is split into sentences, normalised, empty files counted', async () => {
    await put('a.txt', '\ufeffOne  is\nhere.\r\nTwo is cafe\u0301!\u0007 Three');
    await put('b.txt', ' \n\t\n');
    await put('c.txt', '');
    const { items, tally } = await list(folder);
    expect(brief(items)).toEqual(['a.txt#1 One is here.', 'a.txt#2 Two is café!', 'a.txt#3 Three']);
    expect(tally).toMatchObject({ files: 3, items: 3, droppedEmpty: 2 });
  });

  test('is split into chunks, or left whole up to the limit', async () => {
    const path = await put('a.txt', 'alpha beta gamma delta epsilon. '.repeat(1_000));
    const chunks = await list(path, { split: 'chunk', chunkChars: 100 });
    expect(chunks.items.every(({ text }) => text.length <= 100)).toBe(true);
    const whole = await list(path, { split: 'none' });
    expect(whole.items).toHaveLength(4);
    for (const { items } of [chunks, whole]) {
      expect(items.map(({ text }) => text).join(' ')).toBe('alpha beta gamma delta epsilon. '.repeat(1_000).trim());
    }
  });

  test('with characters across reads arrives whole', async () => {
    const path = await put('a.txt', `x${'é😀€ '.repeat(20_000)}`);
    const { items } = await list(path, { split: 'none' });
    expect(items.map(({ text }) => text).join(' ')).toBe(`x${'é😀€ '.repeat(20_000)}`.trim());
  });

  test('of 200 MB in one line takes bounded memory', async () => {
    const path = join(folder, 'line.txt');
    const handle = await open(path, 'w');
    const block = 'word after word and never an end, '.repeat(30_841);
    for (let i = 0; i < 200; i++) await handle.write(block);
    await handle.close();
    const script = `
      import { listItems } from ${JSON.stringify(import.meta.resolve('../../src/workloads/embeddings/list.ts'))};
      let items = 0, most = 0;
      for await (const { text } of listItems(process.argv[1])) { items++; most = Math.max(most, Buffer.byteLength(text)); }
      console.log(JSON.stringify({ items, most, rssMb: process.resourceUsage().maxRSS / 1024 }));`;
    const node = ['--max-old-space-size=64', '--input-type=module', '-e', script, path];
    const { stdout } = await promisify(execFile)(process.execPath, node);
    const { items, most, rssMb } = JSON.parse(stdout) as { items: number; most: number; rssMb: number };
    expect(items).toBeGreaterThan(25_000);
    expect(most).toBeLessThanOrEqual(8_192);
    expect(rssMb).toBeLessThan(250);
  });
});

describe('tables', () => {
  test('CSV, JSON Lines and Parquet give the same items', async () => {
    await put('a.csv', 'id,text\r\nx,"Hello, ""you"". Bye."\r\ny,\r\n');
    await put('a.jsonl', '{"id":"x","text":"Hello, \\"you\\". Bye."}\n{"id":"y","text":null}\n');
    await put('a.parquet', parquet([string('id', ['x', 'y']), string('text', ['Hello, "you". Bye.', null])]));
    for (const kind of ['csv', 'jsonl', 'parquet']) {
      const path = join(folder, `a.${kind}`);
      const { items, tally } = await list(path);
      expect(brief(items)).toEqual([`a.${kind}#1 Hello, "you". Bye.`]);
      expect(tally.droppedEmpty).toBe(1);
      expect(brief((await list(path, { idColumn: 'id' })).items)).toEqual(['x Hello, "you". Bye.']);
      expect(brief((await list(path, { idColumn: 'id', split: 'sentence' })).items)).toEqual([
        'x.1 Hello, "you".',
        'x.2 Bye.',
      ]);
    }
  });

  test('rows that are too long become several items', async () => {
    const path = await put('a.jsonl', `\n${JSON.stringify({ body: 'lorem ipsum '.repeat(1_000) })}\n`);
    const { items, tally } = await list(path, { column: 'body' });
    expect(items.map(({ id }) => id)).toEqual(['a.jsonl#2.1', 'a.jsonl#2.2']);
    expect(tally.splitRows).toBe(1);
  });

  test('Parquet is read by row groups, with ids of whole numbers, snappy or none', async () => {
    const texts = Array.from({ length: 25 }, (_, i) => `row ${i}`);
    const ids = { name: 'n', data: texts.map((_, i) => BigInt(i)), type: 'INT64' as const };
    for (const codec of ['SNAPPY', 'UNCOMPRESSED'] as const) {
      const bytes = parquetWriteBuffer({ columnData: [string('t', texts), ids], rowGroupSize: 10, codec });
      const path = await put('rows.parquet', new Uint8Array(bytes));
      const { items } = await list(path, { column: 't', idColumn: 'n' });
      expect(brief(items)).toEqual(texts.map((text, i) => `${i} ${text}`));
    }
  });
});

describe('bad input', () => {
  test('paths that hold nothing to list', async () => {
    await checkRefused(join(folder, 'none'), /none does not exist; check the path/);
    await checkRefused(folder, /holds no \.txt, \.md, \.jsonl, \.csv or \.parquet file \(0 of other kinds/);
    await checkRefused(await put('image.png', 'x'), /image\.png has no ending that is known/);
    await rm(join(folder, 'image.png'));
    await put('a.txt', ' \n ');
    await checkRefused(folder, /holds no text: 1 files, all empty/);
    await checkRefused('/dev/null', /neither a file nor a folder/);
  });

  test('a file that this user may not read', async () => {
    await put('open.txt', 'Readable.');
    const path = await put('locked.txt', 'Secret.');
    const script = `
      import { chmodSync } from 'node:fs';
      import { listItems } from ${JSON.stringify(import.meta.resolve('../../src/workloads/embeddings/list.ts'))};
      chmodSync(process.argv[1], 0o755);
      chmodSync(${JSON.stringify(path)}, 0o000);
      if (process.getuid() === 0) process.seteuid(65534);
      try { for await (const item of listItems(process.argv[1])); }
      catch (error) { console.log(error.code + ': ' + error.message); }`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, folder]);
    expect(stdout).toMatch(/^bad-input: .*locked\.txt cannot be read: permission denied; make it readable/);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ['a NUL byte', Buffer.from('some text\0here'), /a\.txt is binary data, not text: byte 9 is NUL/],
    ['a NUL far behind', Buffer.concat([Buffer.alloc(100_000, 'a '), Buffer.of(0)]), /byte 100000 is NUL/],
    [
      'noise',
      Buffer.from(Array.from({ length: 500 }, (_, i) => 1 + ((i * 89) % 255))),
      /binary data, not text: \d+ of its first/,
    ],
    ['UTF-16', Buffer.from('\ufeffhello', 'utf16le'), /is UTF-16, not UTF-8; convert it/],
    ['Latin-1', Buffer.from('A café in Paris', 'latin1'), /not valid UTF-8: byte 5 is 0xe9; convert the file/],
    ['an overlong form', Buffer.from([65, 0xc0, 0x80]), /byte 1 is 0xc0/],
    ['a surrogate', Buffer.from([65, 66, 0xed, 0xa0, 0x80]), /byte 2 is 0xed/],
    [
      'a character cut off',
      Buffer.concat([Buffer.from('é'.repeat(50_000)), Buffer.of(0xe2, 0x82)]),
      /byte 100000 is 0xe2/,
    ],
    [
      'an error in a later read',
      Buffer.concat([Buffer.from('é€'.repeat(30_000)), Buffer.of(0xff)]),
      /byte 150000 is 0xff/,
    ],
  ])('text with %s', async (_, bytes, message) => {
    await checkRefused(await put('a.txt', bytes), message);
  });

  test('bytes that are not UTF-8 are replaced on request, binary data is not', async () => {
    const path = await put('a.txt', Buffer.from('A café in Paris', 'latin1'));
    expect(brief((await list(path, { encodingErrors: 'replace' })).items)).toEqual(['a.txt#1 A caf\ufffd in Paris']);
    await checkRefused(await put('b.txt', Buffer.alloc(100, 0x80)), /binary data/, { encodingErrors: 'replace' });
  });

  test.each<[string, string, RegExp, ListOptions?]>([
    ['a.csv', 'id,body\n1,x\n', /a\.csv has no column "text"; it has: id, body\. Name one/],
    ['a.csv', 'id,text\n1,x\n', /has no column "key"/, { idColumn: 'key' }],
    ['a.csv', 'text,text\nx,y\n', /names the column "text" twice/],
    ['a.csv', '', /holds no CSV header/],
    ['a.csv', 'id,text\n1,x\n2\n', /a\.csv line 3 has 1 cells where the header has 2/],
    ['a.csv', 'id,text\n1,"x\n', /line 2 has a quote that is never closed/],
    ['a.csv', 'id,text\n,x\n', /line 2: the id column "id" is empty/, { idColumn: 'id' }],
    ['a.jsonl', '{"text":"x"}\n{"text":\n', /a\.jsonl line 2 is not JSON/],
    ['a.jsonl', '{"text":"x"}\n[1]\n', /line 2 is an array; each line must hold one object/],
    ['a.jsonl', '{"text":"x"}\n\n{"body":"y"}\n', /line 3 has no column "text"; it has: body/],
    ['a.jsonl', '{"text":7}\n', /line 1: "text" is a number, not text/],
    ['a.jsonl', '{"text":"x","id":{}}\n', /the id column "id" is an object/, { idColumn: 'id' }],
    ['a.jsonl', `{"text":"${'x'.repeat(1_200_000)}"}\n`, /line 1 is longer than 1048576 characters/],
    ['a.txt', 'x', /chunkChars is 3/, { split: 'chunk', chunkChars: 3 }],
  ])('%s %.30j', async (name, content, message, options) => {
    await checkRefused(await put(name, content), message, options);
  });

  test('Parquet that is empty, truncated, damaged or something else', async () => {
    const whole = parquet(
      [
        string(
          'text',
          Array.from({ length: 100 }, (_, i) => `row ${i}`),
        ),
      ],
      50,
    );
    await checkRefused(await put('a.parquet', ''), /a\.parquet is empty \(0 bytes\), not Parquet/);
    await checkRefused(await put('a.parquet', 'text\nrow'), /is not Parquet: it does not begin with PAR1/);
    for (const length of [4, 8, 11, 12, 200, whole.length - 1]) {
      const path = await put('a.parquet', whole);
      await truncate(path, length);
      await checkRefused(path, /damaged Parquet file: .*truncated/);
    }
    const wrongFooter = whole.slice();
    new DataView(wrongFooter.buffer).setUint32(whole.length - 8, 1e9, true);
    await checkRefused(await put('a.parquet', wrongFooter), /its footer claims 1000000000 of \d+ bytes/);
    const noise = whole.slice();
    noise.fill(0xee, whole.length - 60, whole.length - 8);
    await checkRefused(await put('a.parquet', noise), /damaged Parquet file/);
    const badPage = whole.slice();
    badPage.fill(0xee, 4, 40);
    await checkRefused(await put('a.parquet', badPage), /rows 0 to 50 of text cannot be decoded/);
  });

  test('Parquet with the wrong columns', async () => {
    const numbers = { name: 'n', data: [1, 2], type: 'INT32' as const };
    const path = await put('a.parquet', parquet([string('body', ['x', 'y']), numbers]));
    await checkRefused(path, /has no column "text"; it has: body, n/);
    await checkRefused(path, /column "n" holds no text but INT32; columns of text: body/, { column: 'n' });
    const gzip = parquetWriteBuffer({
      columnData: [string('text', ['x'])],
      codec: 'GZIP',
      compressors: { GZIP: (bytes) => bytes },
    });
    await checkRefused(
      await put('b.parquet', new Uint8Array(gzip)),
      /text is compressed with GZIP; only snappy and none/,
    );
    const binary = { name: 'text', data: [Uint8Array.of(65, 0xff)], type: 'BYTE_ARRAY' as const };
    await checkRefused(await put('c.parquet', parquet([binary])), /cannot be decoded|not text/);
  });
});

describe('the bundled speeches', () => {
  test('give the demo about 8,000 sentences', async () => {
    const names = await writeDemoCorpus(join(folder, 'speeches'));
    expect(names).toHaveLength(DEMO_SPEECHES);
    expect([names[0], names.at(-1)]).toEqual(['1998-william-j-clinton.txt', '2021-joseph-r-biden.txt']);
    const { items, tally } = await list(join(folder, 'speeches'));
    expect(tally).toMatchObject({ files: DEMO_SPEECHES, items: 8_166, droppedEmpty: 0 });
    const speech = await readFile(join(folder, 'speeches', '2021-joseph-r-biden.txt'), 'utf8');
    const sentences = items.filter(({ source }) => source === '2021-joseph-r-biden.txt').map(({ text }) => text);
    expect(sentences.join(' ')).toBe(speech.normalize('NFC').replace(/\s+/g, ' ').trim());
  });

  test('are all listed, each once', async () => {
    await cp(bundledSpeechesDir(), join(folder, 'all'), { recursive: true, filter: (from) => !from.endsWith('.json') });
    const { items, tally } = await list(join(folder, 'all'));
    expect(tally.files).toBe(233);
    expect(new Set(items.map(({ id }) => id)).size).toBe(items.length);
  });
});
