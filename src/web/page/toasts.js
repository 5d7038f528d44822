// Toasts: short messages, and what a person can do about an error.

import { room } from './current.js';
import { $ } from './dom.js';

/** What a person can do about it; an error without an entry speaks for itself. */
const ADVICE = {
  camera_denied: 'The camera is blocked. Allow it with the icon in the address bar, then turn it on again.',
  microphone_denied: 'The microphone is blocked. Allow it with the icon in the address bar, then turn it on again.',
  server_unreachable: 'The server cannot be reached. Check your network and try again.',
  room_full: 'This room is full. Try again when somebody has left, or choose another room.',
  server_busy: 'The server has no room for more people right now. Try again in a minute.',
  rate_limited: 'Many people are coming in from your network right now. Try again in a few seconds.',
  shutdown: 'The server is restarting. Try again in a moment.',
};
/** The same in a call, which brings itself back. */
const CALL_ADVICE = {
  shutdown: 'The server is restarting. You will be brought back as soon as it is there again.',
  internal: 'Something broke on the server. You are being brought back.',
};
export const advice = ({ code, message }) => (room && CALL_ADVICE[code]) || ADVICE[code] || message;

const TOAST_MS = 4_000;
const ERROR_TOAST_MS = 15_000;

export function toast(text, error = false) {
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

export const complain = (error) => toast(advice(error), true);
