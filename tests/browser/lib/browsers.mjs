// One way to drive both browsers: Chromium over its DevTools protocol, Firefox over WebDriver BiDi.
// Both are the system's packages, headless, with fake devices and a fresh profile each launch.

import { chromium } from 'playwright-core';
import puppeteer from 'puppeteer-core';
import { existsSync, readFileSync } from 'node:fs';
import * as firefoxH264 from './firefox_h264.mjs';
import { until } from './poll.mjs';

const PATHS = {
  chromium: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
  firefox: process.env.FIREFOX_BIN ?? ['/usr/bin/firefox-esr', '/usr/bin/firefox'].find(existsSync),
};

const CHROMIUM_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--allow-loopback-in-peer-connection',
  '--autoplay-policy=no-user-gesture-required',
  '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
  '--mute-audio',
];
// Playwright gives its own list too, and Chromium obeys only the last: so all in one.
const CHROMIUM_DISABLED = ['WebRtcHideLocalIpsWithMdns', 'Translate', 'MediaRouter', 'OptimizationHints'];

const FIREFOX_PREFS = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.peerconnection.ice.loopback': true,
  // Without a permission to capture, Firefox offers only the default route's address, and never
  // pairs that with a loopback address; fake devices alone are no permission.
  'permissions.default.camera': 1,
  'permissions.default.microphone': 1,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
  'dom.min_background_timeout_value': 4,
  'dom.timeout.enable_budget_timer_throttling': false,
  // Nothing but the test's own server is to be asked for anything.
  'app.normandy.enabled': false,
  'browser.safebrowsing.downloads.remote.enabled': false,
  'media.gmp-manager.updateEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,',
};

const IN_PAGE = readFileSync(new URL('./inpage.js', import.meta.url), 'utf8');

const launched = new Set();

/**
 * Starts a browser. `kind`: 'chromium' or 'firefox'. Options: `fps` of the fake camera (Chromium),
 * `deny` the camera (in Chromium the microphone too), `h264` (Firefox: able to send and receive it; Chromium always
 * is), `flags` (Chromium) and `prefs` (Firefox) on top.
 */
export async function launch(kind, options = {}) {
  const browser = kind === 'firefox' ? await launchFirefox(options) : await launchChromium(options);
  launched.add(browser);
  return browser;
}

/** Ends every browser that this process started and that is still there. */
export async function closeAll() {
  await Promise.all([...launched].map((browser) => browser.close()));
}

async function launchChromium({ fps = 20, deny = false, flags = [] }) {
  const native = await chromium.launch({
    executablePath: PATHS.chromium,
    headless: true,
    ignoreDefaultArgs: ['--disable-features'],
    args: [
      ...CHROMIUM_FLAGS,
      `--disable-features=${CHROMIUM_DISABLED.join(',')}`,
      `--use-fake-device-for-media-stream=fps=${fps}`,
      `--use-fake-ui-for-media-stream${deny ? '=deny' : ''}`,
      ...flags,
    ],
  });
  return new Browser('chromium', native, {
    store: ({ width, height, scheme }) =>
      native.newContext({ ignoreHTTPSErrors: true, viewport: { width, height }, colorScheme: scheme }),
    page: async (store) => {
      const page = await store.newPage();
      await page.addInitScript(IN_PAGE);
      return page;
    },
  });
}

async function launchFirefox({ deny = false, h264 = false, prefs = {} }) {
  const native = await puppeteer.launch({
    browser: 'firefox',
    executablePath: PATHS.firefox,
    headless: true,
    acceptInsecureCerts: true,
    env: { ...process.env, ...(h264 ? firefoxH264.environment() : {}) },
    extraPrefsFirefox: {
      ...FIREFOX_PREFS,
      ...(deny
        ? {
            // Without any permission Firefox uses the default route alone, never loopback, where
            // the tests' servers are: so here the microphone is allowed, and only the camera not.
            'media.navigator.permission.disabled': false,
            'permissions.default.camera': 2,
            'permissions.default.microphone': 1,
          }
        : {}),
      ...(h264 ? firefoxH264.PREFS : {}),
      ...prefs,
    },
  });
  return new Browser('firefox', native, {
    // A user context is a cookie jar and a storage of its own.
    store: () => native.createBrowserContext(),
    page: async (store, { width, height }) => {
      // A window, not a tab: the tabs behind the first one are hidden and paint nothing.
      const page = await store.newPage({ type: 'window' });
      await page.setViewport({ width, height });
      await page.evaluateOnNewDocument(IN_PAGE);
      return page;
    },
  });
}

class Browser {
  #native;
  #make;
  constructor(kind, native, make) {
    this.kind = kind;
    this.#native = native;
    this.#make = make;
    this.pages = new Set();
  }

  get version() {
    return this.#native.version();
  }

  /** A page at `url`, in storage of its own, or in that of the page it is opened `beside`. */
  async open(url, { width = 800, height = 600, scheme = 'light', beside } = {}) {
    const view = { width, height, scheme };
    const store = beside?.store ?? (await this.#make.store(view));
    const native = await this.#make.page(store, view);
    const page = new Page(this.kind, native, store, async () => {
      this.pages.delete(page);
      await native.close();
      if (![...this.pages].some((other) => other.store === store)) await store.close();
    });
    this.pages.add(page);
    if (url) await page.goto(url);
    return page;
  }

  async close() {
    if (!launched.delete(this)) return;
    const child = this.#native.process?.();
    await this.#native.close().catch(() => {});
    if (child && child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  }
}

/** A page, the same over both browsers. */
class Page {
  constructor(kind, native, store, close) {
    this.kind = kind;
    this.native = native;
    this.store = store;
    this.console = [];
    this.#close = close;
    const keep = (line) => {
      this.console.push(line);
      if (this.console.length > 200) this.console.shift();
    };
    native.on('console', (message) => keep(`${message.type()}: ${message.text()}`));
    native.on('pageerror', (error) => keep(`uncaught: ${error?.stack ?? error}`));
  }
  #close;

  async goto(url) {
    await this.native.goto(url, { waitUntil: 'load', timeout: 20_000 });
  }

  async reload() {
    await this.native.reload({ waitUntil: 'load', timeout: 20_000 });
  }

  /** Runs `fn(arg)` in the page and gives what it gives (plain JSON values). */
  async evaluate(fn, arg) {
    return this.native.evaluate(fn, arg);
  }

  /** Waits until `fn(arg)` in the page gives something truthy. */
  async until(what, fn, arg, options = {}) {
    return until(`${what} (${this.kind})`, () => this.evaluate(fn, arg), {
      ...options,
      seen: options.seen ?? (async () => this.console.slice(-5)),
    });
  }

  /** A real click: scrolls there, moves the mouse, presses. */
  async click(selector) {
    await this.native.click(selector);
  }

  /** Empties a field and types into it. */
  async fill(selector, text) {
    if (this.kind === 'chromium') return this.native.fill(selector, text);
    await this.native.click(selector, { count: 3 });
    await this.native.keyboard.press('Backspace');
    await this.native.type(selector, text);
  }

  async press(key) {
    await this.native.keyboard.press(key);
  }

  async size(width, height) {
    await (this.kind === 'chromium'
      ? this.native.setViewportSize({ width, height })
      : this.native.setViewport({ width, height }));
  }

  /** As if the person preferred 'light' or 'dark' (Chromium). */
  async scheme(colorScheme) {
    await this.native.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
  }

  async screenshot(path) {
    await this.native.screenshot({ path });
  }

  /** Closes the tab, as a person does. */
  close() {
    return this.#close();
  }
}
