// Owns a running fingerprint of everything that happened in a run: two runs of a seed must end with the same one.
// FNV-1a (Fowler, Noll, Vo) over two 32-bit lanes; for comparing runs, not for security.

const PRIME = 16_777_619;

export class Fingerprint {
  #low = 2_166_136_261;
  #high = 0x9dc5_811c;

  add(text: string): void {
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      this.#low = Math.imul(this.#low ^ code, PRIME);
      this.#high = Math.imul(this.#high ^ (code + i), PRIME);
    }
  }

  get value(): string {
    return hex(this.#high) + hex(this.#low);
  }
}

/** A stand-in for SHA-256 in the simulator: 64 hex digits that depend on every character. */
export function simulatedHash(text: string): string {
  const parts: string[] = [];
  for (let i = 0; i < 4; i++) {
    const lane = new Fingerprint();
    lane.add(`${i}:${text}`);
    parts.push(lane.value);
  }
  return parts.join('');
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0');
}
