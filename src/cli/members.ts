// Owns `swarm members` and `swarm weight`: who belongs to the swarm, and how much of it each gets.

import type { Command } from 'commander';
import { SwarmError } from '../protocol/errors.ts';
import { MAX_WEIGHT, MIN_WEIGHT } from '../protocol/http.ts';
import type { MemberView } from '../protocol/views.ts';
import { openConnection } from './connect.ts';
import { readGlobals } from './globals.ts';
import { findNear } from './near-match.ts';
import { print, toTable } from './output.ts';

export function registerMembers(program: Command): void {
  program
    .command('members')
    .description('list who belongs to the swarm')
    .addHelpText('after', '\nExample:\n  swarm members')
    .action(async (_: object, command: Command) => {
      const { home, output } = readGlobals(command);
      using connection = await openConnection(home);
      print(output, await connection.client.call('members', {}), ({ members }) => toMemberTable(members));
    });
  program
    .command('weight <member> <weight>')
    .description('give somebody more of the swarm than the others, or less, when there is not enough for all')
    .addHelpText('after', `\n1 is what everybody has at first; from ${MIN_WEIGHT} to ${MAX_WEIGHT}.`)
    .addHelpText('after', '\nExamples:\n  swarm weight anna 2\n  swarm weight anna 1')
    .action(async (wanted: string, text: string, _: object, command: Command) => {
      const { home, output } = readGlobals(command);
      const weight = parseWeight(text);
      using connection = await openConnection(home);
      const { client, trust } = connection;
      const { members } = await client.call('members', {});
      const { id, name } = wanted === 'admin' ? { id: trust.adminKey, name: 'admin' } : findMember(members, wanted);
      const done = await client.call('weigh', { member: id, body: { weight } });
      print(
        output,
        done,
        ({ changed }) => `the share of ${name} ${changed ? 'weighs' : 'weighed'} ${weight}${changed ? '' : ' already'}`,
      );
    });
}

function parseWeight(text: string): number {
  const weight = Number(text);
  if (text.trim() !== '' && weight >= MIN_WEIGHT && weight <= MAX_WEIGHT) return weight;
  throw new SwarmError('bad-input', `"${text}" is no weight from ${MIN_WEIGHT} to ${MAX_WEIGHT}`);
}

function toMemberTable(members: readonly MemberView[]): string {
  if (members.length === 0) return 'nobody has joined yet: swarm invite lets somebody in';
  return toTable(
    ['NAME', 'ROLE', 'WEIGHT', 'ID'],
    members.map(({ name, role, weight, id }) => [name, role, String(weight), id.slice(0, 'ed25519:'.length + 12)]),
  );
}

/** By name, or by the beginning of its id. */
function findMember(members: readonly MemberView[], wanted: string): MemberView {
  const found = members.filter(
    ({ id, name }) => name === wanted || id.startsWith(wanted) || id.startsWith(`ed25519:${wanted}`),
  );
  const [only, another] = found;
  if (only && !another) return only;
  if (only) throw new SwarmError('not-found', `several members are called "${wanted}": give the beginning of the id`);
  const near = findNear(
    wanted,
    members.map(({ name }) => name),
  );
  const hint = near === undefined ? 'swarm members lists them' : `did you mean "${near}"?`;
  throw new SwarmError('not-found', `there is no member "${wanted}": ${hint}`);
}
