// Owns the branded id types. Ids come in with events or derive from other ids; nothing here draws one.

declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** A public key, `ed25519:` + 64 hex digits. Peers, submitters, admins and the swarm itself are named so. */
export type KeyId = Brand<string, 'KeyId'>;
/** A peer's KeyId. */
export type PeerId = KeyId;
/** `sha256:` + 64 hex digits, the name of an artifact. */
export type ArtifactId = Brand<string, 'ArtifactId'>;
/** First 16 hex digits of the SHA-256 of the job's signed payload, so that a resubmission has the same id. */
export type JobId = Brand<string, 'JobId'>;
/** `<jobId>/<stage name>`. */
export type StageId = Brand<string, 'StageId'>;
/** `<coordinator incarnation>.<counter>`: names an attempt and fences its reports. */
export type Epoch = Brand<string, 'Epoch'>;

export function toStageId(jobId: JobId, stageName: string): StageId {
  return `${jobId}/${stageName}` as StageId;
}

export function toEpoch(incarnation: number, counter: number): Epoch {
  return `${incarnation}.${counter}` as Epoch;
}
