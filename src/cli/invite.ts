// Owns `swarm invite`: one line that lets somebody in, signed with the admin's key on this machine.

import { join } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { loadKey } from '../identity/key-files.ts';
import { loadTrustFile } from '../identity/trust-file.ts';
import { formatDuration, parseDuration } from '../lib/durations.ts';
import { SwarmError } from '../protocol/errors.ts';
import { isLoopback, makeInvite } from '../protocol/invite.ts';
import { webCryptoSignatures } from '../protocol/keys.ts';
import { MAX_INVITE_USES } from '../protocol/membership.ts';
import type { Role } from '../protocol/roster.ts';
import { readGlobals, type Globals } from './globals.ts';
import { note, print } from './output.ts';

type InviteOptions = {
  readonly role: Role;
  readonly name?: string;
  readonly uses: number;
  readonly expires: number;
  readonly address?: string[];
};

export function registerInvite(program: Command): void {
  program
    .command('invite')
    .description('print an invite: whoever has it can join, so send it over a channel you trust')
    .addOption(
      new Option('--role <role>', 'peer lends a machine, submitter hands in jobs, viewer looks, admin may do all')
        .choices(['peer', 'submitter', 'viewer', 'admin'])
        .default('peer'),
    )
    .option('--name <name>', 'your name for whoever joins; theirs otherwise')
    .option('--uses <count>', 'how many may join with it', parseUses, 1)
    .option('--expires <duration>', 'how long it holds, such as 2h or 7d', parseExpiry, parseExpiry('7d'))
    .option('--address <url...>', 'where they find the coordinator, instead of where it listens')
    .addHelpText('after', '\nExamples:\n  swarm invite\n  swarm invite --role submitter --name Anna --expires 2h')
    .action(async (options: InviteOptions, command: Command) => invite(readGlobals(command), options));
}

async function invite({ home, output }: Globals, options: InviteOptions): Promise<void> {
  const [trust, admin] = [
    await loadTrustFile(join(home.clientDir, 'trust.json')),
    await loadKey(join(home.adminDir, 'key.pem')),
  ];
  if (!trust || !admin || admin.keyId !== trust.adminKey)
    throw new SwarmError('forbidden', 'only the admin can invite, with the key that "swarm up" made on their machine');
  const addresses = options.address ?? trust.addresses;
  const expiresAt = Date.now() + options.expires;
  const { text } = await makeInvite(
    {
      swarm: trust.swarm,
      role: options.role,
      expiresAt,
      maxUses: options.uses,
      addresses,
      ...(options.name !== undefined && { name: options.name }),
      ...(trust.tlsPin !== undefined && { tlsPin: trust.tlsPin }),
    },
    admin,
    webCryptoSignatures,
  );
  print(output, { invite: text, role: options.role, uses: options.uses, expiresAt, addresses }, () => text);
  const times = options.uses === 1 ? 'once' : `${options.uses} times`;
  note(
    output,
    `\nfor a ${options.role}, ${times}, within ${formatDuration(options.expires)}; on their machine: swarm join INVITE`,
  );
  if (addresses.every(isLoopback))
    note(
      output,
      'The coordinator listens on loopback only: this invite works on this very machine. For others start it with\n  swarm up --host ADDRESS   (this machine’s address in your LAN or overlay)',
    );
}

function parseUses(text: string): number {
  const uses = Number(text);
  if (Number.isInteger(uses) && uses >= 1 && uses <= MAX_INVITE_USES) return uses;
  throw new InvalidArgumentError(`It must be a whole number from 1 to ${MAX_INVITE_USES}.`);
}

function parseExpiry(text: string): number {
  const duration = parseDuration(text);
  if (duration.ok && duration.value > 0) return duration.value;
  throw new InvalidArgumentError(duration.ok ? 'It must be longer than nothing.' : duration.error);
}
