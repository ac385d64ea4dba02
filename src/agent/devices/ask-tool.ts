// Owns asking a vendor's command-line tool: bounded in time and output. A tool that is absent or fails is no error: the
// machine has no such device, or will not tell.

import { execFile } from 'node:child_process';

const ASK_MS = 10_000;
const MAX_OUTPUT_BYTES = 256 * 1_024;

/** What the tool printed, or undefined. */
export type AskTool = (file: string, args: readonly string[]) => Promise<string | undefined>;

/** Looks programs up in the PATH of `environment`. */
export function createAskTool(environment: NodeJS.ProcessEnv): AskTool {
  return (file, args) =>
    new Promise((resolve) => {
      const options = {
        env: { ...environment, LC_ALL: 'C' },
        timeout: ASK_MS,
        maxBuffer: MAX_OUTPUT_BYTES,
        windowsHide: true,
      };
      execFile(file, [...args], options, (error, stdout) => resolve(error ? undefined : stdout));
    });
}
