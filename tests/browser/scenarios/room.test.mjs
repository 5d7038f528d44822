// People in a room: they see and hear each other, come and go, and switch things on and off.

import assert from 'node:assert/strict';
import { Person, keepsUp } from '../lib/person.mjs';
import { calm, mostlyWithin, until } from '../lib/poll.mjs';
import { suite } from '../lib/suite.mjs';

const { scenario } = suite();
const C = 'chromium';
const F = 'firefox';

for (const [one, other] of [[C, C], [C, F], [F, F]]) {
  scenario(`two people see and hear each other: ${one} and ${other}`, async ({ browser, url, room, say }) => {
    const name = room('two');
    const ada = await Person.enter(await browser(one), url, { room: name, name: 'Ada' });
    const bob = await Person.enter(await browser(other), url, { room: name, name: 'Bob' });
    await Promise.all([ada.sees('Bob'), bob.sees('Ada'), ada.hears(), bob.hears()]);
    const there = await keepsUp(ada, bob);
    const back = await keepsUp(bob, ada);
    say(`frames sent and decoded: ${there.sent}/${there.seen} and ${back.sent}/${back.seen}`);
    const { state, remote } = await ada.stats();
    assert.equal(state, 'connected');
    assert.equal(remote.port, Number(new URL(url).port), 'media and signalling share one port');
  });
}

scenario('three people see and hear each other: chromium, chromium and firefox', async ({ browser, url, room, server }) => {
  const name = room('three');
  const people = [];
  for (const [kind, who] of [[C, 'Ada'], [C, 'Bob'], [F, 'Eve']]) {
    people.push(await Person.enter(await browser(kind), url, { room: name, name: who }));
  }
  for (const person of people) {
    const others = people.filter((it) => it !== person);
    await Promise.all([...others.map((other) => person.sees(other.name, { deadline_ms: 15_000 })), person.hears(2)]);
    await person.sawExactly(others.map((it) => it.name));
  }
  // Each of a browser's streams has its own RTCP, and none of it is taken for another's.
  const { body } = await server.get('/metrics');
  assert.doesNotMatch(body, /reason="rtcp_(replay|forged)"\} [1-9]/);
});

for (const kind of [C, F]) {
  scenario(`who comes late sees the first frames within a second: ${kind}`, async ({ browser, url, room, say }) => {
    const name = room('late');
    // At half the frames, so that the encoders of those who are there leave the machine room.
    const open = (which) => browser(which, which === C ? { fps: 10 } : undefined);
    const there = [];
    for (const who of ['Ada', 'Bob']) there.push(await Person.enter(await open(C), url, { room: name, name: who }));
    await Promise.all([there[0].sees('Bob'), there[1].sees('Ada')]);
    const all = await mostlyWithin(1_000, async () => {
      const late = await Person.arrive(await open(kind), url, { room: name, name: 'Late' });
      await late.preview();
      await calm();
      const alone = await late.page.evaluate(() => probe.callItself());
      await late.join();
      const times = await until('both first frames', async () => {
        const [from, shown] = await late.page.evaluate(() => [probe.pressed.join, probe.shown]);
        const both = ['Ada', 'Bob'].map((who) => shown.find((it) => it.name === who && it.at > from)?.at - from);
        return both.every(Number.isFinite) && both;
      });
      await Promise.all([late.sees('Ada'), late.sees('Bob')]);
      await late.close();
      // On a machine on which a page needs long for a call to itself, a room takes longer too.
      return [Math.max(...times), Math.max(1_000, 5 * alone)];
    });
    say(`from the press to both first frames shown: ${all.join(', ')} ms`);
  }, { timeout: 180_000 });
}

/** How long after `from` the last of the watchers lost the tile of `name`. */
async function gone(watchers, name, from) {
  const times = [];
  for (const watcher of watchers) {
    await watcher.sawExactly(watchers.filter((it) => it !== watcher).map((it) => it.name));
    const history = await watcher.page.evaluate(() => probe.history);
    times.push(history.findLast((it) => it.what === 'went' && it.name === name).at - from);
  }
  return Math.max(...times);
}

for (const kind of [C, F]) {
  scenario(`leaving takes the picture away everywhere within a second: ${kind}`, async ({ browser, url, room, say }) => {
    const name = room('leave');
    const stay = [];
    for (const [it, who] of [[C, 'Ada'], [F, 'Bob']]) {
      stay.push(await Person.enter(await browser(it), url, { room: name, name: who }));
    }
    const come = async () => {
      const leaver = await Person.enter(await browser(kind), url, { room: name, name: 'Gone' });
      await Promise.all(stay.map((person) => person.sees('Gone')));
      return leaver;
    };
    const button = await mostlyWithin(1_000, async () => {
      const leaver = await come();
      await leaver.press('leave');
      await leaver.page.until('the lobby again', () => document.querySelector('[data-testid=lobby]')?.checkVisibility());
      const time = await gone(stay, 'Gone', await leaver.page.evaluate(() => probe.pressed.leave));
      await leaver.close();
      return time;
    });
    const tab = await mostlyWithin(1_000, async () => {
      const leaver = await come();
      const from = performance.timeOrigin + performance.now();
      await leaver.close();
      return gone(stay, 'Gone', from);
    });
    say(`gone ${button.join(', ')} ms after the button was pressed, ${tab.join(', ')} ms after the tab was closed`);
  }, { timeout: 180_000 });
}

