// Owns `swarm join`: pins what an invite says and enrols this machine's own key.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { loadOrCreateKey } from '../identity/key-files.ts';
import { loadTrustFile, saveTrustFile, toTrustFile } from '../identity/trust-file.ts';
import { SwarmError } from '../protocol/errors.ts';
import { acceptInvite, parseInvite, type Invite } from '../protocol/invite.ts';
import { webCryptoSignatures } from '../protocol/keys.ts';
import { openFirst } from './connect.ts';
import { readGlobals, type Globals } from './globals.ts';
import { print } from './output.ts';
import { loadSettings } from './settings.ts';

/** More than any invite has; the invite's own rules refuse what is longer. */
const MAX_STDIN_CHARS = 64 * 1_024;

export function registerJoin(program: Command): void {
  program
    .command('join <invite>')
    .description('join a swarm by an invite; "-" reads it from standard input')
    .option('--name <name>', 'what you or this machine are called there')
    .addHelpText('after', '\nExamples:\n  swarm join swarm1-eyJ…\n  pbpaste | swarm join - --name attic-5090')
    .action(async (text: string, options: { name?: string }, command: Command) =>
      joinSwarm(readGlobals(command), text === '-' ? await readStdin() : text, options.name),
    );
}

async function readStdin(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > MAX_STDIN_CHARS) break;
  }
  return text;
}

async function joinSwarm({ home, output }: Globals, text: string, name: string | undefined): Promise<void> {
  const invite = await parseInvite(text, webCryptoSignatures);
  if (!invite.ok) throw new SwarmError('bad-invite', invite.error);
  const isPeer = invite.value.grant.role === 'peer';
  const dir = isPeer ? home.agentDir : home.clientDir;
  const settings = await loadSettings(home.dir, { name });
  const joined = await enrol(dir, invite.value, settings.name);
  const next = isPeer ? 'swarm agent    lends this machine to the swarm' : 'swarm jobs     shows what it is doing';
  print(
    output,
    { ...joined, dir },
    ({ swarm, as, role }) => `joined swarm ${swarm}\nas ${as} (${role})\n\nNext:\n  ${next}`,
  );
}

/** Enrols the key in `dir` and keeps the pins there; nothing is kept when the coordinator refuses. */
export async function enrol(
  dir: string,
  invite: Invite,
  name: string,
): Promise<{ readonly swarm: string; readonly as: string; readonly role: string }> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, 'trust.json');
  const before = await loadTrustFile(path);
  const { swarm } = invite.grant;
  if (before && before.swarm !== swarm)
    throw new SwarmError(
      'conflict',
      `${path} pins another swarm, ${before.swarm}: move it away first, or use another --home`,
    );
  const signer = await loadOrCreateKey(join(dir, 'key.pem'));
  const membership = await acceptInvite(invite, signer.keyId, name);
  const { rosterVersion, roster, localTrust } = before ?? { rosterVersion: 0, localTrust: [] };
  const trust = { ...toTrustFile(invite, membership), rosterVersion, localTrust, ...(roster && { roster }) };
  using connection = await openFirst(trust.addresses, trust, signer);
  const member = await connection.client.session.open();
  await saveTrustFile(path, trust);
  return { swarm, as: member.name, role: member.role };
}
