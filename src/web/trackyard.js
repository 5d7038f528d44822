// The browser SDK: a room's people and tracks as objects and events, the protocol hidden.
//
//   import { join } from '/trackyard.js';
//   const room = await join({ room: 'standup', name: 'Ada' });
//   room.addEventListener('track', ({ detail }) => show(detail.track, detail.mediaStreamTrack));
//   await room.setCamera(true);
//
// Everything exported is described in trackyard.d.ts. This is the one file that a page imports; it
// needs no build step, and its parts are beside it in sdk/.

import { Room } from './sdk/room.js';

export { capture } from './sdk/capture.js';
export { TrackyardError } from './sdk/errors.js';
export { Room };

export async function join(options) {
  const room = new Room(options);
  return room.join();
}
