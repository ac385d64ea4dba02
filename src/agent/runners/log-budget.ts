// Owns how much a runner may log for one task: so many lines a second and so many bytes in all. What is over is dropped
// and counted, and the count is told once at the end. Time comes in.

/** Enough to follow a job by; a runner that says more is heard in samples. */
const MAX_LINES_PER_SECOND = 50;
const MAX_TASK_BYTES = 64 * 1_024;
const MAX_LINE_CHARS = 1_000;

export type LogBudget = {
  /** The line as it may be shown, cut and without control characters, or undefined when it is to be dropped. */
  take(text: string, nowMs: number): string | undefined;
  /** Says how many lines were dropped, if any. */
  close(): string | undefined;
};

export function createLogBudget(): LogBudget {
  let bytesLeft = MAX_TASK_BYTES;
  let windowStart = -Infinity;
  let inWindow = 0;
  let dropped = 0;

  return {
    take(text, nowMs) {
      if (nowMs - windowStart >= 1_000) [windowStart, inWindow] = [nowMs, 0];
      const line = toShown(text);
      if (++inWindow > MAX_LINES_PER_SECOND || line.length > bytesLeft) {
        dropped++;
        return undefined;
      }
      bytesLeft -= line.length;
      return line;
    },
    close: () => (dropped === 0 ? undefined : `${dropped} lines of the log were dropped: too many or too long`),
  };
}

/** Control characters could rewrite a terminal. */
function toShown(text: string): string {
  const cut = text.length > MAX_LINE_CHARS ? `${text.slice(0, MAX_LINE_CHARS)}…` : text;
  return cut.replaceAll(/\p{Cc}/gu, ' ');
}
