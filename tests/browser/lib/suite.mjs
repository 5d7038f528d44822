// What each file of scenarios stands on: one server, browsers when they are first asked for, and
// the pages, logs and a screenshot of each when a scenario fails.

import { mkdirSync } from 'node:fs';
import { after, afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as browsers from './browsers.mjs';
import * as servers from './server.mjs';

const PICTURES = fileURLToPath(new URL('../pictures/', import.meta.url));
mkdirSync(PICTURES, { recursive: true });

export const picture = (name) => `${PICTURES}${name}.png`;

/** Options go to the server. Gives `scenario(name, run)`; `run` gets what it may use. */
export function suite(options = {}) {
  const open = new Map();
  let server;
  let room = 0;

  const context = {
    /** A browser of that kind, the same for all scenarios of the file that ask alike. */
    async browser(kind, more) {
      const key = JSON.stringify([kind, more]);
      if (!open.has(key)) open.set(key, browsers.launch(kind, more));
      return open.get(key);
    },
    /** A room name that no other scenario has. */
    room: (name) => `${name}-${(room += 1)}`,
  };

  after(async () => {
    await browsers.closeAll();
    await servers.stopAll();
  });

  afterEach(async () => {
    for (const browser of await Promise.all(open.values())) {
      await Promise.all([...browser.pages].map((page) => page.close().catch(() => {})));
    }
  });

  function scenario(name, run, { timeout = 90_000 } = {}) {
    test(`${name} [workers ${servers.WORKERS}]`, { timeout }, async (t) => {
      server ??= await servers.start(options);
      const mark = server.mark();
      try {
        await run({ ...context, server, url: server.url, say: (text) => t.diagnostic(text) });
      } catch (error) {
        await remember(name, open, server.since(mark));
        throw error;
      }
    });
  }
  return { scenario };
}

async function remember(name, open, log) {
  const file = name.replaceAll(/[^a-z0-9]+/gi, '-');
  let number = 0;
  for (const browser of await Promise.all(open.values())) {
    for (const page of browser.pages) {
      number += 1;
      await page.screenshot(picture(`failed-${file}-${number}`)).catch(() => {});
      console.error(`--- page ${number} (${page.kind})\n${page.console.slice(-30).join('\n')}`);
    }
  }
  console.error(`--- server\n${log.slice(-80).join('\n')}`);
}
