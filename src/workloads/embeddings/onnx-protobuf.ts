// Owns the few protobuf wire rules that an ONNX file needs, both ways: append-only writing and bounded reading.
// Does not know ONNX's field numbers.

const WIRE_VARINT = 0;
const WIRE_FIXED64 = 1;
const WIRE_BYTES = 2;
const WIRE_FIXED32 = 5;

/** Appends protobuf fields; `finish` joins them once. The same calls always give the same bytes. */
export class ProtobufWriter {
  readonly #chunks: Uint8Array[] = [];

  /** Writes a non-negative integer field. */
  int(field: number, value: number): this {
    this.#chunks.push(toVarint(field * 8 + WIRE_VARINT), toVarint(value));
    return this;
  }

  /** Writes a 32-bit float field. */
  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    this.#chunks.push(toVarint(field * 8 + WIRE_FIXED32), bytes);
    return this;
  }

  /** Writes a length-delimited field. */
  bytes(field: number, value: Uint8Array): this {
    this.#chunks.push(toVarint(field * 8 + WIRE_BYTES), toVarint(value.byteLength), value);
    return this;
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value, 'utf8'));
  }

  message(field: number, value: ProtobufWriter): this {
    return this.bytes(field, value.finish());
  }

  /** Writes a repeated int64 field in packed form. */
  packedInts(field: number, values: readonly number[]): this {
    return this.bytes(field, Buffer.concat(values.map((value) => toVarint(value))));
  }

  finish(): Uint8Array {
    return Buffer.concat(this.#chunks);
  }
}

/** Encodes an integer within ±2^53 as a 64-bit varint (negative ones as two's complement). */
function toVarint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

/** A field as it stands in a message: length-delimited ones carry their bytes, numbers are left out. */
type ProtobufField = { readonly field: number; readonly bytes: Uint8Array | undefined };

/** Walks the fields of one message. Throws a RangeError when the bytes are not a protobuf message. */
export function* readFields(message: Uint8Array): Generator<ProtobufField> {
  let at = 0;
  while (at < message.byteLength) {
    const tag = readVarint(message, at);
    at = tag.next;
    const field = Math.floor(tag.value / 8);
    const length = fieldLength(message, at, tag.value % 8);
    const end = length.start + length.size;
    if (field === 0 || end > message.byteLength) throw new RangeError(`not a protobuf message at byte ${at}`);
    yield { field, bytes: tag.value % 8 === WIRE_BYTES ? message.subarray(length.start, end) : undefined };
    at = end;
  }
}

function fieldLength(message: Uint8Array, at: number, wire: number): { start: number; size: number } {
  if (wire === WIRE_VARINT) return { start: at, size: readVarint(message, at).next - at };
  if (wire === WIRE_FIXED64) return { start: at, size: 8 };
  if (wire === WIRE_FIXED32) return { start: at, size: 4 };
  if (wire !== WIRE_BYTES) throw new RangeError(`not a protobuf message: wire type ${wire} at byte ${at}`);
  const length = readVarint(message, at);
  return { start: length.next, size: length.value };
}

function readVarint(message: Uint8Array, from: number): { value: number; next: number } {
  let value = 0;
  for (let index = 0; index < 10; index += 1) {
    const byte = message[from + index];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return { value, next: from + index + 1 };
  }
  throw new RangeError(`not a protobuf message: bad varint at byte ${from}`);
}
