// Owns fetching the parts of an earlier stage for a merge: the list is asked for page by page, every receipt is checked
// and every part comes by its hash, so that a coordinator cannot pass one result off as another's.

import { join } from 'node:path';
import { SwarmClient } from '../client/client.ts';
import type { Range } from '../lib/range-set.ts';
import { SwarmError } from '../protocol/errors.ts';
import { MAX_PAGE } from '../protocol/http.ts';
import { webCryptoSignatures } from '../protocol/keys.ts';
import { verifyReceipt } from '../protocol/receipt.ts';
import type { PartView } from '../protocol/views.ts';
import { downloadArtifact } from '../objects/transfer-download.ts';
import type { HttpAccess } from './http-access.ts';
import type { CheckedJob } from './jobs.ts';
import type { RunInputs } from './runners/run-task.ts';

/** More would be a million items in tasks of one. */
const MAX_PARTS = 1_000_000;
const DOWNLOADS_AT_ONCE = 4;

export type PartsOrder = {
  readonly access: HttpAccess;
  readonly job: CheckedJob;
  /** The stage whose parts are wanted. */
  readonly stage: string;
  /** Where they are put. */
  readonly folder: string;
  readonly signal: AbortSignal;
};

type KnownPart = Range & { readonly part: NonNullable<PartView['part']> };

/** All parts of a finished stage in item order. Throws SwarmError on anything that does not hold. */
export async function downloadParts(order: PartsOrder): Promise<RunInputs> {
  const parts = await listParts(order);
  const files = parts.map(({ start, end, part }, index) => ({
    start,
    end,
    part,
    file: join(order.folder, `part-${index}`),
  }));
  const left = files.values();
  const work = async () => {
    // Taken one by one by several workers from the same iterator.
    for (const { part, file } of left) await download(order, part, file);
  };
  await Promise.all(Array.from({ length: DOWNLOADS_AT_ONCE }, work));
  return { kind: 'parts', parts: files.map(({ start, end, file }) => ({ start, end, file })) };
}

async function download(
  { access, signal }: PartsOrder,
  { id, sizeBytes }: KnownPart['part'],
  toFile: string,
): Promise<void> {
  await downloadArtifact({ ...access.transfer, id, toFile, maxBytes: sizeBytes, signal });
}

async function listParts(order: PartsOrder): Promise<KnownPart[]> {
  const { access, job, stage, signal } = order;
  const client = new SwarmClient(access.session);
  const parts: KnownPart[] = [];
  for (let from: number | undefined = 0, next = 0; from !== undefined;) {
    const page: Awaited<ReturnType<typeof client.call<'parts'>>> = await client.call(
      'parts',
      { job: job.id, stage, from, limit: MAX_PAGE },
      { signal },
    );
    if (!page.finished) throw unfit(order, 'is not finished');
    for (const view of page.parts) {
      if (view.start < next || view.end <= view.start) throw unfit(order, `is not in order at item ${view.start}`);
      next = view.end;
      parts.push(await checkPart(order, view));
    }
    if (parts.length > MAX_PARTS) throw unfit(order, `has more than ${MAX_PARTS} parts`);
    if (page.next !== undefined && page.next <= from) throw unfit(order, 'never ends');
    from = page.next;
  }
  return parts;
}

async function checkPart(order: PartsOrder, { start, end, peer, part }: PartView): Promise<KnownPart> {
  if (!part) throw unfit(order, `has no part for items ${start} to ${end}`);
  const receipt = { specHash: order.job.specHash, stage: order.stage, start, end, part: part.id };
  if (await verifyReceipt(receipt, part.signature, peer, webCryptoSignatures)) return { start, end, part };
  throw new SwarmError(
    'bad-signature',
    `the part ${part.id} of items ${start} to ${end} is not signed by ${peer}, whose result it is said to be`,
  );
}

function unfit({ job, stage }: PartsOrder, what: string): SwarmError {
  return new SwarmError('bad-input', `stage ${job.id}/${stage}, whose parts are to be merged, ${what}`);
}
