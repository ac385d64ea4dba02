// Owns `swarm trust`: whose jobs this machine runs, beyond those that the swarm's admin vouches for. Changed here only.

import { join } from 'node:path';
import type { Command } from 'commander';
import { loadTrustFile, saveTrustFile, type TrustFile } from '../identity/trust-file.ts';
import type { KeyId } from '../lib/ids.ts';
import { SwarmError } from '../protocol/errors.ts';
import { parsePublicKey } from '../protocol/keys.ts';
import { readGlobals } from './globals.ts';
import type { Home } from './home.ts';
import { print } from './output.ts';

export function registerTrust(program: Command): void {
  const trust = program
    .command('trust')
    .description('whose jobs this machine runs, beyond those the admin vouches for');
  trust
    .command('list', { isDefault: true })
    .description('show what this machine’s agent goes by')
    .action(async (_: object, command: Command) => {
      const { home, output } = readGlobals(command);
      const { swarm, adminKey, rosterVersion, localTrust } = (await load(home)).trust;
      print(output, { swarm, adminKey, rosterVersion, localTrust }, () =>
        [`swarm ${swarm}`, `admin ${adminKey}`, ...localTrust.map((key) => `also  ${key}`)].join('\n'),
      );
    });
  for (const verb of ['add', 'remove'] as const)
    trust
      .command(`${verb} <key>`)
      .description(verb === 'add' ? 'run this key’s jobs too' : 'no longer run this key’s jobs')
      .addHelpText('after', `\nExample:\n  swarm trust ${verb} ed25519:1f3a…`)
      .action(async (text: string, _: object, command: Command) => {
        const { home, output } = readGlobals(command);
        const key = parsePublicKey(text);
        if (!key.ok) throw new SwarmError('bad-request', `"${text}" is ${key.error}`);
        const changed = await change(home, text as KeyId, verb === 'add');
        print(output, { key: text, changed }, () =>
          changed ? 'changed; running agents heed it from the next job on' : 'it was so already',
        );
      });
}

async function change(home: Home, key: KeyId, wanted: boolean): Promise<boolean> {
  const { path, trust } = await load(home);
  if (trust.localTrust.includes(key) === wanted) return false;
  const others = trust.localTrust.filter((other) => other !== key);
  await saveTrustFile(path, { ...trust, localTrust: wanted ? [...others, key] : others });
  return true;
}

async function load(home: Home): Promise<{ path: string; trust: TrustFile }> {
  const path = join(home.agentDir, 'trust.json');
  const trust = await loadTrustFile(path);
  if (trust) return { path, trust };
  throw new SwarmError('not-found', 'this machine has not joined a swarm as a peer: swarm join INVITE');
}
