// Tiles: the pictures of people and screens, and how they share the space.

import { $ } from './dom.js';

const HUES = [165, 205, 250, 290, 335, 15, 40, 95];

const initials = (name) => name.split(/\s+/).filter(Boolean).map((word) => [...word][0])
  .filter((_, i, all) => i === 0 || i === all.length - 1).join('').toUpperCase();

const hue = (name) => HUES[[...name].reduce((sum, c) => sum + c.codePointAt(0), 0) % HUES.length];

/** Why a picture is not as good as it might be, in words. */
const CAUSES = {
  publisher_uplink: 'Their connection is slow',
  publisher_cpu: 'Their device is busy',
  downlink: 'Your connection is slow',
  allocator_limit: 'Your connection is busy with other pictures',
  server_overload: 'The server is busy',
};

export class Tile {
  #shown = null;
  #frame = 0;

  constructor({ id, name, source, self = false }) {
    this.element = $('tile').content.cloneNode(true).firstElementChild;
    this.video = this.element.querySelector('video');
    Object.assign(this.element.dataset, { participant: id, source, name, state: 'off' });
    if (self) this.element.dataset.self = 'true';
    this.title = name + (self ? ' (you)' : '');
    if (source === 'screen') this.title = self ? 'Your screen' : `${name}: screen`;
    this.element.querySelector('.label span').textContent = this.title;
    this.element.querySelector('.avatar span').textContent = initials(name);
    this.element.style.setProperty('--hue', hue(name));
    this.element.querySelector('.expand').onclick = () => (document.fullscreenElement
      ? document.exitFullscreen() : this.element.requestFullscreen?.());
  }

  set participant(id) {
    this.element.dataset.participant = id;
  }

  /** What there is to see: a track of the SDK, a microphone that is on or not (`null`: no matter). */
  update({ on, media, error, quality = null, microphone = null }) {
    const showing = on && !error ? media : null;
    if (microphone !== null) this.element.dataset.mic = microphone ? 'on' : 'off';
    if (showing !== this.#shown) {
      this.#shown = showing;
      this.video.srcObject = showing ? new MediaStream([showing]) : null;
      this.#state(showing ? 'waiting' : null);
      if (showing) this.#expectFrame();
    }
    if (error) {
      this.element.querySelector('.problem').textContent = `No picture: ${error.message}`;
      this.#state('error');
    } else if (!on) this.#state('off');
    else if (!showing) this.#state('waiting');
    // Out of sight its picture stops too, and nobody need be told.
    const paused = Boolean(showing && quality?.paused && quality.cause !== 'paused_by_viewer');
    this.element.classList.toggle('paused', paused);
    const cause = on && !error ? CAUSES[quality?.cause] ?? '' : '';
    this.element.querySelector('.cause').textContent = cause && paused ? `Paused. ${cause}` : cause;
    const off = [this.element.dataset.mic === 'off' && 'microphone off', !on && 'camera off'].filter(Boolean);
    this.element.setAttribute('aria-label', [this.title, ...off].join(', '));
  }

  #state(state) {
    if (state) this.element.dataset.state = state;
  }

  #expectFrame() {
    this.#frame += 1;
    const frame = this.#frame;
    const shown = () => {
      if (frame === this.#frame && this.#shown) this.#state('playing');
    };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(shown);
    else this.video.addEventListener('loadeddata', shown, { once: true });
    this.video.play().catch(() => {});
  }

  remove() {
    this.video.srcObject = null;
    this.element.remove();
  }
}

/** Sizes the tiles of a container so that they fill it best. */
function fit(container, narrowest) {
  const count = container.children.length;
  const { clientWidth: width, clientHeight: height } = container;
  if (!count || !width) return;
  const gap = parseFloat(getComputedStyle(container).columnGap) || 0;
  let best = { area: 0, w: 0, h: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const cell = { w: (width - gap * (columns - 1)) / columns, h: (height - gap * (rows - 1)) / rows };
    const h = Math.min(cell.h, cell.w / narrowest);
    const w = Math.min(cell.w, (h * 16) / 9);
    if (w * h > best.area) best = { area: w * h, w, h };
  }
  const tooMany = best.w < 132;
  container.classList.toggle('full', tooMany);
  if (tooMany) best = { w: Math.min(width, 160), h: Math.min(width, 160) * 0.75 };
  container.style.setProperty('--w', `${Math.floor(best.w)}px`);
  container.style.setProperty('--h', `${Math.floor(best.h)}px`);
}

/** Beside a screen: one row or one column, scrolling. */
function line(container, across) {
  const { clientWidth: width, clientHeight: height } = container;
  const w = across ? Math.min((height * 4) / 3, width * 0.6) : width;
  container.style.setProperty('--w', `${Math.floor(w)}px`);
  container.style.setProperty('--h', `${Math.floor(across ? height : (w * 9) / 16)}px`);
  container.classList.remove('full');
}

export function layout() {
  const grid = $('grid');
  const { clientWidth: width, clientHeight: height } = grid;
  const staged = $('stage').children.length > 0;
  $('stage').hidden = !staged;
  grid.classList.toggle('staged', staged);
  grid.classList.toggle('tall', width < height);
  fit($('stage'), 0.1);
  if (staged) line($('tiles'), width < height);
  else fit($('tiles'), width < 600 ? 0.75 : 1.25);
}
