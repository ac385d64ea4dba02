// Owns writing an ONNX model file: nodes, initialisers, one graph. Does not know any particular network.
// Field numbers are those of onnx.proto3; see https://onnx.ai/onnx/repo-docs/IR.html.

import { endianness } from 'node:os';
import { assert } from '../../lib/assert.ts';
import { ProtobufWriter } from './onnx-protobuf.ts';

const IR_VERSION = 8;
const OPSET_VERSION = 17;

/** Element types as ONNX numbers them. */
const ELEMENT_TYPE = { float32: 1, int8: 3, int64: 7 } as const;
type ElementType = keyof typeof ELEMENT_TYPE;

type Attribute = number | string | readonly number[] | { readonly float: number };
type Axis = number | string;

/** Collects a graph in the order of the calls. Values are named; `node` returns the first output's name. */
export class OnnxGraph {
  readonly #nodes: ProtobufWriter[] = [];
  readonly #initializers: ProtobufWriter[] = [];
  readonly #inputs: ProtobufWriter[] = [];
  readonly #outputs: ProtobufWriter[] = [];
  #counter = 0;

  input(name: string, type: ElementType, shape: readonly Axis[]): string {
    this.#inputs.push(toValueInfo(name, type, shape));
    return name;
  }

  output(name: string, type: ElementType, shape: readonly Axis[]): void {
    this.#outputs.push(toValueInfo(name, type, shape));
  }

  /** Adds a node with one output. */
  node(op: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    const [output] = this.nodeWithOutputs(op, inputs, 1, attributes);
    assert(output !== undefined, 'a node has an output');
    return output;
  }

  nodeWithOutputs(
    op: string,
    inputs: readonly string[],
    outputCount: number,
    attributes: Readonly<Record<string, Attribute>> = {},
  ): string[] {
    const id = `${op.toLowerCase()}_${(this.#counter += 1)}`;
    const outputs = Array.from({ length: outputCount }, (_, index) => (outputCount === 1 ? id : `${id}.${index}`));
    const writer = new ProtobufWriter();
    for (const name of inputs) writer.text(1, name);
    for (const name of outputs) writer.text(2, name);
    writer.text(3, id).text(4, op);
    for (const [name, value] of Object.entries(attributes)) writer.message(5, toAttribute(name, value));
    this.#nodes.push(writer);
    return outputs;
  }

  /** Renames a value by an Identity node, for the graph's outputs. */
  named(name: string, value: string): string {
    this.#nodes.push(new ProtobufWriter().text(1, value).text(2, name).text(3, `name_${name}`).text(4, 'Identity'));
    return name;
  }

  float32(name: string, shape: readonly number[], values: Float32Array): string {
    return this.#initializer(name, 'float32', shape, values);
  }

  int8(name: string, shape: readonly number[], values: Int8Array): string {
    return this.#initializer(name, 'int8', shape, values);
  }

  int64(name: string, shape: readonly number[], values: readonly number[]): string {
    return this.#initializer(name, 'int64', shape, BigInt64Array.from(values, BigInt));
  }

  #initializer(name: string, type: ElementType, shape: readonly number[], values: ArrayBufferView): string {
    assert(endianness() === 'LE', 'ONNX raw data is little-endian, and so is every machine Node 26 runs on here');
    const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const tensor = new ProtobufWriter().packedInts(1, shape).int(2, ELEMENT_TYPE[type]).text(8, name).bytes(9, raw);
    this.#initializers.push(tensor);
    return name;
  }

  /** The bytes of the .onnx file. */
  toBytes(graphName: string, producer: string): Uint8Array {
    const graph = new ProtobufWriter();
    for (const node of this.#nodes) graph.message(1, node);
    graph.text(2, graphName);
    for (const tensor of this.#initializers) graph.message(5, tensor);
    for (const input of this.#inputs) graph.message(11, input);
    for (const output of this.#outputs) graph.message(12, output);
    const opset = new ProtobufWriter().text(1, '').int(2, OPSET_VERSION);
    return new ProtobufWriter().int(1, IR_VERSION).text(2, producer).message(7, graph).message(8, opset).finish();
  }
}

function toValueInfo(name: string, type: ElementType, shape: readonly Axis[]): ProtobufWriter {
  const dims = new ProtobufWriter();
  for (const axis of shape) {
    const dim = new ProtobufWriter();
    dims.message(1, typeof axis === 'number' ? dim.int(1, axis) : dim.text(2, axis));
  }
  const tensor = new ProtobufWriter().int(1, ELEMENT_TYPE[type]).message(2, dims);
  return new ProtobufWriter().text(1, name).message(2, new ProtobufWriter().message(1, tensor));
}

function toAttribute(name: string, value: Attribute): ProtobufWriter {
  const writer = new ProtobufWriter().text(1, name);
  if (typeof value === 'number') return writer.int(3, value).int(20, 2);
  if (typeof value === 'string') return writer.text(4, value).int(20, 3);
  if ('float' in value) return writer.float(2, value.float).int(20, 1);
  return writer.packedInts(8, value).int(20, 7);
}
