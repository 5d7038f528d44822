// The buttons of devices and of the screen: what they show.

import { room } from './current.js';
import { isOn } from './devices.js';
import { $ } from './dom.js';
import { complain } from './toasts.js';

export const SOURCES = { camera: $('camera'), microphone: $('mic') };

function icon(button, name) {
  button.querySelector('use').setAttribute('href', `#i-${name}`);
}

function label(button, text) {
  button.setAttribute('aria-label', text);
  button.title = text;
}

export function drawButtons() {
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

export const pending = new Map();

/** Shows that something is under way behind a button. */
export async function busy(button, work) {
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
