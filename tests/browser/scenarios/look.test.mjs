// How the page looks and reads: pictures of it (pictures/), and what can be checked about them.

import assert from 'node:assert/strict';
import { Person } from '../lib/person.mjs';
import { until } from '../lib/poll.mjs';
import { picture, suite } from '../lib/suite.mjs';

const { scenario } = suite();
const C = 'chromium';
const F = 'firefox';
const DESK = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };

/** Nothing sticks out sideways, and every control has a name that a screen reader can say. */
async function sound(person) {
  let found;
  await until(
    'the page to fit its width, with a name on every control',
    async () => {
      found = await person.page.evaluate(faults);
      return found.length === 0;
    },
    { deadline_ms: 3_000, seen: () => found },
  );
}

function faults() {
  const tag = (it) => it.outerHTML.slice(0, 160);
  const visible = (selector) => [...document.querySelectorAll(selector)].filter((it) => it.checkVisibility());
  const named = (it) => it.getAttribute('aria-label') || it.textContent.trim() || it.labels?.[0]?.textContent.trim();
  const { scrollWidth, clientWidth } = document.documentElement;
  // A strip of tiles may be longer than the window when it can be scrolled.
  const scrolls = (it) => it && (/auto|scroll/.test(getComputedStyle(it).overflow) || scrolls(it.parentElement));
  return [
    ...(scrollWidth > clientWidth ? [`the page is ${scrollWidth} px wide in a window of ${clientWidth}`] : []),
    ...visible('button, input, select, a').filter((it) => !named(it)).map((it) => `no name: ${tag(it)}`),
    ...visible('button, input, select, [data-testid=tile]').filter((it) => {
      const { left, right, top, bottom } = it.getBoundingClientRect();
      const tile = it.dataset.testid === 'tile';
      const outside = left < -1 || right > innerWidth + 1 || (tile && (top < -1 || bottom > innerHeight + 1));
      return outside && !(tile && scrolls(it.parentElement));
    }).map((it) => `outside: ${tag(it)}`),
  ];
}

for (const kind of [C, F]) {
  for (const [view, name] of [[DESK, 'desk'], [PHONE, 'phone']]) {
    for (const scheme of kind === C ? ['light', 'dark'] : ['light']) {
      scenario(`the lobby: ${kind}, ${name}, ${scheme}`, async ({ browser, url, room }) => {
        const ada = await Person.arrive(await browser(kind), url, { room: room('lobby'), name: 'Ada Lovelace', ...view, scheme });
        await ada.preview();
        await sound(ada);
        await ada.page.screenshot(picture(`lobby-${kind}-${name}-${scheme}`));
      });
    }
  }
}

scenario('a room: alone, two, three, with a screen, at desk and phone width, light and dark', async ({ browser, url, room }) => {
  const name = room('look');
  const chromium = await browser(C);
  const ada = await Person.enter(chromium, url, { room: name, name: 'Ada Lovelace', ...DESK });
  const shoot = async (what) => {
    for (const [view, width, scheme] of [[DESK, 'desk', 'light'], [PHONE, 'phone', 'light'], [PHONE, 'phone', 'dark'], [DESK, 'desk', 'dark']]) {
      await ada.page.size(view.width, view.height);
      await ada.page.scheme(scheme);
      await sound(ada);
      await ada.page.screenshot(picture(`room-${what}-${width}-${scheme}`));
    }
  };
  await shoot('alone');
  const bob = await Person.enter(chromium, url, { room: name, name: 'Bob' });
  await ada.sees('Bob');
  await shoot('two');
  const eve = await Person.enter(await browser(F), url, { room: name, name: 'Eve with a rather long name <b>&amp;' });
  await ada.sees('Eve with a rather long name <b>&amp;');
  await shoot('three');
  await bob.press('camera');
  await ada.seesNoPictureOf('Bob');
  await shoot('three-one-camera-off');
  await bob.press('share');
  await until('the screen', async () => (await ada.tile('Bob', 'screen'))?.picture?.bright > 40, { seen: () => ada.seen() });
  await shoot('share');
  await eve.close();
});

scenario('the keyboard alone is enough to join, switch and leave', async ({ browser, url, room }) => {
  const ada = await Person.arrive(await browser(C), url, { room: room('keys'), name: 'Ada' });
  const focus = () => ada.page.evaluate(() => document.activeElement?.dataset.testid ?? document.activeElement?.tagName);
  const tabTo = async (wanted) => {
    for (let presses = 0; presses < 30; presses += 1) {
      if ((await focus()) === wanted) return;
      await ada.page.press('Tab');
    }
    assert.fail(`Tab never came to ${wanted}`);
  };
  await tabTo('join');
  await ada.page.press('Enter');
  await ada.state('connected');
  await tabTo('camera');
  await ada.page.press('Enter');
  await until('the camera to be off', () => ada.page.evaluate(() => probe.captured.every((it) => it.kind !== 'video' || it.readyState === 'ended')));
  await tabTo('leave');
  await ada.page.press('Enter');
  await ada.page.until('the lobby', () => document.querySelector('[data-testid=lobby]').checkVisibility());
});
