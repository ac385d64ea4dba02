// Owns what must be known of a stranger's ONNX file before a runtime opens it: which other files it names, and whether
// it quantises activations while running. Does not know sessions or folders.

import { err, ok, type Result } from '../../lib/result.ts';
import { readFields } from './onnx-protobuf.ts';

export type OnnxFacts = {
  /** Places outside the file where weights lie, as written in it. */
  readonly externalLocations: readonly string[];
  /** Activations are quantised by ranges of the whole batch, so a text's vector depends on its batch mates. */
  readonly quantizesActivations: boolean;
};

const RANGE_OPS = new Set([
  'DynamicQuantizeLinear',
  'DynamicQuantizeMatMul',
  'MatMulIntegerToFloat',
  'DynamicQuantizeLSTM',
]);
const MAX_LOCATIONS = 256;
/** Subgraphs (If, Loop) nest; a file that nests deeper is an attack, not a model. */
const MAX_DEPTH = 32;

/** Field numbers of onnx.proto3, by message, for the paths that lead to tensors and operators. */
type Message = 'model' | 'graph' | 'node' | 'attribute' | 'tensor' | 'sparse' | 'function' | 'entry' | 'training';
const CHILDREN: Readonly<Record<Message, Readonly<Record<number, Message>>>> = {
  model: { 7: 'graph', 20: 'training', 25: 'function' },
  training: { 1: 'graph', 2: 'graph' },
  graph: { 1: 'node', 5: 'tensor', 15: 'sparse' },
  function: { 7: 'node', 11: 'attribute' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse', 23: 'sparse' },
  sparse: { 1: 'tensor', 2: 'tensor' },
  tensor: { 13: 'entry' },
  entry: {},
};
const NODE_OP_TYPE = 4;
const ENTRY_KEY = 1;
const ENTRY_VALUE = 2;

type Found = { graphs: number; locations: Set<string>; operators: Set<string> };

/** Reads the facts from the bytes of an .onnx file. */
export function inspectOnnx(bytes: Uint8Array): Result<OnnxFacts> {
  const found: Found = { graphs: 0, locations: new Set(), operators: new Set() };
  try {
    visit(bytes, 'model', found, 0);
  } catch (error) {
    if (error instanceof RangeError) return err(error.message);
    throw error;
  }
  if (found.graphs === 0) return err('it holds no ONNX graph');
  const quantizesActivations = [...found.operators].some((operator) => RANGE_OPS.has(operator));
  return ok({ externalLocations: [...found.locations].toSorted(), quantizesActivations });
}

function visit(bytes: Uint8Array, message: Message, found: Found, depth: number): void {
  if (depth > MAX_DEPTH) throw new RangeError(`its graphs nest deeper than ${MAX_DEPTH} messages`);
  if (message === 'graph') found.graphs += 1;
  if (message === 'entry') return visitEntry(bytes, found);
  for (const { field, bytes: value } of readFields(bytes)) {
    if (value === undefined) continue;
    if (message === 'node' && field === NODE_OP_TYPE) found.operators.add(toText(value));
    const child = CHILDREN[message][field];
    if (child !== undefined) visit(value, child, found, depth + 1);
  }
}

/** One key and value of a tensor's external_data. */
function visitEntry(bytes: Uint8Array, found: Found): void {
  const fields = new Map(Array.from(readFields(bytes), ({ field, bytes: value }) => [field, value]));
  const key = fields.get(ENTRY_KEY);
  const value = fields.get(ENTRY_VALUE);
  if (key === undefined || value === undefined || toText(key) !== 'location') return;
  found.locations.add(toText(value));
  if (found.locations.size > MAX_LOCATIONS) throw new RangeError(`it names more than ${MAX_LOCATIONS} data files`);
}

function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}
