// Owns the Encoder port: what the data side of the embeddings workload needs from a sentence encoder.
// Knows no model, no tokenizer and no runtime.

/** Turns texts into vectors. One encoder is used by one caller at a time; `close` frees its memory. */
export type Encoder = {
  /** Names the model and its weights; vectors of different ids must never be compared. */
  readonly modelId: string;
  /** Length of one vector. */
  readonly dims: number;
  /** Longest text in tokens; what is longer is cut by the encoder. */
  readonly maxTokens: number;
  /** Returns `texts.length * dims` floats, row by row in the order of `texts`, each row L2-normalised. */
  embed(texts: readonly string[]): Promise<Float32Array>;
  close(): Promise<void>;
};
