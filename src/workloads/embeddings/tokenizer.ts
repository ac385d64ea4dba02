// Owns SentencePiece's unigram segmentation: the best-scoring split of a normalised text into pieces (Viterbi), in
// float32 as SentencePiece computes it, so that ties fall alike. Does not know how text is normalised.

import { assert } from '../../lib/assert.ts';

/** SentencePiece scores an unknown character this far below the worst piece. */
const UNKNOWN_PENALTY = 10;
const NO_PIECE = -1;
const MAX_NODES = 65_535;

export type Piece = readonly [text: string, score: number];

export type UnigramVocabulary = {
  /** Index = id. */
  readonly pieces: readonly Piece[];
  readonly unknownId: number;
  /** Ids below this one are control pieces, never found in text. */
  readonly firstNormalId: number;
};

/** Immutable once built; one serves any number of texts. */
export class UnigramTokenizer {
  readonly #unknownId: number;
  readonly #unknownScore: number;
  readonly #scores: Float32Array;
  /** Code unit → column of the transition table; 0 = occurs in no piece. */
  readonly #columns = new Uint8Array(65_536);
  readonly #columnCount: number;
  /** node * columnCount + column → node; 0 = no such edge (nothing leads back to the root). */
  readonly #edges: Uint16Array;
  readonly #pieceAt: Int32Array;

  constructor(vocabulary: UnigramVocabulary) {
    const { pieces, firstNormalId } = vocabulary;
    this.#unknownId = vocabulary.unknownId;
    this.#scores = Float32Array.from(pieces, ([, score]) => score);
    this.#unknownScore = Math.fround(this.#scores.subarray(firstNormalId).reduce(toLower, 0) - UNKNOWN_PENALTY);
    const normal = pieces.slice(firstNormalId).map(([text]) => text);
    this.#columnCount = this.#assignColumns(normal);
    const trie = this.#buildTrie(normal, firstNormalId);
    this.#edges = trie.edges;
    this.#pieceAt = trie.pieceAt;
  }

  /** The ids of a normalised text, runs of unknown characters merged into one id, at most `maxTokens` of them. */
  encode(normalized: string, maxTokens: number): number[] {
    const ends = this.#bestPaths(normalized);
    const ids: number[] = [];
    for (let end = normalized.length; end > 0; end = ends.start[end] ?? 0) {
      const id = ends.id[end] ?? this.#unknownId;
      if (id !== this.#unknownId || ids.at(-1) !== this.#unknownId) ids.push(id);
    }
    return ids.reverse().slice(0, maxTokens);
  }

  /** For each position: the piece that ends there on the best path, and where it starts. */
  #bestPaths(text: string): { id: Int32Array; start: Int32Array } {
    const size = text.length + 1;
    const score = new Float32Array(size).fill(-Infinity);
    const id = new Int32Array(size).fill(NO_PIECE);
    const start = new Int32Array(size);
    score[0] = 0;
    for (let from = 0; from < text.length;) {
      const width = (text.codePointAt(from) ?? 0) > 0xffff ? 2 : 1;
      const before = score[from] ?? 0;
      let single = false;
      for (let to = from, node = 0; to < text.length;) {
        node = this.#edges[node * this.#columnCount + (this.#columns[text.charCodeAt(to)] ?? 0)] ?? 0;
        if (node === 0) break;
        to += 1;
        const piece = this.#pieceAt[node] ?? NO_PIECE;
        if (piece === NO_PIECE) continue;
        single ||= to - from === width;
        const candidate = Math.fround(before + (this.#scores[piece] ?? 0));
        if (candidate > (score[to] ?? 0)) {
          score[to] = candidate;
          id[to] = piece;
          start[to] = from;
        }
      }
      const next = from + width;
      const unknown = Math.fround(before + this.#unknownScore);
      if (!single && unknown > (score[next] ?? 0)) {
        score[next] = unknown;
        id[next] = this.#unknownId;
        start[next] = from;
      }
      from = next;
    }
    return { id, start };
  }

  #assignColumns(texts: readonly string[]): number {
    let count = 1;
    for (const text of texts) {
      for (let at = 0; at < text.length; at += 1) {
        if (this.#columns[text.charCodeAt(at)] === 0) this.#columns[text.charCodeAt(at)] = count++;
        assert(count <= 256, 'the vocabulary uses fewer than 256 different characters');
      }
    }
    return count;
  }

  #buildTrie(texts: readonly string[], firstId: number): { edges: Uint16Array; pieceAt: Int32Array } {
    const columns = this.#columnCount;
    const nodeLimit = Math.min(MAX_NODES, 1 + texts.reduce((sum, text) => sum + text.length, 0));
    const edges = new Uint16Array(nodeLimit * columns);
    const pieceAt = new Int32Array(nodeLimit).fill(NO_PIECE);
    let nodes = 1;
    for (const [index, text] of texts.entries()) {
      let node = 0;
      for (let at = 0; at < text.length; at += 1) {
        const edge = node * columns + (this.#columns[text.charCodeAt(at)] ?? 0);
        if (edges[edge] === 0) edges[edge] = nodes++;
        assert(nodes <= nodeLimit, 'the vocabulary fits the table');
        node = edges[edge] ?? 0;
      }
      pieceAt[node] = firstId + index;
    }
    return { edges: edges.slice(0, nodes * columns), pieceAt: pieceAt.slice(0, nodes) };
  }
}

function toLower(lowest: number, score: number): number {
  return Math.min(lowest, score);
}
