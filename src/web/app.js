// The meeting page: a lobby and a call, made with nothing but the SDK beside it.

import { Room, capture } from './trackyard.js';

const $ = (id) => document.getElementById(id);
const SOURCES = { camera: $('camera'), microphone: $('mic') };
/** From which a room gets its name when nobody gave one. */
const WORDS = [
  ['amber', 'brave', 'calm', 'clever', 'copper', 'early', 'gentle', 'lucky', 'misty', 'quiet', 'sunny', 'swift'],
  ['bridge', 'canal', 'depot', 'harbour', 'junction', 'lantern', 'meadow', 'platform', 'river', 'signal', 'valley'],
];

/** What a person can do about it; an error without an entry speaks for itself. */
const ADVICE = {
  camera_denied: 'The camera is blocked. Allow it with the icon in the address bar, then turn it on again.',
  microphone_denied: 'The microphone is blocked. Allow it with the icon in the address bar, then turn it on again.',
  server_unreachable: 'The server cannot be reached. Check your network and try again.',
  room_full: 'This room is full. Try again when somebody has left, or choose another room.',
  server_busy: 'The server has no room for more people right now. Try again in a minute.',
  shutdown: 'The server is restarting. Try again in a moment.',
};
/** The same in a call, which brings itself back. */
const CALL_ADVICE = {
  shutdown: 'The server is restarting. You will be brought back as soon as it is there again.',
  internal: 'Something broke on the server. You are being brought back.',
};
const advice = ({ code, message }) => (room && CALL_ADVICE[code]) || ADVICE[code] || message;

let room = null;
/** The room that is being joined. */
let entering = null;

// ---- what is remembered between visits

const memory = (() => {
  try {
    return JSON.parse(localStorage.getItem('trackyard')) ?? {};
  } catch {
    return {};
  }
})();

function remember(values) {
  Object.assign(memory, values);
  try {
    localStorage.setItem('trackyard', JSON.stringify(memory));
  } catch {
    // A browser that keeps nothing only forgets.
  }
}

// ---- messages

const TOAST_MS = 4_000;
const ERROR_TOAST_MS = 15_000;

function toast(text, error = false) {
  for (const old of $('toasts').children) if (old.firstElementChild.textContent === text) old.remove();
  const item = $('toast').content.cloneNode(true).firstElementChild;
  item.firstElementChild.textContent = text;
  item.classList.toggle('error', error);
  if (error) item.setAttribute('role', 'alert');
  item.querySelector('button').onclick = () => item.remove();
  $('toasts').append(item);
  while ($('toasts').children.length > 3) $('toasts').firstElementChild.remove();
  setTimeout(() => item.remove(), error ? ERROR_TOAST_MS : TOAST_MS);
}

const complain = (error) => toast(advice(error), true);

function icon(button, name) {
  button.querySelector('use').setAttribute('href', `#i-${name}`);
}

function label(button, text) {
  button.setAttribute('aria-label', text);
  button.title = text;
}

// ---- camera and microphone

/** The lobby's own tracks; in a call the room has them. */
const lobby = {
  camera: { track: null, wanted: memory.camera ?? true, error: null },
  microphone: { track: null, wanted: memory.microphone ?? true, error: null },
};

function constraints(source) {
  const device = memory[`${source}Device`];
  return device ? { deviceId: { exact: device } } : {};
}

function isOn(source) {
  if (!room) return lobby[source].track !== null;
  const publication = room.publication(source);
  return Boolean(publication && !publication.muted);
}

function drawButtons() {
  for (const [source, button] of Object.entries(SOURCES)) {
    const on = isOn(source);
    button.dataset.on = on;
    icon(button, `${button.id}${on ? '' : '-off'}`);
    label(button, `Turn the ${source} ${on ? 'off' : 'on'} (${source === 'camera' ? 'V' : 'M'})`);
  }
  const sharing = Boolean(room?.publication('screen'));
  $('share').dataset.on = sharing;
  $('share').hidden = !navigator.mediaDevices?.getDisplayMedia;
  label($('share'), `${sharing ? 'Stop sharing' : 'Share'} your screen (S)`);
}

const pending = new Map();

