// The tests' own eyes and ears: that they say no when there is nothing to see or hear.

import assert from 'node:assert/strict';
import { Person } from '../lib/person.mjs';
import { until } from '../lib/poll.mjs';
import { suite } from '../lib/suite.mjs';

const { scenario } = suite();

for (const kind of ['chromium', 'firefox']) {
  scenario(`a black, a frozen, a hidden and a missing picture are not seen, a moving one is: ${kind}`, async ({ browser, url }) => {
    const page = await (await browser(kind)).open(`${url}/`);
    await page.evaluate(() => {
      const paint = {
        black: (pen, turn) => { pen.fillStyle = `rgb(${turn % 20} 0 0)`; },
        frozen: (pen) => { pen.fillStyle = 'teal'; },
        moving: (pen, turn) => { pen.fillStyle = `hsl(${turn * 11} 90% 60%)`; },
        hidden: (pen, turn) => { pen.fillStyle = `hsl(${turn * 11} 90% 60%)`; },
      };
      for (const [name, choose] of Object.entries(paint)) {
        const canvas = document.createElement('canvas');
        Object.assign(canvas, { width: 160, height: 90 });
        const pen = canvas.getContext('2d');
        let turn = 0;
        setInterval(() => {
          choose(pen, (turn += 1));
          pen.fillRect(0, 0, 160, 90);
        }, 50);
        const tile = document.createElement('article');
        Object.assign(tile.dataset, { testid: 'tile', name, source: 'camera', participant: name });
        const video = document.createElement('video');
        Object.assign(video, { autoplay: true, muted: true, srcObject: canvas.captureStream(20) });
        if (name === 'hidden') video.style.opacity = '0';
        tile.append(video);
        document.body.append(tile);
      }
    });
    const person = new Person(page, 'Oracle');
    await person.sees('moving');
    for (const name of ['black', 'frozen', 'hidden', 'missing']) {
      await assert.rejects(person.sees(name, { deadline_ms: 1_500 }), /waited 1500 ms/, name);
    }
    assert.ok((await person.tile('frozen')).picture.bright > 40, 'the frozen one is there, and bright');
  });
}

scenario('silence is not heard', async ({ browser, url, room }) => {
  const chromium = await browser('chromium');
  const name = room('silence');
  const ada = await Person.enter(chromium, url, { room: name, name: 'Ada' });
  const bob = await Person.enter(chromium, url, { room: name, name: 'Bob' });
  await bob.hears();
  await ada.press('mic');
  // What was on its way still sounds; then there is nothing.
  await until('silence', async () => bob.hears(1, { deadline_ms: 700 }).then(() => false, () => true), { deadline_ms: 15_000 });
  await ada.press('mic');
  await bob.hears();
});
