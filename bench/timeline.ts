// Owns `npm run bench:timeline`: whether the dashboard's timeline stays smooth with 10,000 attempts on it. A real
// Chromium before a real swarm that is at work; frames are counted there, and on an empty page in the same browser.

import { existsSync } from 'node:fs';
import { chromium, type Page } from 'playwright-core';
import { startDispatchSwarm } from './dispatch-swarm.ts';
import { median, printReport } from './report.ts';

const GOALS = { medianOverEmpty: 1.5, worstShareOver50Ms: 0.05 };
const [ATTEMPTS, SECONDS, ROUNDS] = [10_000, 4, 3];
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'];

/** Times between frames, ms. */
function countFrames(page: Page): Promise<number[]> {
  return page.evaluate(`new Promise((resolve) => {
    const gaps = [];
    let last = performance.now();
    const end = last + ${SECONDS * 1_000};
    const next = (now) => {
      gaps.push(now - last);
      last = now;
      if (now < end) requestAnimationFrame(next);
      else resolve(gaps.slice(1));
    };
    requestAnimationFrame(next);
  })`);
}

async function main(): Promise<void> {
  if (CHROMIUM === undefined) throw new Error('there is no Chromium: install it with the package manager');
  await using swarm = await startDispatchSwarm({ agents: 2, backlog: 64 });
  await swarm.runItems('fill', ATTEMPTS + 500);
  const { code } = await swarm.client.call('link', {});
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGS });
  try {
    const empty = await browser.newPage();
    const page = await browser.newPage({ viewport: { width: 1_400, height: 900 } });
    await page.goto(`${swarm.client.session.options.url}/#${code}`);
    await page.getByRole('button', { name: 'all' }).click();
    await page.getByRole('img', { name: /^10000 attempts/ }).waitFor();
    const stage = { name: 'map', workload: 'noop', taskItems: 1, yieldsParts: false, params: { msPerItem: 20 } };
    const running = swarm.runJob('at work', [{ ...stage, items: { kind: 'count', count: 4_000 } }]);
    const [bare, full]: [number[], number[]] = [[], []];
    for (let round = 0; round < ROUNDS; round++) {
      await empty.bringToFront();
      bare.push(...(await countFrames(empty)));
      await page.bringToFront();
      full.push(...(await countFrames(page)));
    }
    await running;
    const medianOverEmpty = median(full) / median(bare);
    const shareOver50Ms = full.filter((gap) => gap > 50).length / full.length;
    printReport(
      'timeline',
      [
        ['attempts on the page', String(ATTEMPTS), ''],
        ['median time between frames, ms', median(full).toFixed(1), ''],
        ['the same on an empty page, ms', median(bare).toFixed(1), ''],
        ['the one over the other', medianOverEmpty.toFixed(2), `<= ${GOALS.medianOverEmpty}`],
        ['share of frames later than 50 ms', shareOver50Ms.toFixed(3), `<= ${GOALS.worstShareOver50Ms}`],
      ],
      { medianMs: median(full), emptyMs: median(bare), medianOverEmpty, shareOver50Ms },
      { ...GOALS },
      medianOverEmpty <= GOALS.medianOverEmpty && shareOver50Ms <= GOALS.worstShareOver50Ms,
    );
  } finally {
    await browser.close();
  }
}

await main();
