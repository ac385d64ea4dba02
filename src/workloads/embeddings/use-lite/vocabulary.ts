// Owns the 8,000 pieces of Universal Sentence Encoder Lite: reading the package's vocab.json and mending the twelve
// entries that its export garbled. Does not know segmentation.

import { z } from 'zod';
import { SwarmError } from '../../../protocol/errors.ts';
import type { Piece, UnigramVocabulary } from '../tokenizer.ts';

const UNKNOWN_ID = 0;
/** <unk>, <s>, </s> and three reserved pieces come first. */
const FIRST_NORMAL_ID = 6;
const PIECE_COUNT = 8_000;

/**
 * Three different pieces are exported as '”5'. What they were shows in the embeddings table, whose rows lie next to
 * those of their ASCII twins (cosine 0.83, 0.84, 0.71; the next neighbours are the same mark elsewhere).
 */
const GARBLED_TEXTS: ReadonlyMap<number, string> = new Map([
  [230, ',”'],
  [238, '.”'],
  [4464, '?”'],
]);

const rawSchema = z.array(z.tuple([z.string().min(1).max(32), z.number().nullable()])).length(PIECE_COUNT);
const mendedSchema = z.array(z.tuple([z.string().min(1).max(32), z.number().max(0)])).length(PIECE_COUNT);

/**
 * Mends the package's vocab.json. Pieces with a colon lost their score (null, or for ':30' and ':00' the digits);
 * pieces are sorted by score, so the mean of the two neighbours is off by 0.01 at most.
 */
export function mendUseLitePieces(vocabJson: string): Piece[] {
  const raw = rawSchema.parse(JSON.parse(vocabJson));
  return raw.map(([text, score], id): Piece => {
    const lost = score === null || (id >= FIRST_NORMAL_ID && text.includes(':'));
    return [GARBLED_TEXTS.get(id) ?? text, lost ? ((raw[id - 1]?.[1] ?? 0) + (raw[id + 1]?.[1] ?? 0)) / 2 : score];
  });
}

/** Reads a mended vocabulary from a prepared model folder. */
export function parseUseLiteVocabulary(json: string, path: string): UnigramVocabulary {
  const parsed = mendedSchema.safeParse(JSON.parse(json));
  if (!parsed.success)
    throw new SwarmError('bad-input', `${path} is not the vocabulary of use-lite; prepare the model anew`);
  return { pieces: parsed.data, unknownId: UNKNOWN_ID, firstNormalId: FIRST_NORMAL_ID };
}