/** Shows that something is under way behind a button. */
async function busy(button, work) {
  pending.set(button, (pending.get(button) ?? 0) + 1);
  button.setAttribute('aria-busy', 'true');
  try {
    await work();
  } catch (error) {
    complain(error);
  }
  pending.set(button, pending.get(button) - 1);
  if (!pending.get(button)) button.removeAttribute('aria-busy');
  drawButtons();
}

function toggle(source) {
  const button = SOURCES[source];
  if (button.disabled) return;
  // While a device is opening, what counts is what was asked for last.
  const on = !(pending.get(button) ? lobby[source].wanted : isOn(source));
  remember({ [source]: on });
  lobby[source].wanted = on;
  busy(button, async () => {
    if (!room) {
      await look(source);
      if (lobby[source].error) throw lobby[source].error;
      return;
    }
    const given = on && !room.publication(source) ? constraints(source) : undefined;
    await (source === 'camera' ? room.setCamera(on, given) : room.setMicrophone(on, given));
  });
}

let choosing = false;

async function toggleShare() {
  try {
    if (room.publication('screen')) await room.stopScreenShare();
    else if (!choosing) {
      choosing = true;
      const shared = room.startScreenShare();
      room.addEventListener('publication', () => { choosing = false; }, { once: true });
      await shared;
    }
  } catch (error) {
    if (error.code !== 'screen_denied') complain(error);
  }
  choosing = false;
}

// ---- lobby

/** Opens or closes the lobby's devices to match what is wanted. */
async function look(...sources) {
  const ask = {};
  for (const source of sources) {
    const state = lobby[source];
    state.error = null;
    if (state.wanted && !state.track) ask[source] = constraints(source);
    if (!state.wanted && state.track) {
      state.track.stop();
      state.track = null;
    }
  }
  drawPreview(Boolean(ask.camera));
  const got = await capture(ask);
  for (const source of Object.keys(ask)) {
    const state = lobby[source];
    state.error = got.errors[source] ?? null;
    const track = got[source];
    if (!track) continue;
    if (!state.wanted || state.track) {
      track.stop();
      continue;
    }
    // The question whether we may was answered only after joining.
    (room ?? entering)?.publish(track, { source, recapture: constraints(source) }).catch(complain);
    if (room) continue;
    state.track = track;
    track.addEventListener('ended', () => {
      if (state.track !== track) return;
      state.track = null;
      drawPreview();
      drawButtons();
    });
  }
  drawButtons();
  if (room) return;
  drawPreview();
  listDevices();
}

function drawPreview(opening = false) {
  const { camera, microphone } = lobby;
  const state = camera.track ? 'on' : opening ? 'opening' : camera.error ? 'problem' : 'off';
  $('preview-box').dataset.state = state;
  $('preview').srcObject = camera.track ? new MediaStream([camera.track]) : null;
  const problem = devicesProblem(camera.error, microphone.error);
  $('preview-note').textContent = state === 'opening' ? 'Opening the camera…'
    : problem ? `${problem} You can join without.` : 'The camera is off';
  meter.follow(microphone.track);
}

/** What is wrong with one or both devices, in as few words as will do. */
function devicesProblem(camera, microphone) {
  const codes = [camera?.code, microphone?.code].join();
  if (codes === 'camera_denied,microphone_denied') {
    return 'Camera and microphone are blocked. Allow them with the icon in the address bar, then turn them on again.';
  }
  if (codes === 'no_camera,no_microphone') return 'No camera and no microphone were found.';
  if (codes === 'insecure_context,insecure_context') return advice(camera);
  return [camera, microphone].filter(Boolean).map(advice).join(' ');
}

/** The microphone's level in the lobby. */
const meter = {
  context: null,
  stop: () => {},
  follow(track) {
    if (track === this.track) return;
    this.track = track;
    this.stop();
    $('meter').hidden = !track;
    if (!track) return;
    this.context ??= new AudioContext();
    const source = this.context.createMediaStreamSource(new MediaStream([track]));
    const analyser = new AnalyserNode(this.context, { fftSize: 512 });
    source.connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const timer = setInterval(() => {
      if (this.context.state === 'suspended') this.context.resume().catch(() => {});
      analyser.getFloatTimeDomainData(samples);
      const peak = samples.reduce((max, sample) => Math.max(max, Math.abs(sample)), 0);
      // Decibels from -50 to 0 as 0 to 1: how loud it sounds rather than how far it swings.
      const level = Math.min(1, Math.max(0, 1 + Math.log10(peak + 1e-6) * 0.4));
      $('meter').style.setProperty('--level', level.toFixed(2));
      $('meter').setAttribute('aria-valuenow', Math.round(level * 100));
    }, 80);
    this.stop = () => {
      clearInterval(timer);
      source.disconnect();
      this.stop = () => {};
    };
  },
};

