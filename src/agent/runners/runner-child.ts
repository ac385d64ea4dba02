// Entry of a builtin runner process: the contract comes on stdin and leaves on descriptor 3, which the agent opened for
// it. Descriptor 1 belongs to the log, so that a library that prints cannot speak the contract. Ends with stdin.

import { writeSync } from 'node:fs';
import {
  createLineSplitter,
  decodeToRunner,
  encodeRunnerLine,
  MAX_TO_RUNNER_LINE_BYTES,
  type FromRunner,
} from '../../protocol/runner.ts';
import { allowsTestWorkloads, loadBuiltinWorkload } from './builtin-workloads.ts';
import { createChildSession } from './child-session.ts';

const PROTOCOL_FD = 3;

/** Blocks while the agent is slow to read, which is the wanted back-pressure. Nobody to read it: the end. */
function send(message: FromRunner): void {
  const bytes = Buffer.from(encodeRunnerLine(message));
  try {
    for (let sent = 0; sent < bytes.length;) sent += writeSync(PROTOCOL_FD, bytes, sent);
  } catch {
    process.exit(1);
  }
}

function main(): void {
  const withTestWorkloads = allowsTestWorkloads(process.env);
  const session = createChildSession({
    load: (workload) => loadBuiltinWorkload(workload, withTestWorkloads),
    send,
    exit: (code) => process.exit(code),
  });
  const splitter = createLineSplitter(MAX_TO_RUNNER_LINE_BYTES);
  process.stdin.on('data', (chunk: Buffer) => {
    const lines = splitter.push(chunk);
    if (!lines.ok) return process.exit(1);
    for (const line of lines.value) {
      const message = decodeToRunner(line);
      if (!message.ok) return process.exit(1);
      session.onMessage(message.value);
    }
  });
  process.stdin.on('end', () => process.exit(0));
}

main();
