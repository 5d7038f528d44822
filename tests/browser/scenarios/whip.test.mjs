// WHIP from one browser to WHEP in the other, without the SDK, for every codec.

import assert from 'node:assert/strict';
import { Person } from '../lib/person.mjs';
import { until } from '../lib/poll.mjs';
import { suite } from '../lib/suite.mjs';

const { scenario } = suite();
const C = 'chromium';
const F = 'firefox';

/** A page of the server's origin, to run a WHIP or WHEP client in. */
const client = async ({ browser, url }, kind) => (await browser(kind, kind === F ? { h264: true } : undefined)).open(`${url}/`);

const stats = (page, number) => page.evaluate((it) => probe.stats(probe.sessions[it].pc), number);

/** Waits until the viewer shows pictures that change, and hears. */
async function plays(page, number, { codec, deadline_ms = 15_000 } = {}) {
  const prints = new Set();
  let last;
  await until(
    `pictures at the viewer (${page.kind})`,
    async () => {
      last = await page.evaluate((it) => probe.picture(probe.sessions[it].video), number);
      if (last.bright < 40) return false;
      prints.add(last.print);
      return prints.size >= 3;
    },
    { deadline_ms, seen: () => stats(page, number) },
  );
  const inbound = async (kind) => (await stats(page, number)).inbound.find((it) => it.kind === kind);
  const energy = (await inbound('audio')).energy;
  await until('sound at the viewer', async () => (await inbound('audio')).energy > energy, { seen: () => stats(page, number) });
  const video = await inbound('video');
  if (codec) assert.equal(video.codec.toUpperCase(), codec);
  return video;
}

for (const [from, to] of [[C, F], [F, C]]) {
  for (const codec of ['VP8', 'VP9', 'H264', 'AV1']) {
    scenario(`WHIP from ${from} to WHEP in ${to}: ${codec}`, async (it) => {
      const room = it.room('whip');
      const [publisher, viewer] = [await client(it, from), await client(it, to)];
      const sends = await publisher.evaluate((how) => probe.publish(how), { url: `${it.url}/whip/${room}/studio`, codec });
      const shows = await viewer.evaluate((how) => probe.view(how), { url: `${it.url}/whep/${room}/studio` });
      const video = await plays(viewer, shows, { codec });
      assert.equal(video.width, 320);
      const frames = async () => [(await stats(publisher, sends)).outbound, (await stats(viewer, shows)).inbound]
        .map((list) => list.find((line) => line.kind === 'video').frames);
      const first = await frames();
      let last;
      await until('40 more frames to be sent', async () => (last = await frames())[0] >= first[0] + 40);
      const [sent, seen] = last.map((count, i) => count - first[i]);
      assert.ok(seen >= sent * 0.8, `decoded ${seen} of ${sent}`);
      assert.deepEqual(
        [await viewer.evaluate((n) => probe.end(n), shows), await publisher.evaluate((n) => probe.end(n), sends)],
        [200, 200],
      );
      await until('the room to be gone', async () => !(await it.server.get('/api/rooms')).body.includes(room));
    });
  }
}

for (const [from, to] of [[C, F], [F, C]]) {
  scenario(`a viewer that comes first plays when the publisher comes: ${from} to ${to}`, async (it) => {
    const room = it.room('early');
    const [publisher, viewer] = [await client(it, from), await client(it, to)];
    const shows = await viewer.evaluate((how) => probe.view(how), { url: `${it.url}/whep/${room}` });
    await until('the viewer to be connected', async () => (await stats(viewer, shows)).state === 'connected');
    for (let round = 0; round < 2; round += 1) {
      const sends = await publisher.evaluate((how) => probe.publish(how), { url: `${it.url}/whip/${room}` });
      await plays(viewer, shows);
      assert.equal(await publisher.evaluate((n) => probe.end(n), sends), 200);
    }
  });
}

scenario('a WHIP publisher is a tile in the page, and a page is seen over WHEP', async (it) => {
  const room = it.room('mixed');
  const ada = await Person.enter(await it.browser(C), it.url, { room, name: 'Ada' });
  const publisher = await client(it, F);
  const sends = await publisher.evaluate((how) => probe.publish(how), { url: `${it.url}/whip/${room}/studio`, codec: 'VP8' });
  await ada.sees('studio');
  await ada.hears();
  const shows = await publisher.evaluate((how) => probe.view(how), { url: `${it.url}/whep/${room}/Ada` });
  await plays(publisher, shows);
  assert.equal(await publisher.evaluate((n) => probe.end(n), sends), 200);
  await ada.sawExactly([]);
});

for (const kind of [C, F]) {
  scenario(`WHIP and WHEP trickle and restart ICE by PATCH: ${kind}`, async (it) => {
    const room = it.room('patch');
    const [publisher, viewer] = [await client(it, kind), await client(it, kind)];
    const sends = await publisher.evaluate((how) => probe.publish(how), { url: `${it.url}/whip/${room}/studio` });
    const shows = await viewer.evaluate((how) => probe.view(how), { url: `${it.url}/whep/${room}/studio` });
    for (const [page, number] of [[publisher, sends], [viewer, shows]]) {
      assert.equal(await page.evaluate((n) => probe.trickle(n), number), 204);
    }
    await plays(viewer, shows);
    for (const [page, number] of [[publisher, sends], [viewer, shows]]) {
      const { ufrags, stale } = await page.evaluate((n) => probe.restart(n), number);
      assert.notEqual(ufrags[0], ufrags[1], 'new credentials');
      assert.equal(stale, 412, 'the old ETag is no longer good');
      await until('the new credentials in use', async () => {
        const { state, ice } = await stats(page, number);
        return state === 'connected' && /connected|completed/.test(ice);
      });
      const frames = async () => (await stats(viewer, shows)).inbound.find((line) => line.kind === 'video').frames;
      const before = await frames();
      await until('30 more frames', async () => (await frames()) >= before + 30, { seen: () => stats(viewer, shows) });
    }
  });
}

scenario('a second DELETE finds nothing', async (it) => {
  const page = await client(it, C);
  const number = await page.evaluate((how) => probe.publish(how), { url: `${it.url}/whip/${it.room('delete')}/studio` });
  assert.equal(await page.evaluate((n) => probe.end(n), number), 200);
  assert.equal(await page.evaluate(async (n) => (await fetch(probe.sessions[n].location, { method: 'DELETE' })).status, number), 404);
});