async function listDevices() {
  const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => []) ?? [];
  const fill = (select, kind, chosen, name) => {
    const there = devices.filter((device) => device.kind === kind);
    // Until it is allowed, a browser only says that there is one.
    const found = there.filter(({ deviceId }) => deviceId);
    const options = found.map((device, i) => new Option(device.label || `${name} ${i + 1}`, device.deviceId));
    const none = there.length ? 'Not allowed yet' : `No ${name.toLowerCase()} found`;
    select.replaceChildren(...(options.length ? options : [new Option(none, '')]));
    select.disabled = options.length === 0;
    if (found.some(({ deviceId }) => deviceId === chosen)) select.value = chosen;
    return options.length > 0;
  };
  const inUse = (source) => lobby[source].track?.getSettings().deviceId ?? memory[`${source}Device`];
  fill($('pick-camera'), 'videoinput', inUse('camera'), 'Camera');
  fill($('pick-microphone'), 'audioinput', inUse('microphone'), 'Microphone');
  const speakers = 'setSinkId' in HTMLMediaElement.prototype
    && fill($('pick-speaker'), 'audiooutput', memory.speakerDevice, 'Speaker');
  $('speaker-row').hidden = !speakers;
}

function pick(source) {
  remember({ [`${source}Device`]: $(`pick-${source}`).value });
  if (source === 'speaker') return;
  lobby[source].track?.stop();
  lobby[source].track = null;
  look(source);
}

function prefill() {
  const query = new URLSearchParams(location.search);
  let fragment = '';
  try {
    fragment = decodeURIComponent(location.hash.slice(1));
  } catch {
    // Not a name of ours.
  }
  const word = (list) => list[Math.floor(Math.random() * list.length)];
  $('name').value = query.get('name') ?? memory.name ?? '';
  $('room').value = query.get('room') || fragment || memory.room
    || `${word(WORDS[0])}-${word(WORDS[1])}-${Math.floor(10 + Math.random() * 90)}`;
}

function joining(yes) {
  $('join').setAttribute('aria-busy', yes);
  $('join-text').textContent = yes ? 'Joining…' : 'Join';
  for (const control of [$('join'), $('name'), $('room'), ...Object.values(SOURCES)]) control.disabled = yes;
}

async function enter(event) {
  event.preventDefault();
  const name = $('name').value.trim();
  const wanted = $('room').value.trim();
  if (!name || !wanted) {
    toast(name ? 'Give the room a name.' : 'Tell the others your name.', true);
    $(name ? 'room' : 'name').focus();
    return;
  }
  remember({ name, room: wanted });
  joining(true);
  const codec = new URLSearchParams(location.search).get('codec') ?? undefined;
  entering = new Room({ room: wanted, name, ...(codec && { codec }) });
  for (const source of Object.keys(lobby)) {
    const { track } = lobby[source];
    if (track) entering.publish(track, { source, recapture: constraints(source) }).catch(complain);
  }
  const call = new Call(entering);
  try {
    room = await entering.join();
    window.trackyard = { room };
    call.open();
  } catch (error) {
    complain(error);
  } finally {
    entering = null;
    joining(false);
    drawButtons();
  }
}

// ---- tiles

const HUES = [165, 205, 250, 290, 335, 15, 40, 95];

const initials = (name) => name.split(/\s+/).filter(Boolean).map((word) => [...word][0])
  .filter((_, i, all) => i === 0 || i === all.length - 1).join('').toUpperCase();

const hue = (name) => HUES[[...name].reduce((sum, c) => sum + c.codePointAt(0), 0) % HUES.length];

