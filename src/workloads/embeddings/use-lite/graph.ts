// Owns the network of Universal Sentence Encoder Lite as an ONNX graph: two transformer layers over SentencePiece ids,
// mean over tokens, tanh layer, L2 norm. Written down anew rather than node by node, because the TensorFlow.js graph
// spends most of its nodes on packing and unpacking sparse batches. Does not know files or folders.

import { defined } from '../../../lib/assert.ts';
import { OnnxGraph } from '../onnx-graph.ts';
import type { Weight } from './weights.ts';

export type Precision = 'float32' | 'int8';

/** Marks the end of a shorter text in a batch. 0 cannot: it is the id of the unknown piece. */
export const PAD_ID = -1;
export const USE_LITE_DIMS = 512;

const ENCODER = 'module_apply_default/Encoder_en/KonaTransformer/Encode';
const HEADS = 4;
const LAYER_NORM_EPSILON = 1e-6;
const MASKED_SCORE = -1e9;
const MIN_SQUARED_NORM = 1e-12;
const INT8_MAX = 127;

type Layer = { readonly index: 0 | 1; readonly width: number };

class UseLiteGraph {
  readonly graph = new OnnxGraph();
  readonly #weights: ReadonlyMap<string, Weight>;
  readonly #precision: Precision;

  constructor(weights: ReadonlyMap<string, Weight>, precision: Precision) {
    this.#weights = weights;
    this.#precision = precision;
  }

