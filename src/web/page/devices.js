// Camera and microphone: which are wanted, which are on, and with which device.

import { room } from './current.js';
import { memory } from './memory.js';

/** The lobby's own tracks; in a call the room has them. */
export const lobby = {
  camera: { track: null, wanted: memory.camera ?? true, error: null },
  microphone: { track: null, wanted: memory.microphone ?? true, error: null },
};

export function constraints(source) {
  const device = memory[`${source}Device`];
  return device ? { deviceId: { exact: device } } : {};
}

export function isOn(source) {
  if (!room) return lobby[source].track !== null;
  const publication = room.publication(source);
  return Boolean(publication && !publication.muted);
}
