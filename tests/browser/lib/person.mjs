// A person in a room, at the page: what they press, what they see and hear.

import assert from 'node:assert/strict';
import { until } from './poll.mjs';

const by = (id) => `[data-testid=${id}]`;

export class Person {
  constructor(page, name) {
    this.page = page;
    this.name = name;
  }

  /** Opens the page and fills in the lobby. */
  static async arrive(browser, url, { room, name, ...view }) {
    const person = new Person(await browser.open(url, view), name);
    await person.lobby(room);
    return person;
  }

  /** Opens, fills in and joins; waits until media is connected. */
  static async enter(browser, url, options) {
    const person = await Person.arrive(browser, url, options);
    await person.join();
    return person;
  }

  async lobby(room) {
    await this.page.until('the lobby', () => document.querySelector('[data-testid=lobby]')?.checkVisibility());
    await this.page.fill(by('name'), this.name);
    await this.page.fill(by('room'), room);
  }

  /** Waits until the lobby shows one's own camera. */
  async preview() {
    await this.page.until("one's own picture in the lobby", () => {
      const inside = document.querySelector('[data-testid=preview]');
      const video = inside instanceof HTMLVideoElement ? inside : inside?.querySelector('video');
      return video && probe.picture(video).bright > 40;
    });
  }

  async join({ deadline_ms = 10_000 } = {}) {
    await this.page.click(by('join'));
    await this.state('connected', { deadline_ms });
  }

  async press(id) {
    await this.page.click(by(id));
  }

  /** Waits for the connection state that the page shows. */
  async state(wanted, { deadline_ms = 10_000 } = {}) {
    await this.page.until(
      `${this.name}'s page to show "${wanted}"`,
      (state) => document.querySelector('[data-testid=state]')?.dataset.state === state,
      wanted,
      { deadline_ms, every_ms: 25, seen: () => this.seen() },
    );
  }

  async seen() {
    return {
      state: await this.page.evaluate(() => document.querySelector('[data-testid=state]')?.dataset.state),
      toast: await this.toast(),
      tiles: await this.tiles(),
      console: this.page.console.slice(-8),
    };
  }

  tiles() {
    return this.page.evaluate(() => probe.tiles());
  }

  async tile(name, source = 'camera') {
    return (await this.tiles()).find((tile) => tile.name === name && tile.source === source && !tile.self);
  }

  /** All messages that stand on the page. */
  toast() {
    return this.page.evaluate(() => [...document.querySelectorAll('[data-testid=toast], [data-testid=banner]')]
      .filter((it) => it.checkVisibility()).map((it) => it.textContent.trim()).join(' | '));
  }

  /** Waits until somebody's tile shows a picture that is not black and that changes. */
  async sees(name, { source = 'camera', deadline_ms = 10_000 } = {}) {
    const prints = new Set();
    let last;
    await until(
      `${this.name} (${this.page.kind}) to see ${name}'s ${source}`,
      async () => {
        last = await this.tile(name, source);
        if (!last?.picture || last.picture.bright < 40) return false;
        prints.add(last.picture.print);
        return prints.size >= 3;
      },
      { deadline_ms, seen: () => this.seen() },
    );
    return last.picture;
  }

  /** Waits until somebody has no picture here (their tile is gone, or shows none). */
  async seesNoPictureOf(name, { source = 'camera', deadline_ms = 5_000 } = {}) {
    await until(
      `${this.name} to see no ${source} of ${name}`,
      async () => !(await this.tile(name, source))?.picture,
      { deadline_ms, seen: () => this.seen() },
    );
  }

  /** Waits until there are exactly these other people's tiles (names, sorted). */
  async sawExactly(names, { deadline_ms = 5_000 } = {}) {
    const wanted = JSON.stringify([...names].sort());
    await until(
      `${this.name} to have exactly the tiles ${wanted}`,
      async () => JSON.stringify((await this.others()).sort()) === wanted,
      { deadline_ms, every_ms: 25, seen: () => this.seen() },
    );
  }

  /** The names on the other people's tiles. */
  async others() {
    return (await this.tiles()).filter((tile) => !tile.self).map((tile) => tile.name);
  }

  stats() {
    return this.page.evaluate(async () => {
      const pc = globalThis.trackyard?.room?.pc;
      return pc ? probe.stats(pc) : null;
    });
  }

  /** Frames decoded so far, of all that is received. */
  async frames() {
    return sum((await this.stats())?.inbound, 'video', 'frames');
  }

  /** Waits until so many more frames were decoded. */
  async moreFrames(count, { deadline_ms = 10_000 } = {}) {
    const before = await this.frames();
    await until(`${count} more frames at ${this.name}`, async () => (await this.frames()) >= before + count, {
      deadline_ms,
      seen: () => this.stats(),
    });
  }

  /** Waits until sound comes: the energy played rises, for as many sources as given. */
  async hears(sources = 1, { deadline_ms = 10_000 } = {}) {
    const loud = async () =>
      new Map((await this.stats()).inbound.filter((s) => s.kind === 'audio').map((s) => [s.ssrc, s.energy ?? 0]));
    const before = await loud();
    await until(
      `${this.name} (${this.page.kind}) to hear ${sources}`,
      async () => [...(await loud())].filter(([ssrc, energy]) => energy > (before.get(ssrc) ?? 0)).length >= sources,
      { deadline_ms, seen: () => this.stats() },
    );
  }

  /** The id that the server gave. */
  participant() {
    return this.page.evaluate(() => document.querySelector('[data-testid=tile][data-self]:not([data-self=false])')?.dataset.participant);
  }

  /** Waits for a message to the person that says so. */
  async told(pattern, { deadline_ms = 15_000 } = {}) {
    let text;
    await until(`a message like ${pattern}`, async () => pattern.test((text = await this.toast())), {
      deadline_ms,
      seen: () => this.seen(),
    });
    return text;
  }

  close() {
    return this.page.close();
  }
}

export const sum = (list, kind, field) => (list ?? []).filter((s) => s.kind === kind).reduce((all, s) => all + s[field], 0);

/**
 * The viewer decodes what the publisher sends: over some `frames` of the publisher's, at least
 * `share` of them (the machine is small, so a rate of its own says nothing). Of several encodings
 * it gets one, and all of its frames once it is known that they fit.
 */
export async function keepsUp(publisher, viewer, { frames = 40, share = 0.8 } = {}) {
  const both = async () => {
    const sent = (await publisher.stats()).outbound.filter(({ kind }) => kind === 'video');
    return { sent: Math.max(...sent.map((encoding) => encoding.frames)), seen: await viewer.frames() };
  };
  let counted;
  await until(`${viewer.name} to decode what ${publisher.name} sends`, async () => {
    const first = await both();
    let last;
    await until(`${publisher.name} to send ${frames} frames`, async () => (last = await both()).sent >= first.sent + frames, {
      deadline_ms: 20_000,
    });
    counted = { sent: last.sent - first.sent, seen: last.seen - first.seen };
    return counted.seen >= counted.sent * share;
  }, { deadline_ms: 20_000, seen: () => counted });
  return counted;
}
