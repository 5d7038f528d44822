// The peer connection: one negotiation at a time, slots to receive in, and ICE brought back.

import { TrackyardError, lost } from './errors.js';
import { encodingsFor } from './layers.js';
import {
  codecFirst, prefer, receivable, sections, sendingMids, udpAddresses, withoutOrphans,
} from './sdp.js';

/** ICE comes back by itself from a short `disconnected`; sooner only costs negotiations. */
const DISCONNECTED_MS = 2_000;
/** One ICE restart may take so long; then the next, then a new peer connection. */
const RESTART_MS = 8_000;
const RESTARTS_BEFORE_REBUILD = 2;
/** From the first answer to a connection; then UDP is held to be blocked. */
const CONNECT_MS = 10_000;
const CONNECT_MAX_MS = 60_000;

/** Slots made beyond what is needed, so that the next to come costs no negotiation. */
const SPARE_SLOTS = 2;
/** The server takes descriptions of 60 KiB in messages of 64 KiB. */
const OFFER_BYTES_MAX = 58 * 1024;
const M_LINES_MAX = 120;
/** Bytes of one slot in an offer, until one was measured, and what is kept free of slots: camera,
 *  microphone, screen and its sound, the candidates, and the description's head. */
const SLOT_BYTES = { audio: 1_000, video: 3_000 };
const SENDING_BYTES = 14 * 1024;

/** Answers to an offer after which the same offer may be taken, and how often it is made again. */
const TRANSIENT = new Set(['internal', 'server_busy', 'rate_limited']);
const REFUSALS_MAX = 4;

/** What a reconnect waits at most, and an offer for each time it was refused. */
export const BACKOFF_MAX_MS = 4_000;

function deferred() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}

const pause = (ms) => new Promise((resolve) => {
  setTimeout(resolve, ms);
});

/** Negotiates, keeps slots, and brings ICE back. What it needs of the room is in `host`: `own`
 *  publications, the `table` of slots, `codec`, `limits`, `ready()`, `request()`, `send()`, `changed()`,
 *  `placed()`, `blocked()`, `rebuild()`, `complain()`. */
export class Peer {
  #host;
  #job = null;
  #current = null;
  #running = false;
  #closed = false;
  #answered = false;
  #wasUp = false;
  #timer = 0;
  #restarts = 0;
  #refusals = 0;
  #patienceMs;
  #early = [];
  #addresses = [];
  #bytes = { ...SLOT_BYTES };
  #slots = [];
  /** The server's peer, by the `o=` line of its answers. */
  #origin = null;

  constructor(host, iceServers, patienceMs = CONNECT_MS) {
    this.#host = host;
    this.#patienceMs = patienceMs;
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    this.pc.onicecandidate = ({ candidate }) => {
      if (candidate && !candidate.candidate) return;
      host.send({ type: 'candidate', candidate: candidate?.candidate ?? '', mid: candidate?.sdpMid ?? null });
    };
    this.pc.oniceconnectionstatechange = () => this.#watch();
    this.pc.onconnectionstatechange = () => this.#watch();
  }

  get up() {
    return this.pc.connectionState === 'connected';
  }

  /** Where the server is reached, as it said in answers and candidates. */
  get addresses() {
    return this.#addresses;
  }

