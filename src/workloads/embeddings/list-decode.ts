// Owns turning a file's bytes into text: strict UTF-8 with the offset of what is wrong, binary data told apart from
// text. One block is held at a time. Knows no items and no table formats.

import { open } from 'node:fs/promises';
import { badInput, toReadFailure } from './list-item.ts';

export type EncodingErrors = 'fail' | 'replace';

const BLOCK_BYTES = 64 * 1_024;
/** Text in a wrong encoding stays far below this share of odd characters, binary data far above. */
const MAX_ODD_SHARE = 0.3;

/** Yields the bytes of a file in blocks; a failed read is `bad-input` naming the file. */
export async function* readBlocks(path: string, blockBytes = BLOCK_BYTES): AsyncGenerator<Uint8Array> {
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw toReadFailure(path, cause);
  });
  try {
    for (;;) {
      const { bytesRead, buffer } = await handle.read(new Uint8Array(blockBytes), 0, blockBytes, null);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } catch (cause) {
    throw toReadFailure(path, cause);
  } finally {
    await handle.close();
  }
}

/** Yields the text of a file in portions, a leading byte order mark left out. Throws `bad-input` with the offset. */
export async function* readText(path: string, encodingErrors: EncodingErrors): AsyncGenerator<string> {
  let offset = 0;
  let carried: Uint8Array = new Uint8Array();
  for await (const block of readBlocks(path)) {
    const bytes = carried.length === 0 ? block : Buffer.concat([carried, block]);
    const whole = bytes.subarray(0, bytes.length - incompleteTail(bytes));
    yield decode(path, whole, offset, encodingErrors);
    offset += whole.length;
    carried = bytes.slice(whole.length);
  }
  if (carried.length > 0) yield decode(path, carried, offset, encodingErrors);
}

function decode(path: string, bytes: Uint8Array, offset: number, encodingErrors: EncodingErrors): string {
  if (offset === 0) checkLooksLikeText(path, bytes);
  const nul = bytes.indexOf(0);
  if (nul >= 0) throw badInput(`${path} is binary data, not text: byte ${offset + nul} is NUL; leave the file out`);
  const text = decodeBlock(bytes, encodingErrors) ?? fail(path, offset + findInvalidUtf8(bytes), bytes, offset);
  return offset === 0 && text.startsWith('\ufeff') ? text.slice(1) : text;
}

function decodeBlock(bytes: Uint8Array, encodingErrors: EncodingErrors): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: encodingErrors === 'fail', ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function fail(path: string, at: number, bytes: Uint8Array, offset: number): never {
  const value = (bytes[at - offset] ?? 0).toString(16).padStart(2, '0');
  throw badInput(
    `${path} is not valid UTF-8: byte ${at} is 0x${value}; convert the file (for example ` +
      '`iconv -f windows-1252 -t utf-8`), or replace such bytes with encodingErrors: replace (--encoding-errors replace)',
  );
}

function checkLooksLikeText(path: string, bytes: Uint8Array): void {
  const isUtf16 = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  if (isUtf16) {
    throw badInput(`${path} is UTF-16, not UTF-8; convert it, for example with \`iconv -f utf-16 -t utf-8\``);
  }
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  const odd = text.match(/(?![\s\u0085])[\p{Cc}\ufffd]/gu)?.length ?? 0;
  // A short file in another encoding may be odd throughout and still be text: its offset is the better answer.
  if (text.length < 64 || odd <= text.length * MAX_ODD_SHARE || bytes.includes(0)) return;
  throw badInput(
    `${path} is binary data, not text: ${odd} of its first ${text.length} characters are not; leave it out`,
  );
}

/** How many bytes at the end begin a character that goes on behind them: 0 to 3. */
function incompleteTail(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] as number;
    if ((byte & 0xc0) === 0x80) continue;
    return sequenceLength(byte) > back ? back : 0;
  }
  return 0;
}

function sequenceLength(lead: number): number {
  if (lead < 0xc2 || lead > 0xf4) return 1;
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/** The index of the first byte that begins no well-formed character (Unicode, table 3-7). */
function findInvalidUtf8(bytes: Uint8Array): number {
  let i = 0;
  while (i < bytes.length) {
    const lead = bytes[i] as number;
    const length = sequenceLength(lead);
    if (length === 1 ? lead >= 0x80 : !isSequence(bytes, i, lead, length)) return i;
    i += length;
  }
  return i;
}

function isSequence(bytes: Uint8Array, at: number, lead: number, length: number): boolean {
  const second = bytes[at + 1] ?? 0;
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return false;
  for (let i = at + 2; i < at + length; i++) if (((bytes[i] ?? 0) & 0xc0) !== 0x80) return false;
  return true;
}
