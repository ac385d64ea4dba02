// Owns a real Chromium for tests of the dashboard: the system's own, started without a word to anybody outside, with
// everything that a page complains of kept.

import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';

/** Where Debian, Ubuntu and others put it. */
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const QUIET = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
/** For whoever wants to look at what the tests saw. */
const SCREENSHOTS = join(import.meta.dirname, '..', '..', '.cache', 'screenshots');

/** The browser to run, or undefined where there is none: its tests are then counted as skipped. */
export const CHROMIUM = [process.env['SWARM_CHROMIUM'] ?? '', ...PLACES].find(
  (path) => path !== '' && existsSync(path),
);

export class TestBrowser implements AsyncDisposable {
  readonly #browser: Browser;
  readonly page: Page;
  /** Errors of scripts, and what the console called an error; failed requests are not among them. */
  readonly complaints: string[] = [];

  private constructor(browser: Browser, page: Page) {
    this.#browser = browser;
    this.page = page;
    page.on('pageerror', (error) => this.complaints.push(error.message));
    page.on('console', (message) => {
      const text = message.text();
      if (message.type() === 'error' && !text.startsWith('Failed to load resource')) this.complaints.push(text);
    });
  }

  static async start(): Promise<TestBrowser> {
    const options = { executablePath: CHROMIUM ?? '', args: [...QUIET, '--no-sandbox', '--disable-gpu'] };
    const browser = await chromium.launch(options);
    const page = await browser.newPage({ viewport: { width: 1_200, height: 900 }, locale: 'en-GB' });
    return new TestBrowser(browser, page);
  }

  /** Keeps a picture of the whole page and says where. */
  async picture(name: string): Promise<void> {
    mkdirSync(SCREENSHOTS, { recursive: true });
    const path = join(SCREENSHOTS, `${name}.png`);
    await this.page.screenshot({ path, fullPage: true });
    console.log(`screenshot: .cache/screenshots/${name}.png`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}
