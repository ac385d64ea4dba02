// A process for the store's tests to kill: opens the store named in argv and commits until it dies, printing each id when
// its commit is acknowledged. `hold` only opens and waits. Commits hold several records, to show that none is half there.

import { writeSync } from 'node:fs';
import { SwarmError } from '../../src/protocol/errors.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';

const [path = '', mode = 'write', first = '0'] = process.argv.slice(2);

/** Written straight to the pipe: what the kernel has taken survives this process. */
function print(line: string): void {
  writeSync(1, `${line}\n`);
}

async function run(): Promise<void> {
  const store = await SqliteStore.open(path);
  print('open');
  if (mode === 'hold') {
    setInterval(() => undefined, 1_000);
    return;
  }
  const padding = 'x'.repeat(mode === 'fill' ? 20_000 : 200);
  for (let n = Number(first); ; n++) {
    await store.commit(
      ['a', 'b', 'c'].map((part) => ({
        op: 'put',
        record: { kind: 'job', id: `${n}/${part}`, version: 1, value: { n, padding } },
      })),
    );
    print(String(n));
  }
}

try {
  await run();
} catch (error) {
  print(error instanceof SwarmError ? error.code : String(error));
  process.exitCode = 1;
}