class Tile {
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
  update({ on, media, error, microphone = null }) {
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

function layout() {
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

// ---- call

const STATES = {
  connecting: 'Connecting',
  connected: 'Connected',
  reconnecting: 'Reconnecting…',
  failed: 'Failed',
  closed: 'Closed',
};
const LEFT = { left: 'left', lost: 'lost the connection', closed: 'was disconnected' };

class Call {
  #room;
  #tiles = new Map();
  #sounds = new Map();
  #self = null;
  #open = false;
  #timer = 0;
  #wakeLock = null;

  constructor(joined) {
    this.#room = joined;
    const on = (type, act) => joined.addEventListener(type, ({ detail }) => act(detail));
    on('participantjoined', ({ participant }) => {
      this.#draw(participant);
      if (this.#open) toast(`${participant.name} joined`);
    });
    on('participantleft', ({ participant, reason }) => {
      for (const source of ['camera', 'screen']) this.#untile(participant.id, source);
      if (this.#open) toast(`${participant.name} ${LEFT[reason] ?? 'left'}`);
    });
    for (const type of ['trackadded', 'trackremoved', 'trackupdated', 'trackerror', 'track']) {
      on(type, ({ participant }) => this.#draw(participant));
    }
    on('publication', () => this.#drawSelf());
    on('state', ({ state, error }) => this.#drawState(state, error));
    on('error', ({ error }) => {
      if (this.#open && error.code !== 'udp_blocked') complain(error);
    });
    on('closed', ({ error }) => this.#close(error));
  }

  open() {
    this.#open = true;
    meter.follow(null);
    for (const state of Object.values(lobby)) state.track = null;
    $('preview').srcObject = null;
    $('room-name').textContent = this.#room.name;
    document.title = `${this.#room.name} · Trackyard`;
    const url = new URL(location.href);
    url.searchParams.set('room', this.#room.name);
    url.searchParams.delete('name');
    url.hash = '';
    history.replaceState(null, '', url);
    $('lobby').hidden = true;
    $('call').hidden = false;
    $('call-controls').append($('av'));
    $('room-name').focus({ preventScroll: true });
    this.#drawSelf();
    this.#drawState(this.#room.state, this.#room.failure);
    this.#timer = setInterval(() => this.#drawSpeakers(), 200);
    this.#stayAwake();
    document.addEventListener('visibilitychange', this.#stayAwake);
  }

  #close(error) {
    for (const tile of this.#tiles.values()) tile.remove();
    for (const sound of this.#sounds.values()) sound.remove();
    this.#tiles.clear();
    if (!this.#open) return;
    clearInterval(this.#timer);
    document.removeEventListener('visibilitychange', this.#stayAwake);
    this.#wakeLock?.release().catch(() => {});
    room = null;
    document.title = 'Trackyard';
    $('call').hidden = true;
    $('hear').hidden = true;
    $('lobby').hidden = false;
    $('lobby-controls').append($('av'));
    drawPreview();
    drawButtons();
    layout();
    if (error) complain(error);
    $('join').focus({ preventScroll: true });
    if (!leaving) look('camera', 'microphone');
  }

  #tile(participant, source, self = false) {
    const key = `${participant.id} ${source}`;
    let tile = this.#tiles.get(key);
    if (!tile) {
      tile = new Tile({ ...participant, source, self });
      this.#tiles.set(key, tile);
      $(source === 'screen' && !self ? 'stage' : 'tiles').append(tile.element);
      this.#count();
    }
    return tile;
  }

  #untile(id, source) {
    const key = `${id} ${source}`;
    if (!this.#tiles.has(key)) return;
    this.#tiles.get(key).remove();
    this.#tiles.delete(key);
    this.#count();
  }

  #count() {
    const others = this.#room.participants.size;
    $('count').textContent = others + 1;
    $('alone').hidden = others > 0;
    layout();
  }

  /** Draws all of a participant from what is known now. */
  #draw(participant) {
    const camera = participant.track('camera');
    const screen = participant.track('screen');
    const microphone = participant.track('microphone');
    if (this.#room.participants.get(participant.id) === participant) {
      this.#tile(participant, 'camera').update({
        on: Boolean(camera && !camera.muted),
        media: camera?.mediaStreamTrack ?? null,
        error: camera?.error,
        microphone: Boolean(microphone && !microphone.muted),
      });
      if (screen) {
        this.#tile(participant, 'screen').update({
          on: !screen.muted,
          media: screen.mediaStreamTrack,
          error: screen.error,
        });
      } else this.#untile(participant.id, 'screen');
    }
    for (const source of ['microphone', 'screen_audio']) {
      this.#listen(`${participant.id} ${source}`, participant.track(source)?.mediaStreamTrack ?? null);
    }
  }

  #drawSelf() {
    drawButtons();
    const { self } = this.#room;
    if (!this.#open || !self) return;
    if (this.#self && this.#self !== self.id) {
      for (const source of ['camera', 'screen']) this.#untile(this.#self, source);
    }
    this.#self = self.id;
    const camera = this.#room.publication('camera');
    const microphone = this.#room.publication('microphone');
    const screen = this.#room.publication('screen');
    this.#tile(self, 'camera', true).update({
      on: Boolean(camera && !camera.muted),
      media: camera?.mediaStreamTrack ?? null,
      microphone: Boolean(microphone && !microphone.muted),
    });
    if (screen) {
      this.#tile(self, 'screen', true).update({ on: !screen.muted, media: screen.mediaStreamTrack });
    } else this.#untile(self.id, 'screen');
  }

  #drawState(state, error) {
    $('state').dataset.state = state;
    $('state').querySelector('span').textContent = STATES[state];
    $('banner').hidden = state !== 'failed';
    $('banner').textContent = state === 'failed' && error ? advice(error) : '';
    this.#drawSelf();
    layout();
  }

  #drawSpeakers() {
    for (const participant of this.#room.participants.values()) {
      const microphone = participant.track('microphone');
      const speaking = microphone && !microphone.muted && this.#room.level(microphone.id) > 0.015;
      this.#tiles.get(`${participant.id} camera`)?.element.classList.toggle('speaking', Boolean(speaking));
    }
  }

  #listen(key, media) {
    let sound = this.#sounds.get(key);
    if (!media) {
      if (sound) {
        sound.srcObject = null;
        sound.remove();
        this.#sounds.delete(key);
      }
      return;
    }
    if (sound?.srcObject?.getTracks()[0] === media) return;
    if (!sound) {
      sound = new Audio();
      sound.autoplay = true;
      sound.dataset.participant = key;
      $('sound').append(sound);
      this.#sounds.set(key, sound);
      if (memory.speakerDevice) sound.setSinkId?.(memory.speakerDevice).catch(() => {});
    }
    sound.srcObject = new MediaStream([media]);
    sound.play().catch((error) => {
      if (error.name === 'NotAllowedError') $('hear').hidden = false;
    });
  }

  #stayAwake = async () => {
    if (document.visibilityState !== 'visible') return;
    this.#wakeLock = await navigator.wakeLock?.request('screen').catch(() => null);
  };
}

async function copyLink() {
  const url = `${location.origin}/?room=${encodeURIComponent(room.name)}`;
  try {
    await navigator.clipboard.writeText(url);
    toast('The link is copied. Send it to whoever should come.');
  } catch {
    toast(`Send this link to whoever should come: ${url}`);
  }
}

// ---- wiring

let leaving = false;
addEventListener('pagehide', () => { leaving = true; }, { capture: true });
addEventListener('pageshow', () => { leaving = false; });

$('entry').addEventListener('submit', enter);
$('mic').addEventListener('click', () => toggle('microphone'));
$('camera').addEventListener('click', () => toggle('camera'));
$('share').addEventListener('click', toggleShare);
$('copy').addEventListener('click', copyLink);
$('alone-copy').addEventListener('click', copyLink);
$('leave').addEventListener('click', () => room?.leave());
$('hear').addEventListener('click', () => {
  $('hear').hidden = true;
  for (const sound of $('sound').children) sound.play().catch(() => { $('hear').hidden = false; });
});
for (const source of ['camera', 'microphone', 'speaker']) {
  $(`pick-${source}`).addEventListener('change', () => pick(source));
}
navigator.mediaDevices?.addEventListener?.('devicechange', () => !room && listDevices());
new ResizeObserver(layout).observe($('grid'));

addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest?.('input, select, textarea, [contenteditable]')) return;
  const key = event.key.toLowerCase();
  if (key === 'm') toggle('microphone');
  else if (key === 'v') toggle('camera');
  else if (key === 's' && room && !$('share').hidden) toggleShare();
});

prefill();
drawButtons();
look('camera', 'microphone');
