// The signalling connection: one WebSocket with requests, answers and a heartbeat.

import { TrackyardError, lost, unreachable } from './errors.js';

/** The server takes a connection for lost after 3.5 s of silence. */
export const PING_EVERY_MS = 1_500;
const BEAT_MS = 500;
/** How long a ping may go unanswered. With the interval and the server's time to keep the session,
 *  a lost connection is noticed while there is a session to take up. */
const PONG_MAX_MS = 2_500;
/** How long a ping sent because the network changed may take. */
const PROBE_MS = 2_500;
const OPEN_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;

export class Signal {
  #ws;
  #next = 1;
  #waiting = new Map();
  #heard = performance.now();
  #beat = 0;
  #down = false;
  onmessage = () => {};
  ondown = () => {};

  static open(url, timeoutMs = OPEN_TIMEOUT_MS) {
    return new Promise((resolve, reject) => {
      const ws = new WebSocket(url);
      const fail = () => {
        clearTimeout(timer);
        ws.onopen = ws.onclose = ws.onerror = null;
        ws.close();
        reject(unreachable());
      };
      const timer = setTimeout(fail, timeoutMs);
      ws.onerror = fail;
      ws.onclose = fail;
      ws.onopen = () => {
        clearTimeout(timer);
        resolve(new Signal(ws));
      };
    });
  }

  constructor(ws) {
    this.#ws = ws;
    ws.onmessage = ({ data }) => this.#receive(data);
    ws.onclose = () => this.fall();
    ws.onerror = () => this.fall();
    // By the first ping that was not answered, not by what was heard last: the beats of a page in
    // the background may come a minute apart.
    let pinged = this.#heard;
    this.#beat = setInterval(() => {
      const now = performance.now();
      const answered = this.#heard >= pinged;
      if (!answered && now - pinged > PONG_MAX_MS) {
        this.fall();
      } else if (answered && now - pinged >= PING_EVERY_MS) {
        pinged = now;
        this.send({ type: 'ping', id: this.#next++ });
      }
    }, BEAT_MS);
  }

  get ws() {
    return this.#ws;
  }

  send(message) {
    if (!this.#down && this.#ws.readyState === WebSocket.OPEN) this.#ws.send(JSON.stringify(message));
  }

  request(message) {
    return new Promise((resolve, reject) => {
      if (this.#down) {
        reject(lost());
        return;
      }
      const id = this.#next++;
      const timer = setTimeout(() => this.fall(), REQUEST_TIMEOUT_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      this.send({ ...message, id });
    });
  }

  /** Asks whether the other end is there and gives it little time to answer. */
  probe() {
    const asked = performance.now();
    this.send({ type: 'ping', id: this.#next++ });
    setTimeout(() => this.#heard < asked && this.fall(), PROBE_MS);
  }

  /** Ends cleanly. The server takes code 1000 for leaving. */
  close() {
    this.ondown = () => {};
    this.fall(1000);
  }

  /** The connection is gone, or not worth waiting for. With a code of our own: a close frame that
   *  arrives late, when the network comes back, must not end the session. */
  fall(code = 4000) {
    if (this.#down) return;
    this.#down = true;
    clearInterval(this.#beat);
    this.#ws.onmessage = this.#ws.onclose = this.#ws.onerror = null;
    this.#ws.close(code);
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(lost());
    }
    this.#waiting.clear();
    this.ondown();
  }

  #receive(data) {
    this.#heard = performance.now();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    const waiting = this.#waiting.get(message.id);
    if (!waiting) {
      if (message.type !== 'pong') this.onmessage(message);
      return;
    }
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.type === 'error') waiting.reject(new TrackyardError(message.code, message.message));
    else waiting.resolve(message);
  }
}

/** Where signalling is: on the server that this file came from, unless told. */
export function signalUrl(given) {
  const url = new URL(given ?? '/signal', given ? globalThis.location?.href : import.meta.url);
  url.protocol = url.protocol.replace(/^http/, 'ws');
  return url.href;
}
