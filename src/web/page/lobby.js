// The lobby: how one will be seen and heard, and the form to enter by.

import { capture } from '../trackyard.js';
import { SOURCES, drawButtons } from './buttons.js';
import { entering, room } from './current.js';
import { constraints, lobby } from './devices.js';
import { $ } from './dom.js';
import { memory, remember } from './memory.js';
import { advice, complain } from './toasts.js';

/** From which a room gets its name when nobody gave one. */
const WORDS = [
  ['amber', 'brave', 'calm', 'clever', 'copper', 'early', 'gentle', 'lucky', 'misty', 'quiet', 'sunny', 'swift'],
  ['bridge', 'canal', 'depot', 'harbour', 'junction', 'lantern', 'meadow', 'platform', 'river', 'signal', 'valley'],
];

/** Opens or closes the lobby's devices to match what is wanted. */
export async function look(...sources) {
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

export function drawPreview(opening = false) {
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
export const meter = {
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

export async function listDevices() {
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

export function pick(source) {
  remember({ [`${source}Device`]: $(`pick-${source}`).value });
  if (source === 'speaker') return;
  lobby[source].track?.stop();
  lobby[source].track = null;
  look(source);
}

export function prefill() {
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

export function joining(yes) {
  $('join').setAttribute('aria-busy', yes);
  $('join-text').textContent = yes ? 'Joining…' : 'Join';
  for (const control of [$('join'), $('name'), $('room'), ...Object.values(SOURCES)]) control.disabled = yes;
}
