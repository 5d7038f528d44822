// The meeting page: a lobby and a call, made with nothing but the SDK beside it.

import { drawButtons } from './page/buttons.js';
import { Call } from './page/call.js';
import { copyLink, toggle, toggleShare } from './page/controls.js';
import { entering, room, setEntering, setRoom } from './page/current.js';
import { constraints, lobby } from './page/devices.js';
import { $ } from './page/dom.js';
import { joining, listDevices, look, pick, prefill } from './page/lobby.js';
import { remember } from './page/memory.js';
import { layout } from './page/tiles.js';
import { complain, toast } from './page/toasts.js';
import { Room } from './trackyard.js';

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
  setEntering(new Room({ room: wanted, name, ...(codec && { codec }) }));
  for (const source of Object.keys(lobby)) {
    const { track } = lobby[source];
    if (track) entering.publish(track, { source, recapture: constraints(source) }).catch(complain);
  }
  const call = new Call(entering);
  try {
    setRoom(await entering.join());
    window.trackyard = { room };
    call.open();
  } catch (error) {
    complain(error);
  } finally {
    setEntering(null);
    joining(false);
    drawButtons();
  }
}

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