for (const kind of [C, F]) {
  scenario(`camera and microphone off stop capture, on bring it back: ${kind}`, async ({ browser, url, room }) => {
    const name = room('switch');
    const ada = await Person.enter(await browser(kind), url, { room: name, name: 'Ada' });
    const bob = await Person.enter(await browser(C), url, { room: name, name: 'Bob' });
    await Promise.all([bob.sees('Ada'), bob.hears()]);
    const live = (wanted) => ada.page.evaluate(
      (it) => probe.captured.filter((track) => track.kind === it && track.readyState === 'live').length, wanted);

    await ada.press('camera');
    await until('the camera to be let go', async () => (await live('video')) === 0);
    await bob.seesNoPictureOf('Ada');
    assert.ok(await bob.tile('Ada'), 'the tile stays, with something in the place of the picture');
    assert.equal(await live('audio'), 1, 'the microphone goes on');

    await ada.press('mic');
    await until('the microphone to be let go', async () => (await live('audio')) === 0);

    await ada.press('camera');
    await bob.sees('Ada');
    await ada.press('mic');
    await until('the microphone to be taken again', async () => (await live('audio')) === 1);
    await bob.hears();
  });
}

scenario('a shared screen is a tile of its own, and goes when sharing stops: chromium to both', async ({ browser, url, room }) => {
  const name = room('share');
  const ada = await Person.enter(await browser(C), url, { room: name, name: 'Ada' });
  const bob = await Person.enter(await browser(C), url, { room: name, name: 'Bob' });
  const eve = await Person.enter(await browser(F), url, { room: name, name: 'Eve' });
  await ada.press('share');
  for (const viewer of [bob, eve]) {
    await until(`${viewer.name} to see the screen`, async () => (await viewer.tile('Ada', 'screen'))?.picture?.bright > 40, {
      seen: () => viewer.seen(),
    });
    await viewer.sees('Ada');
  }
  await ada.press('share');
  for (const viewer of [bob, eve]) {
    await until(`${viewer.name} to have no screen`, async () => !(await viewer.tile('Ada', 'screen')), { seen: () => viewer.seen() });
    await viewer.sees('Ada');
  }
});

scenario('a screen published through the SDK: firefox to both', async ({ browser, url, room }) => {
  // Headless, Firefox has no screen to choose: a painted one goes the rest of the way.
  const name = room('share');
  const eve = await Person.enter(await browser(F), url, { room: name, name: 'Eve' });
  const ada = await Person.enter(await browser(C), url, { room: name, name: 'Ada' });
  await eve.page.evaluate(async () => {
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width: 640, height: 360 });
    const pen = canvas.getContext('2d');
    let turn = 0;
    setInterval(() => {
      pen.fillStyle = `hsl(${(turn += 11)} 90% 60%)`;
      pen.fillRect(0, 0, 640, 360);
    }, 50);
    const { room } = globalThis.trackyard;
    await room.publish(canvas.captureStream(20).getVideoTracks()[0], { source: 'screen' });
  });
  const picture = await ada.sees('Eve', { source: 'screen' });
  assert.equal(picture.width / picture.height, 640 / 360);
  await ada.sees('Eve');
  await eve.page.evaluate(() => globalThis.trackyard.room.unpublish('screen'));
  await until('the screen to be gone', async () => !(await ada.tile('Eve', 'screen')), { seen: () => ada.seen() });
  await ada.sees('Eve');
});

scenario('the same person in two tabs is there twice', async ({ browser, url, room }) => {
  const name = room('twice');
  const chromium = await browser(C);
  const first = await Person.enter(chromium, url, { room: name, name: 'Ada' });
  const second = await Person.enter(chromium, url, { room: name, name: 'Ada', beside: first.page });
  const bob = await Person.enter(await browser(F), url, { room: name, name: 'Bob' });
  await bob.sawExactly(['Ada', 'Ada']);
  await until('both pictures of Ada', async () => {
    const tiles = (await bob.tiles()).filter((tile) => tile.name === 'Ada');
    return new Set(tiles.map((tile) => tile.participant)).size === 2 && tiles.every((tile) => tile.picture?.bright > 40);
  }, { seen: () => bob.seen() });
  for (const ada of [first, second]) await Promise.all([ada.sees('Ada'), ada.sees('Bob')]);
  await second.close();
  await bob.sawExactly(['Ada']);
  await bob.sees('Ada');
});
