// Owns the protocol's version and its history. A peer whose version lies outside the supported span is told so.

export const PROTOCOL_VERSION = 2;
export const OLDEST_SUPPORTED_VERSION = 1;

/** One line per version: when, and what changed on the wire. */
export const PROTOCOL_HISTORY: readonly { version: number; since: string; change: string }[] = [
  { version: 1, since: '2026-11-23', change: 'First version: hello, assign, report, adopt or fence, heartbeat.' },
  {
    version: 2,
    since: '2026-11-24',
    change:
      'shrink and shrunk; results say where they end, their set-up, upload and peak memory; hello has labels and owner.',
  },
];

/** Says in plain words why a version cannot talk to this one, or undefined when it can. */
export function checkVersion(version: number): string | undefined {
  if (version < OLDEST_SUPPORTED_VERSION)
    return `the agent speaks protocol ${version}; this coordinator needs ${OLDEST_SUPPORTED_VERSION} or newer: update Backyard Swarm on that machine`;
  if (version > PROTOCOL_VERSION)
    return `the agent speaks protocol ${version}; this coordinator knows ${PROTOCOL_VERSION} at most: update the coordinator`;
  return undefined;
}
