// The wire format does not change by accident: its schemas' hash is pinned, and messages of every version still decode.

import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import golden from '../../test/data/protocol/v1.json' with { type: 'json' };
import { decodeToAgent, decodeToCoordinator, encodeFrame, MAX_FRAME_BYTES } from './codec.ts';
import { jobSpecSchema, parseJobSpec } from './job-spec.ts';
import { toAgentSchema } from './to-agent.ts';
import { toCoordinatorSchema } from './to-coordinator.ts';
import { checkVersion, OLDEST_SUPPORTED_VERSION, PROTOCOL_HISTORY, PROTOCOL_VERSION } from './version.ts';

/** Changing this line means: the wire format changed. Raise PROTOCOL_VERSION, add to its history, add goldens. */
const SCHEMA_HASH = '964139372b49e6838ece227b1859f02aa80f9e4830556562214b893d2302ac50';

describe('wire format', () => {
  test('the schemas are those of the pinned version', () => {
    const schemas = [toAgentSchema, toCoordinatorSchema, jobSpecSchema].map((schema) =>
      z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }),
    );
    expect(createHash('sha256').update(JSON.stringify(schemas)).digest('hex')).toBe(SCHEMA_HASH);
  });

  test('messages of version 1 still decode', () => {
    for (const frame of golden['to-coordinator'])
      expect(decodeToCoordinator(JSON.stringify(frame))).toEqual({ ok: true, value: frame });
    for (const frame of golden['to-agent'])
      expect(decodeToAgent(JSON.stringify(frame))).toEqual({ ok: true, value: frame });
    for (const spec of golden['job-spec']) expect(parseJobSpec(spec)).toMatchObject({ ok: true, value: spec });
  });

  test('a decoded frame encodes to the same bytes', () => {
    for (const frame of golden['to-coordinator']) {
      const decoded = decodeToCoordinator(JSON.stringify(frame));
      expect(decoded.ok && encodeFrame(decoded.value)).toBe(JSON.stringify(frame));
    }
  });

  test('the history ends with the present version', () => {
    expect(PROTOCOL_HISTORY.at(-1)?.version).toBe(PROTOCOL_VERSION);
  });

  test('older and newer versions are told what to update', () => {
    expect(checkVersion(PROTOCOL_VERSION)).toBeUndefined();
    expect(checkVersion(OLDEST_SUPPORTED_VERSION - 1)).toContain('update Backyard Swarm on that machine');
    expect(checkVersion(PROTOCOL_VERSION + 1)).toContain('update the coordinator');
  });
});

describe('frames from outside', () => {
  test('garbage is refused, never thrown on', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(decodeToAgent(text).ok).toBe(false);
        expect(decodeToCoordinator(text).ok).toBe(false);
      }),
    );
  });

  test('a mutated message is refused or still of the schema', () => {
    const frames = golden['to-coordinator'].map((frame) => JSON.stringify(frame));
    fc.assert(
      fc.property(
        fc.constantFrom(...frames),
        fc.nat(),
        fc.string({ minLength: 1, maxLength: 1 }),
        (frame, at, char) => {
          const i = at % frame.length;
          const decoded = decodeToCoordinator(frame.slice(0, i) + char + frame.slice(i + 1));
          if (decoded.ok)
            for (const message of decoded.value) expect(toCoordinatorSchema.safeParse(message).success).toBe(true);
        },
      ),
    );
  });

  test('an oversized frame is refused by its size', () => {
    expect(decodeToCoordinator(' '.repeat(MAX_FRAME_BYTES + 1))).toMatchObject({
      ok: false,
      error: expect.stringContaining('over the limit'),
    });
  });
});

describe('job specs', () => {
  const spec = golden['job-spec'][0];
  const withStages = (...stages: object[]): unknown => ({ ...spec, stages });
  const stage = { name: 'a', workload: 'noop', items: { kind: 'count', count: 1 } };

  test.each([
    ['two stages of one name', withStages(stage, stage), 'two stages are named "a"'],
    ['an unknown need', withStages({ ...stage, needs: ['b'] }), 'needs "b", which does not exist'],
    ['a cycle', withStages({ ...stage, needs: ['b'] }, { ...stage, name: 'b', needs: ['a'] }), 'circle: a → b → a'],
    ['a wrong order', withStages({ ...stage, needs: ['b'] }, { ...stage, name: 'b' }), 'must be listed before it'],
    [
      'parts without the need',
      withStages(stage, { ...stage, name: 'b', items: { kind: 'parts', of: 'a' } }),
      'does not need it',
    ],
    ['no stages', withStages(), 'job spec is not valid'],
    ['an unknown field', { ...spec, runAs: 'root' }, 'runAs'],
    [
      'a path that leaves the model folder',
      withStages({
        ...stage,
        model: {
          name: 'm',
          sha256: 'c'.repeat(64),
          files: [{ path: '../x', id: `sha256:${'d'.repeat(64)}`, sizeBytes: 1 }],
        },
      }),
      'path',
    ],
  ])('%s is refused with the reason', (_what, value, reason) => {
    expect(parseJobSpec(value)).toEqual({ ok: false, error: expect.stringContaining(reason) });
  });
});