  /** Ends it; returns the negotiations that are still owed to somebody. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.pc.onicecandidate = this.pc.oniceconnectionstatechange = this.pc.onconnectionstatechange = null;
    this.pc.close();
    return [this.#current, this.#job].filter(Boolean);
  }

  // -- sending

  /** Makes room for a publication, in the m-line that it had before if it had one. */
  attach(publication) {
    const { transceiver, mediaStreamTrack: track, kind } = publication;
    if (transceiver) {
      transceiver.direction = 'sendonly';
      return transceiver.sender.replaceTrack(track);
    }
    publication.transceiver = this.pc.addTransceiver(track ?? kind, {
      direction: 'sendonly',
      streams: [publication.stream],
      ...(kind === 'video' && {
        sendEncodings: encodingsFor(publication.source, track, this.#host.codec,
          this.#host.limits),
      }),
    });
    if (kind === 'video') {
      prefer(publication.transceiver, (codecs) => codecFirst(codecs, this.#host.codec));
    }
    return Promise.resolve();
  }

  // -- receiving

  /** Sees to at least so many slots of each kind; `false` when there is no room for them. */
  want(wanted) {
    let added = false;
    let enough = true;
    for (const kind of ['audio', 'video']) {
      const have = this.#slots.filter((slot) => slot.receiver.track.kind === kind).length;
      if (have >= wanted[kind]) continue;
      const missing = wanted[kind] + SPARE_SLOTS - have;
      const fitting = Math.min(missing, this.#fitting(kind));
      enough &&= fitting >= wanted[kind] - have;
      for (let i = 0; i < fitting; i += 1) {
        const slot = this.pc.addTransceiver(kind, { direction: 'recvonly' });
        prefer(slot, (codecs) => codecs.filter(receivable));
        this.#slots.push(slot);
        added = true;
      }
    }
    if (added) this.negotiate().catch(this.#host.complain);
    return enough;
  }

  /** How many more m-lines of a kind an offer may take. */
  #fitting(kind) {
    const bytes = this.#slots.reduce((sum, slot) => sum + this.#bytes[slot.receiver.track.kind],
      SENDING_BYTES);
    return Math.max(0, Math.min(M_LINES_MAX - this.pc.getTransceivers().length,
      Math.floor((OFFER_BYTES_MAX - bytes) / this.#bytes[kind])));
  }

  /** The slot in which a track sits. */
  slotOf(trackId) {
    if (!this.#answered) return undefined;
    return this.#slots.find((slot) => slot.mid !== null && this.#host.table.get(slot.mid) === trackId);
  }

  // -- negotiating

  /** Offers once more, after what is under way. Settles when what was asked for is negotiated. */
  negotiate() {
    this.#job ??= deferred();
    const { promise } = this.#job;
    this.pump();
    return promise;
  }

  async pump() {
    if (this.#running) return;
    this.#running = true;
    // What is asked for in one go becomes one offer.
    await null;
    while (this.#job && !this.#closed && this.#host.ready()) {
      const job = this.#job;
      this.#current = job;
      this.#job = null;
      try {
        await this.#round();
        this.#refusals = 0;
        job.resolve();
      } catch (error) {
        if (this.#closed) return;
        if (error.code === 'connection_lost') this.#redo(job);
        else if (TRANSIENT.has(error.code) && this.#refusals < REFUSALS_MAX) {
          this.#refusals += 1;
          this.#redo(job);
          await pause(BACKOFF_MAX_MS * this.#refusals);
        } else await this.#refuse(job, error);
      }
      this.#current = null;
    }
    this.#running = false;
  }

  async #round() {
    const { pc } = this;
    const host = this.#host;
    await pc.setLocalDescription();
    const sdp = withoutOrphans(pc.localDescription.sdp);
    this.#measure(sdp);
    const sending = sendingMids(sdp);
    const tracks = [];
    for (const publication of host.own.values()) {
      const { mid, source, muted } = publication;
      if (!sending.has(mid)) continue;
      tracks.push({ mid, source, muted });
      publication.said = muted;
    }
    const answer = await host.request({ type: 'offer', sdp, tracks });
    if (this.#closed) throw lost();
    if (this.#forgotten(answer.sdp)) {
      host.rebuild(CONNECT_MS);
      throw lost();
    }
    this.#addresses.push(...udpAddresses(answer.sdp));
    await pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
    if (this.#closed) throw lost();
    for (const { mid, track } of answer.tracks) {
      for (const publication of host.own.values()) {
        if (publication.mid === mid) publication.id = track;
      }
    }
    if (!this.#answered) {
      this.#answered = true;
      for (const early of this.#early.splice(0)) this.candidate(early);
      if (!this.up) this.#arm(this.#patienceMs);
    }
    host.placed();
  }

  /** Whether the server has lost the peer that it had for us and made another, which would wait for
   *  a DTLS handshake that this peer connection has behind it. */
  #forgotten(sdp) {
    const origin = sdp.match(/^o=\S+ \S+/m)?.[0] ?? null;
    const before = this.#origin;
    this.#origin = origin;
    return before !== null && origin !== before;
  }

  /** The connection broke on the way: the same again, with what was asked for since. */
  #redo(job) {
    const later = this.#job;
    this.#job = job;
    if (later) job.promise.then(later.resolve, later.reject);
  }

  async #refuse(job, error) {
    try {
      await this.pc.setLocalDescription({ type: 'rollback' });
    } catch {
      // Already stable.
    }
    job.reject(error instanceof TrackyardError ? error : new TrackyardError('negotiation_failed',
      `The connection could not be set up: ${error.message}`, error));
  }

  #measure(sdp) {
    for (const section of sections(sdp).filter((text) => text.includes('\na=recvonly'))) {
      // As JSON, where a line's end takes four characters, with the "m=" that was split off.
      this.#bytes[section.slice(0, 5)] = JSON.stringify(section).length + 4;
    }
  }

  async candidate({ candidate, mid }) {
    if (!this.#answered) {
      this.#early.push({ candidate, mid });
      return;
    }
    this.#addresses.push(...udpAddresses(candidate));
    try {
      await this.pc.addIceCandidate({ candidate, sdpMid: mid });
    } catch {
      // One of a generation that is over.
    }
  }

  // -- keeping ICE alive

  /** After the WebSocket came back, or the network changed: is anything to be done? */
  check() {
    this.pump();
    if (this.#answered && !this.up && !this.#timer) this.#recover();
  }

  async restart() {
    this.pc.restartIce();
    await this.negotiate();
    if (!this.up && !this.#closed) this.#arm(RESTART_MS);
  }

  #watch() {
    this.#host.changed();
    const { connectionState, iceConnectionState } = this.pc;
    if (this.up) {
      this.#wasUp = true;
      this.#restarts = 0;
      this.#arm(0);
    } else if (iceConnectionState === 'failed' || connectionState === 'failed') {
      if (!this.#timer) this.#recover();
    } else if (iceConnectionState === 'disconnected' && !this.#timer) {
      this.#arm(DISCONNECTED_MS);
    }
  }

  #arm(ms) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!ms) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      if (!this.up) this.#recover();
    }, ms);
  }

  #recover() {
    const host = this.#host;
    // Without signalling nothing can be negotiated; `check` comes back here.
    if (this.#closed || !host.ready()) return;
    if (this.#current) {
      this.#arm(DISCONNECTED_MS);
      return;
    }
    if (!this.#wasUp) host.blocked(this);
    if (this.#restarts >= RESTARTS_BEFORE_REBUILD) {
      host.rebuild(this.#wasUp ? CONNECT_MS : Math.min(2 * this.#patienceMs, CONNECT_MAX_MS));
      return;
    }
    this.#restarts += 1;
    this.restart().catch(host.complain);
  }
}