  build(): Uint8Array {
    const { graph } = this;
    const ids = graph.input('ids', 'int64', ['batch', 'tokens']);
    const mask = graph.node('Cast', [graph.node('Greater', [ids, this.#int('pad_id', PAD_ID)])], { to: 1 });
    const bias = this.#attentionBias(mask);
    // The original adds the embeddings to (embeddings + timing signal), so they count twice.
    const embeddings = this.#embeddings(ids);
    const embedded = graph.node('Add', [graph.node('Add', [embeddings, embeddings]), this.#timing(ids)]);
    const first = this.#layer({ index: 0, width: 256 }, embedded, bias);
    const second = this.#layer({ index: 1, width: 512 }, first, bias);
    graph.named('embeddings', this.#head(this.#mean(second, mask)));
    graph.output('embeddings', 'float32', ['batch', USE_LITE_DIMS]);
    return graph.toBytes('universal-sentence-encoder-lite', 'backyard-swarm');
  }

  #attentionBias(mask: string): string {
    const padding = this.graph.node('Sub', [this.#float('one', 1), mask]);
    const bias = this.graph.node('Mul', [padding, this.#float('masked_score', MASKED_SCORE)]);
    return this.graph.node('Unsqueeze', [bias, this.graph.int64('head_axes', [2], [1, 2])]);
  }

  #embeddings(ids: string): string {
    const known = this.graph.node('Max', [ids, this.#int('first_id', 0)]);
    const table = this.#weight('module/Embeddings_en');
    if (this.#precision === 'float32') {
      return this.graph.node('Gather', [this.graph.float32('embeddings_table', table.shape, table.values), known]);
    }
    // Rows are looked up while they are bytes: the table never grows to float32 in memory.
    const [rows = 0, columns = 0] = table.shape;
    const { quantized, scales } = quantizeRows(table.values, rows, columns);
    const row = this.graph.node('Gather', [this.graph.int8('embeddings_table', table.shape, quantized), known]);
    const scale = this.graph.node('Gather', [this.graph.float32('embeddings_scale', [rows, 1], scales), known]);
    return this.graph.node('Mul', [this.graph.node('Cast', [row], { to: 1 }), scale]);
  }

  #timing(ids: string): string {
    const { graph } = this;
    const tokens = graph.node('Gather', [graph.node('Shape', [ids]), this.#int('tokens_axis', 1)]);
    const positions = graph.node('Range', [this.#int('range_start', 0), tokens, this.#int('range_step', 1)]);
    const column = graph.node('Unsqueeze', [graph.node('Cast', [positions], { to: 1 }), this.#int1('axis_1', 1)]);
    const scale = this.#weight(`${ENCODER}/TransformerStack/Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1`);
    const angle = graph.node('Mul', [column, graph.float32('timing_scale', scale.shape, scale.values)]);
    return graph.node('Concat', [graph.node('Sin', [angle]), graph.node('Cos', [angle])], { axis: 1 });
  }

  #layer(layer: Layer, input: string, bias: string): string {
    const path = `${ENCODER}/Layer_${layer.index}/TransformerLayer`;
    const attended = this.#attention(layer, this.#layerNorm(`${path}/layer_prepostprocess`, input), bias);
    const residual =
      layer.index === 0
        ? this.#linear('residual', input, `${path}/dense/kernel/ConcatPartitions/concat`, `${path}/dense/bias`)
        : input;
    const sum = this.graph.node('Add', [attended, residual]);
    return this.graph.node('Add', [
      this.#feedForward(layer, this.#layerNorm(`${path}/FFN/layer_prepostprocess`, sum)),
      sum,
    ]);
  }

  #attention({ index, width }: Layer, input: string, bias: string): string {
    const { graph } = this;
    const path = `Encode/Layer_${index}/TransformerLayer/MultiheadAttention`;
    const kernel = (name: string): string => `module/Encoder_en/KonaTransformer/${path}/${name}/kernel/part_0`;
    const biasOf = (name: string): string =>
      `${ENCODER}/Layer_${index}/TransformerLayer/MultiheadAttention/${name}/bias`;
    const qkv = this.#linear(`qkv_${index}`, input, kernel('qkv_transform_single'), biasOf('qkv_transform_single'));
    const parts = graph.nodeWithOutputs('Split', [qkv], 3, { axis: 2 });
    const shape = graph.int64(`head_shape_${index}`, [4], [0, 0, HEADS, width / HEADS]);
    const [q = '', k = '', v = ''] = parts.map((part) => graph.node('Reshape', [part, shape]));
    const scale = this.#scalar(`${ENCODER}/TransformerStack/Layer_${index}/TransformerLayer/MultiheadAttention/mul/y`);
    const query = graph.node('Mul', [graph.node('Transpose', [q], { perm: [0, 2, 1, 3] }), scale]);
    const scores = graph.node('MatMul', [query, graph.node('Transpose', [k], { perm: [0, 2, 3, 1] })]);
    const attention = graph.node('Softmax', [graph.node('Add', [scores, bias])], { axis: 3 });
    const mixed = graph.node('MatMul', [attention, graph.node('Transpose', [v], { perm: [0, 2, 1, 3] })]);
    const heads = graph.node('Transpose', [mixed], { perm: [0, 2, 1, 3] });
    const joined = graph.node('Reshape', [heads, graph.int64(`joined_shape_${index}`, [3], [0, 0, width])]);
    return this.#linear(`out_${index}`, joined, kernel('output_transform_single'), biasOf('output_transform_single'));
  }

  #feedForward({ index }: Layer, input: string): string {
    const kernel = (name: string): string =>
      `${ENCODER}/TransformerStack/Layer_${index}/TransformerLayer/FFN/${name}/Tensordot/Reshape_1`;
    const bias = (name: string): string => `${ENCODER}/Layer_${index}/TransformerLayer/FFN/${name}/bias`;
    const hidden = this.graph.node('Relu', [this.#linear(`ffn1_${index}`, input, kernel('conv1'), bias('conv1'))]);
    return this.#linear(`ffn2_${index}`, hidden, kernel('conv2'), bias('conv2'));
  }

  #mean(input: string, mask: string): string {
    const { graph } = this;
    const axis = this.#int1('axis_token', 1);
    const kept = graph.node('Mul', [input, graph.node('Unsqueeze', [mask, this.#int1('axis_last', 2)])]);
    const sum = graph.node('ReduceSum', [kept, axis], { keepdims: 0 });
    const count = graph.node('Max', [graph.node('ReduceSum', [mask, axis], { keepdims: 1 }), 'one']);
    return graph.node('Div', [sum, count]);
  }

  #head(input: string): string {
    const { graph } = this;
    const weights = 'module/Encoder_en/hidden_layers/tanh_layer_0';
    const bias = this.#vector('head_bias', `${weights}/bias`);
    const raw = graph.node('Tanh', [
      graph.node('Add', [graph.node('MatMul', [input, this.#matrix('head', `${weights}/weights`)]), bias]),
    ]);
    const squares = graph.node('ReduceSum', [graph.node('Mul', [raw, raw]), 'axis_1'], { keepdims: 1 });
    const floor = this.#float('min_squared_norm', MIN_SQUARED_NORM);
    return graph.node('Div', [raw, graph.node('Sqrt', [graph.node('Max', [squares, floor])])]);
  }

  #linear(name: string, input: string, kernel: string, bias: string): string {
    const product = this.graph.node('MatMul', [input, this.#matrix(name, kernel)]);
    return this.graph.node('Add', [product, this.#vector(`${name}_bias`, `${bias}/ConcatPartitions/concat`)]);
  }

  #layerNorm(path: string, input: string): string {
    const scale = this.#vector(`${path}_scale`, `${path}/layer_norm/layer_norm_scale/ConcatPartitions/concat`);
    const bias = this.#vector(`${path}_bias`, `${path}/layer_norm/layer_norm_bias/ConcatPartitions/concat`);
    return this.graph.node('LayerNormalization', [input, scale, bias], {
      axis: 2,
      epsilon: { float: LAYER_NORM_EPSILON },
    });
  }

  /** A weight matrix, as float32 or as int8 with one scale a column (ONNX Runtime folds the product when it loads). */
  #matrix(name: string, weight: string): string {
    const { shape, values } = this.#weight(weight);
    const [rows = 0, columns = 0] = shape.slice(-2);
    if (this.#precision === 'float32') return this.graph.float32(name, [rows, columns], values);
    const { quantized, scales } = quantizeColumns(values, rows, columns);
    const bytes = this.graph.int8(name, [rows, columns], quantized);
    const scale = this.graph.float32(`${name}_scale`, [columns], scales);
    return this.graph.node('Mul', [this.graph.node('Cast', [bytes], { to: 1 }), scale]);
  }

  #vector(name: string, weight: string): string {
    const { shape, values } = this.#weight(weight);
    return this.graph.float32(name, shape, values);
  }

  #scalar(weight: string): string {
    return this.#vector(weight, weight);
  }

  #weight(name: string): Weight {
    return defined(this.#weights.get(name), `the tensor ${name}`);
  }

  #float(name: string, value: number): string {
    return this.graph.float32(name, [], Float32Array.of(value));
  }

  #int(name: string, value: number): string {
    return this.graph.int64(name, [], [value]);
  }

  #int1(name: string, value: number): string {
    return this.graph.int64(name, [1], [value]);
  }
}

/** The bytes of the model as ONNX: int64 `ids` [batch, tokens], padded with PAD_ID → float32 `embeddings` [batch, 512]. */
export function buildUseLiteGraph(weights: ReadonlyMap<string, Weight>, precision: Precision): Uint8Array {
  return new UseLiteGraph(weights, precision).build();
}

type Quantized = { readonly quantized: Int8Array; readonly scales: Float32Array };

function quantizeColumns(values: Float32Array, rows: number, columns: number): Quantized {
  return quantize(values, rows, columns, columns, (_, column) => column);
}

function quantizeRows(values: Float32Array, rows: number, columns: number): Quantized {
  return quantize(values, rows, columns, rows, (row) => row);
}

/** Symmetric int8: each group (a row or a column) has the scale that its largest weight needs. */
function quantize(
  values: Float32Array,
  rows: number,
  columns: number,
  groups: number,
  groupOf: (row: number, column: number) => number,
): Quantized {
  const scales = new Float32Array(groups);
  const quantized = new Int8Array(values.length);
  for (let at = 0; at < values.length; at += 1) {
    const group = groupOf(Math.floor(at / columns), at % columns);
    scales[group] = Math.max(scales[group] ?? 0, Math.abs(values[at] ?? 0));
  }
  for (let group = 0; group < groups; group += 1) scales[group] = (scales[group] ?? 0) / INT8_MAX || 1;
  for (let at = 0; at < rows * columns; at += 1) {
    const scale = scales[groupOf(Math.floor(at / columns), at % columns)] ?? 1;
    quantized[at] = Math.max(-INT8_MAX, Math.min(INT8_MAX, Math.round((values[at] ?? 0) / scale)));
  }
  return { quantized, scales };
}
