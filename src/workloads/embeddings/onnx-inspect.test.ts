import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OnnxGraph } from './onnx-graph.ts';
import { inspectOnnx } from './onnx-inspect.ts';
import { ProtobufWriter } from './onnx-protobuf.ts';

function withExternal(location: string): Uint8Array {
  const entry = new ProtobufWriter().text(1, 'location').text(2, location);
  const tensor = new ProtobufWriter().packedInts(1, [2]).int(2, 1).text(8, 'w').message(13, entry).int(14, 1);
  return new ProtobufWriter().int(1, 8).message(7, new ProtobufWriter().message(5, tensor)).finish();
}

/** A graph whose If node hides a tensor with external data in a branch. */
function withHiddenExternal(location: string): Uint8Array {
  const entry = new ProtobufWriter().text(1, 'location').text(2, location);
  const branch = new ProtobufWriter().message(5, new ProtobufWriter().message(13, entry));
  const attribute = new ProtobufWriter().text(1, 'then_branch').message(6, branch);
  const node = new ProtobufWriter().text(4, 'If').message(5, attribute);
  return new ProtobufWriter().message(7, new ProtobufWriter().message(1, node)).finish();
}

describe('inspectOnnx', () => {
  test('finds external data, in branches too', () => {
    expect(inspectOnnx(withExternal('../../secret'))).toMatchObject({
      ok: true,
      value: { externalLocations: ['../../secret'] },
    });
    expect(inspectOnnx(withHiddenExternal('/etc/x'))).toMatchObject({
      ok: true,
      value: { externalLocations: ['/etc/x'] },
    });
  });

  test('tells networks that quantise activations from those that do not', () => {
    const graph = new OnnxGraph();
    const x = graph.input('x', 'float32', ['batch']);
    expect(inspectOnnx(graph.toBytes('g', 't'))).toMatchObject({ value: { quantizesActivations: false } });
    graph.nodeWithOutputs('DynamicQuantizeLinear', [x], 3);
    expect(inspectOnnx(graph.toBytes('g', 't'))).toMatchObject({ value: { quantizesActivations: true } });
  });

  test('refuses what is no ONNX file', () => {
    expect(inspectOnnx(Buffer.from('<!doctype html><p>Entry not found')).ok).toBe(false);
    expect(inspectOnnx(new Uint8Array()).ok).toBe(false);
    expect(inspectOnnx(withExternal('x').subarray(0, 20)).ok).toBe(false);
  });

  test('answers on any bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => typeof inspectOnnx(bytes).ok === 'boolean'));
  });
});
