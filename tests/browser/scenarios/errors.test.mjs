// What goes wrong is said, in words that help.

import assert from 'node:assert/strict';
import { Person } from '../lib/person.mjs';
import { until } from '../lib/poll.mjs';
import * as servers from '../lib/server.mjs';
import { suite } from '../lib/suite.mjs';

const { scenario } = suite();
const C = 'chromium';
const F = 'firefox';

for (const kind of [C, F]) {
  scenario(`a camera that is denied is said, and one can join all the same: ${kind}`, async ({ browser, url, room, say }) => {
    const name = room('denied');
    const bob = await Person.enter(await browser(C), url, { room: name, name: 'Bob' });
    const ada = await Person.arrive(await browser(kind, { deny: true }), url, { room: name, name: 'Ada' });
    const text = await ada.page.until('a message about the camera', () => {
      const shown = document.body.innerText.match(/[^\n]*(camera|microphone)[^\n]*(blocked|denied|allow)[^\n]*/i);
      return shown?.[0];
    });
    say(text);
    await ada.join();
    await ada.sees('Bob');
    await ada.hears();
    await bob.sawExactly(['Ada']);
    await bob.seesNoPictureOf('Ada');
  });
}

for (const kind of [C, F]) {
  scenario(`UDP that does not get through is said: ${kind}`, async ({ browser, room, say }) => {
    // The address that it announces is loopback too, but nobody listens there.
    const server = await servers.start({ args: ['--announce', '127.0.0.9'] });
    try {
      const ada = await Person.arrive(await browser(kind), server.url, { room: room('blocked'), name: 'Ada' });
      await ada.press('join');
      const text = await ada.told(/UDP/, { deadline_ms: 25_000 });
      say(text);
      assert.match(text, new RegExp(String(server.port)), 'it names the port to open');
    } finally {
      await server.kill();
    }
  });
}

scenario('a server that cannot be reached is said, and joining works once it is back', async ({ browser, room, say }) => {
  const server = await servers.start();
  try {
    const ada = await Person.arrive(await browser(C), server.url, { room: room('away'), name: 'Ada' });
    await server.crash();
    await ada.press('join');
    say(await ada.told(/reached|server/i, { deadline_ms: 25_000 }));
    await server.again();
    const state = () => ada.page.evaluate(() => document.querySelector('[data-testid=state]')?.dataset.state);
    if (await ada.page.evaluate(() => document.querySelector('[data-testid=lobby]')?.checkVisibility())) await ada.press('join');
    await until('to be connected after all', async () => (await state()) === 'connected', { deadline_ms: 20_000, seen: () => ada.seen() });
  } finally {
    await server.kill();
  }
});

scenario('a codec that one cannot take is said on its tile, and the rest goes on', async ({ browser, url, room, say }) => {
  const name = room('codec');
  const chromium = await browser(C);
  const limited = await Person.arrive(chromium, url, { room: name, name: 'Old' });
  await limited.page.evaluate(() => {
    // A receiver without AV1, as older ones are: neither listed nor offered.
    const original = RTCRtpReceiver.getCapabilities.bind(RTCRtpReceiver);
    RTCRtpReceiver.getCapabilities = (kind) => {
      const all = original(kind);
      return all && { ...all, codecs: all.codecs.filter((codec) => codec.mimeType !== 'video/AV1') };
    };
  });
  await limited.join();
  const page = await chromium.open(`${url}/`);
  await page.evaluate((how) => probe.publish(how), { url: `${url}/whip/${name}/studio`, codec: 'AV1' });
  const able = await Person.enter(chromium, url, { room: name, name: 'New' });
  await Promise.all([able.sees('studio'), limited.sees('New')]);
  await until('the tile to say why there is no picture', async () => {
    const tile = await limited.tile('studio');
    return tile && !tile.picture && /AV1|codec/i.test(tile.text);
  }, { seen: () => limited.seen() });
  say((await limited.tile('studio')).text);
  await limited.hears();
});
