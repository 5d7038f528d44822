// The call: a room drawn as tiles, sounds and words.

import { drawButtons } from './buttons.js';
import { leaving, setRoom } from './current.js';
import { lobby } from './devices.js';
import { $ } from './dom.js';
import { drawPreview, look, meter } from './lobby.js';
import { memory } from './memory.js';
import { Tile, layout } from './tiles.js';
import { advice, complain, toast } from './toasts.js';

const STATES = {
  connecting: 'Connecting',
  connected: 'Connected',
  reconnecting: 'Reconnecting…',
  failed: 'Failed',
  closed: 'Closed',
};
const LEFT = { left: 'left', lost: 'lost the connection', closed: 'was disconnected' };

export class Call {
  #room;
  #tiles = new Map();
  #sounds = new Map();
  #self = null;
  #open = false;
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
    for (const type of ['trackadded', 'trackremoved', 'trackupdated', 'trackerror', 'track', 'quality']) {
      on(type, ({ participant }) => this.#draw(participant));
    }
    on('speakers', () => this.#drawSpeakers());
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
    this.#stayAwake();
    document.addEventListener('visibilitychange', this.#stayAwake);
  }

  #close(error) {
    for (const tile of this.#tiles.values()) tile.remove();
    for (const sound of this.#sounds.values()) sound.remove();
    this.#tiles.clear();
    if (!this.#open) return;
    document.removeEventListener('visibilitychange', this.#stayAwake);
    this.#wakeLock?.release().catch(() => {});
    setRoom(null);
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
        quality: camera?.quality,
        microphone: Boolean(microphone && !microphone.muted),
      });
      if (screen) {
        this.#tile(participant, 'screen').update({
          on: !screen.muted,
          media: screen.mediaStreamTrack,
          error: screen.error,
          quality: screen.quality,
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
    const { self, participants, speakers, dominantSpeaker } = this.#room;
    for (const person of [self, ...participants.values()]) {
      const classes = this.#tiles.get(`${person.id} camera`)?.element.classList;
      classes?.toggle('speaking', speakers.includes(person));
      classes?.toggle('dominant', dominantSpeaker === person);
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
