// Owns Change: what a step wants written. The store keeps records and knows nothing of what they mean.

/** One durable record: a kind, an id within the kind, the schema version of the kind, and JSON. */
export type StoredRecord = {
  readonly kind: string;
  readonly id: string;
  readonly version: number;
  readonly value: unknown;
};

export type Change =
  | { readonly op: 'put'; readonly record: StoredRecord }
  | { readonly op: 'delete'; readonly kind: string; readonly id: string };
