// The controls: turning devices and the screen on and off, and copying the link.

import { SOURCES, busy, pending } from './buttons.js';
import { room } from './current.js';
import { constraints, isOn, lobby } from './devices.js';
import { look } from './lobby.js';
import { remember } from './memory.js';
import { complain, toast } from './toasts.js';

export function toggle(source) {
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

export async function toggleShare() {
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

export async function copyLink() {
  const url = `${location.origin}/?room=${encodeURIComponent(room.name)}`;
  try {
    await navigator.clipboard.writeText(url);
    toast('The link is copied. Send it to whoever should come.');
  } catch {
    toast(`Send this link to whoever should come: ${url}`);
  }
}
