// Owns the exit codes of `swarm`. Scripts rely on them: they are documented in --help and never reused.

import type { ErrorCode } from '../protocol/errors.ts';

export const EXIT_CODES = {
  ok: 0,
  failed: 1,
  usage: 2,
  /** The job ended, but some items failed. */
  completedWithFailures: 3,
  canceled: 4,
  unreachable: 5,
  refused: 6,
  badInput: 7,
  interrupted: 130,
  terminated: 143,
} as const;

export const EXIT_CODES_HELP = `Exit codes:
  0  done                        4  the job was canceled
  1  failed                      5  the coordinator cannot be reached
  2  wrong usage                 6  refused (not a member, not allowed)
  3  completed with failures     7  bad input
  130  interrupted (Ctrl-C)      143  terminated (SIGTERM) before the end`;

/** The exit code for an error's code. */
export function toExitCode(code: ErrorCode): number {
  switch (code) {
    case 'unavailable':
    case 'timeout':
      return EXIT_CODES.unreachable;
    case 'unauthenticated':
    case 'forbidden':
    case 'bad-invite':
      return EXIT_CODES.refused;
    case 'bad-input':
    case 'bad-request':
    case 'too-large':
      return EXIT_CODES.badInput;
    case 'canceled':
      return EXIT_CODES.canceled;
    default:
      return EXIT_CODES.failed;
  }
}
