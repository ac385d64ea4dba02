// Owns the counting of bytes against a quota. What is claimed is used: room is claimed before bytes are written.

import { assert } from '../lib/assert.ts';
import { formatByteSize } from '../lib/byte-sizes.ts';
import { SwarmError } from '../protocol/errors.ts';

export class Quota {
  readonly quotaBytes: number;
  #usedBytes = 0;

  constructor(quotaBytes: number) {
    assert(quotaBytes >= 0, 'a quota is not negative');
    this.quotaBytes = quotaBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Claims room, or throws SwarmError('quota-exceeded') and claims nothing. */
  claim(sizeBytes: number): void {
    if (this.#usedBytes + sizeBytes > this.quotaBytes)
      throw new SwarmError(
        'quota-exceeded',
        `${formatByteSize(sizeBytes)} more do not fit: ${formatByteSize(this.#usedBytes)} of ` +
          `${formatByteSize(this.quotaBytes)} are in use. Remove old artifacts or raise the quota.`,
      );
    this.#usedBytes += sizeBytes;
  }

  /** Counts what is there already, even beyond the quota: a quota made smaller deletes nothing. */
  count(sizeBytes: number): void {
    this.#usedBytes += sizeBytes;
  }

  /** Gives room back. */
  release(sizeBytes: number): void {
    this.#usedBytes -= sizeBytes;
    assert(this.#usedBytes >= 0, 'more was released than was claimed');
  }
}
