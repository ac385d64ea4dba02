// The dashboard in a real Chromium, before a real swarm of processes: it opens by its link while a job runs, figures move,
// a peer's death is shown, what waits is explained, a restart of the coordinator blanks nothing. Pictures are kept.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, TestBrowser } from '../helpers/browser.ts';
import { until } from '../helpers/condition.ts';
import { Mesh } from '../helpers/mesh.ts';
import { killAll } from '../helpers/swarm-process.ts';

const ITEMS = 20_000;

/** Two stages that follow each other, and one that no machine has the memory for. */
const STAGES = [
  { name: 'prepare', workload: 'noop', params: { msPerItem: 10 }, items: { kind: 'count', count: ITEMS } },
  { name: 'score', workload: 'noop', items: { kind: 'count', count: 200 }, needs: ['prepare'] },
  { name: 'huge', workload: 'noop', items: { kind: 'count', count: 1 }, memoryBytes: 900_000_000_000 },
  { name: 'report', workload: 'noop', items: { kind: 'count', count: 1 }, needs: ['score', 'huge'] },
].map((stage) => ({ ...stage, yieldsParts: false }));

describe.skipIf(CHROMIUM === undefined)('the dashboard', () => {
  let dir: string;
  let mesh: Mesh;
  let browser: TestBrowser;
  let link: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'swarm-dashboard-'));
    await mkdir(join(dir, 'mesh'));
    mesh = await Mesh.start(join(dir, 'mesh'), { slowdown: { attic: '1', den: '2', kitchen: '5' } });
    const file = join(dir, 'job.json');
    await writeFile(file, JSON.stringify({ name: 'spring cleaning', stages: STAGES }));
    expect((await mesh.admin('submit', file)).code).toBe(0);
    const shown = await mesh.admin('dashboard', '--json');
    link = (JSON.parse(shown.stdout) as { url: string }).url;
    browser = await TestBrowser.start();
  });
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
    await mesh?.[Symbol.asyncDispose]();
    await killAll();
    await rm(dir, { recursive: true, force: true });
  });

  const doneItems = async () =>
    Number(await browser.page.getByRole('progressbar').first().getAttribute('aria-valuenow'));

  test('the link signs in, and is gone from the address', async () => {
    const { page } = browser;
    await page.goto(link);
    await page.getByRole('heading', { name: 'Jobs' }).waitFor();
    expect(new URL(page.url()).hash).toBe('#/');
    for (const name of ['attic', 'den', 'kitchen']) await page.getByRole('heading', { name }).waitFor();
  });

  test('figures move while the job runs', async () => {
    const { page } = browser;
    const before = await doneItems();
    await until('more items to be done', async () => (await doneItems()) > before + 50);
    await page.getByRole('img', { name: /^\d+ attempts on [1-3] peers/ }).waitFor();
    await browser.picture('overview-light');
  });

  test('a job shows its stages, what they need, and when it will end', async () => {
    const { page } = browser;
    await page
      .getByRole('link', { name: /spring cleaning/ })
      .first()
      .click();
    await page.getByRole('button', { name: /^score, waiting/ }).waitFor();
    expect(await page.locator('.dag .edge').count()).toBe(3);
    await page
      .getByText(/^ends in /)
      .or(page.getByText('its end is not known yet'))
      .first()
      .waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'Who works on it' }).waitFor();
  });

  test('what waits is explained, by keyboard alone', async () => {
    const { page } = browser;
    const why = page.getByRole('listitem').filter({ hasText: 'huge' }).getByRole('button', { name: 'Why?' });
    await why.focus();
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog');
    await dialog
      .getByText(/838\.2 GiB.* needed/)
      .first()
      .waitFor();
    await browser.picture('explain');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    // Focus and stroke in one: the browser gives the focus back to where the first dialog was opened from.
    await page.getByRole('button', { name: /^score, waiting/ }).press('Enter');
    await dialog.getByText(/prepare/).waitFor();
    await dialog.getByRole('button', { name: 'Close' }).click();
  });

  test('a peer that is killed is shown as away, and what it held as lost', async () => {
    const { page } = browser;
    await mesh.killAgent('den');
    await page
      .getByText(/was lost with its peer/)
      .first()
      .waitFor();
    await browser.picture('job-light');
    await page.getByRole('link', { name: 'Overview' }).click();
    await page.getByRole('listitem').filter({ hasText: 'den' }).getByText(/^away/).waitFor();
  });

  test('a restart of the coordinator blanks nothing, and afterwards it goes on', async () => {
    const { page } = browser;
    // Written down in the page itself, by the frame: a test that looks now and then would miss a flicker.
    await page.evaluate(`
      globalThis.missing = 0;
      const look = () => {
        if (document.querySelectorAll('.card').length < 3 || !document.querySelector('canvas')) globalThis.missing++;
        requestAnimationFrame(look);
      };
      look();
    `);
    await mesh.killCoordinator();
    await page.getByText(/^no word for/).waitFor();
    await mesh.restartCoordinator();
    const before = await doneItems();
    await page.getByText('live', { exact: true }).waitFor();
    await until('more items to be done', async () => (await doneItems()) > before);
    expect(await page.evaluate('globalThis.missing')).toBe(0);
  });

  test('on a phone, in the dark, everything has room', async () => {
    const { page } = browser;
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.setViewportSize({ width: 390, height: 844 });
    for (const [name, hash] of [
      ['overview-phone-dark', '#/'],
      ['job-phone-dark', ''],
      ['ledger-phone-dark', '#/ledger'],
    ] as const) {
      if (name === 'job-phone-dark')
        await page
          .getByRole('link', { name: /spring cleaning/ })
          .first()
          .click();
      else await page.goto(`${new URL(page.url()).origin}/${hash}`);
      await page.getByRole('heading', { level: 2 }).first().waitFor();
      const wider = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
      expect([name, wider]).toEqual([name, 0]);
      await browser.picture(name);
    }
    await page.getByRole('cell', { name: 'admin' }).first().waitFor();
  });

  test('a link that was used says so', async () => {
    const { page } = browser;
    await page.evaluate('sessionStorage.clear()');
    await page.goto('about:blank');
    await page.goto(link);
    await page.getByText(/this sign-in link was used before/).waitFor();
  });

  test('no script failed, and the content policy had nothing to refuse', () => {
    expect(browser.complaints).toEqual([]);
  });
});
