// Owns the closed list of operational failures that cross a process or reach a person.

/** Closed list: code → HTTP status and whether trying again unchanged may help. */
export const ERROR_CODES = {
  'bad-request': { status: 400, retryable: false },
  unauthenticated: { status: 401, retryable: false },
  forbidden: { status: 403, retryable: false },
  'not-found': { status: 404, retryable: false },
  conflict: { status: 409, retryable: false },
  'too-large': { status: 413, retryable: false },
  'hash-mismatch': { status: 422, retryable: false },
  'bad-signature': { status: 422, retryable: false },
  'bad-input': { status: 422, retryable: false },
  'bad-invite': { status: 422, retryable: false },
  'old-protocol': { status: 426, retryable: false },
  'too-many-requests': { status: 429, retryable: true },
  internal: { status: 500, retryable: false },
  unavailable: { status: 503, retryable: true },
  timeout: { status: 504, retryable: true },
  'quota-exceeded': { status: 507, retryable: false },
  'disk-full': { status: 507, retryable: true },
  'store-locked': { status: 503, retryable: false },
  'store-corrupt': { status: 500, retryable: false },
  'store-newer': { status: 500, retryable: false },
  'port-in-use': { status: 500, retryable: false },
  'runner-failed': { status: 500, retryable: true },
  canceled: { status: 409, retryable: false },
} as const satisfies Record<string, { status: number; retryable: boolean }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** An operational failure: `message` says what failed, with which ids, and what to do next. */
export class SwarmError extends Error {
  override readonly name = 'SwarmError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }
}
