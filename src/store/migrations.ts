// Owns the schema of the SQLite store as an ordered list of steps. A released step is never edited; a change is a new one.
// Knows nothing of what records mean: their own versions are the core's.

/** Marks a SQLite file as a Backyard Swarm store: "BSWM" in ASCII. */
export const APPLICATION_ID = 0x42_53_57_4d;

/** Step n brings a store from version n to n + 1. */
export const MIGRATIONS: readonly string[] = [
  // `sum` is the CRC-32 of the other columns: SQLite finds a broken page, but not a flipped bit in a value.
  `CREATE TABLE records (
     kind TEXT NOT NULL,
     id TEXT NOT NULL,
     version INTEGER NOT NULL,
     value TEXT NOT NULL,
     sum INTEGER NOT NULL,
     PRIMARY KEY (kind, id)
   ) STRICT, WITHOUT ROWID`,
];
