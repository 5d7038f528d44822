// What a call must survive: a WebSocket that is cut, an ICE restart, a reload, a server that dies.

import assert from 'node:assert/strict';
import { Person } from '../lib/person.mjs';
import { mostlyWithin, throughout, until } from '../lib/poll.mjs';
import { proxy } from '../lib/proxy.mjs';
import { suite } from '../lib/suite.mjs';

const { scenario } = suite();
const C = 'chromium';
const F = 'firefox';

/** A room of Ada (by way of `through`, in `kind`) and Bob, who see each other. */
async function pair({ browser, url, room }, kind, { through = url } = {}) {
  const name = room('loss');
  const ada = await Person.enter(await browser(kind), through, { room: name, name: 'Ada' });
  const bob = await Person.enter(await browser(C), url, { room: name, name: 'Bob' });
  await Promise.all([ada.sees('Bob'), bob.sees('Ada')]);
  return { ada, bob, name };
}

for (const kind of [C, F]) {
  scenario(`a WebSocket that is cut is resumed while media goes on: ${kind}`, async (it) => {
    const way = await proxy(it.server.port);
    try {
      const { ada, bob } = await pair(it, kind, { through: way.url });
      const participant = await ada.participant();
      const tracks = (await bob.tiles()).map((tile) => tile.participant).sort();
      const accepted = way.accepted;

      way.refuse(true);
      assert.ok(way.cut() > 0, 'there was a connection to cut');
      await ada.state('reconnecting');
      // Media does not go through the proxy: thirty frames each way while it refuses.
      const before = [await ada.frames(), await bob.frames()];
      await throughout('Ada stays in the room', () => bob.others(), (names) => names.includes('Ada'), { for_ms: 1_500 });
      await ada.moreFrames(10);
      await bob.moreFrames(10);
      assert.equal(way.accepted, accepted, 'nothing came through while the proxy refused');
      way.refuse(false);
      await ada.state('connected');

      assert.ok(way.accepted > accepted, 'it came back through the proxy');
      assert.equal(await ada.participant(), participant, 'the same participant');
      assert.deepEqual((await bob.tiles()).map((tile) => tile.participant).sort(), tracks);
      const history = await bob.page.evaluate(() => probe.history.filter((it) => it.what === 'went'));
      assert.deepEqual(history, [], 'Bob lost no tile on the way');
      assert.ok((await ada.frames()) > before[0] && (await bob.frames()) > before[1]);
      await Promise.all([ada.sees('Bob'), bob.sees('Ada')]);

      // What happens now is signalled over the new connection.
      const eve = await Person.enter(await it.browser(C), it.url, { room: await roomOf(ada), name: 'Eve' });
      await ada.sees('Eve');
      await eve.sees('Ada');
    } finally {
      await way.close();
    }
  });
}

const roomOf = (person) => person.page.evaluate(() => globalThis.trackyard.room.name ?? globalThis.trackyard.room.room);

scenario('a WebSocket that stays away past the grace time: others are told, and coming back is a new join', async (it) => {
  const way = await proxy(it.server.port);
  try {
    const { ada, bob } = await pair(it, C, { through: way.url });
    way.refuse(true);
    way.cut();
    await bob.sawExactly([], { deadline_ms: 15_000 });
    way.refuse(false);
    await ada.state('connected', { deadline_ms: 20_000 });
    await bob.sawExactly(['Ada'], { deadline_ms: 10_000 });
    await Promise.all([ada.sees('Bob'), bob.sees('Ada')]);
    await ada.sawExactly(['Bob']);
  } finally {
    await way.close();
  }
});

for (const kind of [C, F]) {
  scenario(`ICE restarts and the pictures go on: ${kind}`, async (it) => {
    const { ada, bob } = await pair(it, kind);
    const credentials = () => ada.page.evaluate(() => {
      const { pc } = globalThis.trackyard.room;
      const ufrag = (description) => description.sdp.match(/a=ice-ufrag:(\S+)/)[1];
      return [ufrag(pc.localDescription), ufrag(pc.remoteDescription)];
    });
    const before = await credentials();
    const frames = [await ada.frames(), await bob.frames()];
    await ada.page.evaluate(() => globalThis.trackyard.room.restartIce());
    await until('new credentials on both sides', async () => (await credentials()).every((it, i) => it !== before[i]));
    await ada.state('connected');
    await Promise.all([ada.moreFrames(30), bob.moreFrames(30)]);
    assert.ok((await ada.frames()) > frames[0] && (await bob.frames()) > frames[1]);
    await Promise.all([ada.sees('Bob'), bob.sees('Ada')]);
    const history = await bob.page.evaluate(() => probe.history.filter((it) => it.what === 'went'));
    assert.deepEqual(history, [], 'Bob lost no tile on the way');
  });
}

for (const kind of [C, F]) {
  scenario(`a reloaded tab leaves no ghost: ${kind}`, async (it) => {
    const { ada, bob, name } = await pair(it, kind);
    const times = await mostlyWithin(1_500, async () => {
      const old = await ada.participant();
      const from = performance.timeOrigin + performance.now();
      const reload = ada.page.reload();
      await until('the old one to be gone', async () => !(await bob.tiles()).some((tile) => tile.participant === old), {
        deadline_ms: 3_000,
        every_ms: 20,
        seen: () => bob.seen(),
      });
      await reload;
      const history = await bob.page.evaluate(() => probe.history);
      const went = history.findLast((it) => it.what === 'went' && it.name === 'Ada');
      await ada.lobby(name);
      await ada.join();
      await bob.sees('Ada');
      await bob.sawExactly(['Ada']);
      await ada.sees('Bob');
      return went.at - from;
    });
    it.say(`gone ${times.join(', ')} ms after the reload began`);
  }, { timeout: 180_000 });
}

scenario('the server is killed and comes back: everybody is there again by themselves', async (it) => {
  const { ada, bob } = await pair(it, F);
  await it.server.crash();
  await Promise.all([ada.state('reconnecting', { deadline_ms: 15_000 }), bob.state('reconnecting', { deadline_ms: 15_000 })]);
  const from = performance.now();
  await it.server.again();
  await Promise.all([ada.state('connected', { deadline_ms: 15_000 }), bob.state('connected', { deadline_ms: 15_000 })]);
  await Promise.all([ada.sees('Bob'), bob.sees('Ada')]);
  it.say(`back ${Math.round(performance.now() - from)} ms after the server was started again`);
  await ada.sawExactly(['Bob']);
  await bob.sawExactly(['Ada']);
});

scenario('the server ends in order: everybody is told, and it is gone in time', async (it) => {
  const { ada } = await pair(it, C);
  const how = await it.server.stop();
  assert.equal(how, 'exit code 0');
  await until('the page to say that it is no longer connected', async () => (await ada.seen()).state !== 'connected');
});
