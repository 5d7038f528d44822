// The room we are in or about to enter, and whether the page is going away.

export let room = null;
/** The room that is being joined. */
export let entering = null;
export let leaving = false;

export function setRoom(value) {
  room = value;
}

export function setEntering(value) {
  entering = value;
}

addEventListener('pagehide', () => { leaving = true; }, { capture: true });
addEventListener('pageshow', () => { leaving = false; });
