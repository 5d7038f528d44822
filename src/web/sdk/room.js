// The room: entering it, coming back to it, and what holds its parts together.

import { TrackyardError, lost, unreachable } from './errors.js';
import { BACKOFF_MAX_MS, Peer } from './peer.js';
import { Publications } from './publications.js';
import { Roster } from './roster.js';
import { PING_EVERY_MS, Signal, signalUrl } from './signal.js';
import { digest } from './stats.js';
import { Wants } from './wants.js';

const BACKOFF_FIRST_MS = 250;
/** While the server still keeps the session, attempts come close together: the one that meets the
 *  end of the outage decides whether the media go on. */
const BACKOFF_KEPT_MAX_MS = 600;
const OPEN_TIMEOUT_KEPT_MS = 2_500;

/** An audio level older than this is silence. */
const LEVEL_MAX_AGE_MS = 1_000;

/** Answers to `join` that trying again cannot change. */
const FINAL = new Set(['room_full', 'bad_name', 'bad_message', 'foreign_origin']);

export class Room extends EventTarget {
  #options;
  #url;
  #signal = null;
  #session = null;
  #peer = null;
  #iceServers = [];
  #own = new Map();
  #state = 'connecting';
  #failure = null;
  #wasConnected = false;
  #over = false;
  #delayMs = BACKOFF_FIRST_MS;
  #graceMs = 0;
  #wake = null;
  /** Which track sits in which mid, and how many more slots the room's tracks need: what the
   *  server said last, which holds for a new peer connection too until it says something else. */
  #table = new Map();
  #missing = { audio: 0, video: 0 };
  #toldFull = false;
  #host;
  #sent;
  #roster;
  #wants;
  #speaking = { dominant: null, speaking: [] };
  #hooks = new AbortController();

  self = null;
  participants = new Map();

  constructor(options) {
    super();
    this.#options = { codec: 'vp8', ...options };
    this.#url = signalUrl(options.url);
    this.#host = {
      own: this.#own,
      table: this.#table,
      participants: this.participants,
      codec: this.#options.codec,
      peer: () => this.#peer,
      over: () => this.#over,
      alive: () => this.#alive(),
      ready: () => this.#signal !== null && !this.#over,
      request: (message) => (this.#signal ? this.#signal.request(message) : Promise.reject(lost())),
      send: (message) => this.#signal?.send(message),
      changed: () => this.#derive(),
      placed: () => {
        this.#roster.place();
        for (const publication of this.#own.values()) {
          this.#sent.say(publication);
          this.#sent.suit(publication);
        }
      },
      blocked: (peer) => this.#blocked(peer),
      shown: (track) => this.#wants.placed(track),
      dropped: (track) => this.#wants.dropped(track),
      rebuild: (patienceMs) => this.#rebuild(patienceMs),
      emit: (type, detail) => this.#emit(type, detail),
      complain: (error) => this.#complain(error),
    };
    this.#sent = new Publications(this.#host);
    this.#roster = new Roster(this.#host);
    this.#wants = new Wants(this.#host);
    for (const track of options.stream?.getTracks() ?? []) {
      this.publish(track).catch(this.#host.complain);
    }
  }

  get name() {
    return this.#options.room;
  }

  get state() {
    return this.#state;
  }

  get failure() {
    return this.#failure;
  }

  get pc() {
    return this.#peer?.pc ?? null;
  }

  get ws() {
    return this.#signal?.ws ?? null;
  }

  get publications() {
    return [...this.#own.values()].filter((publication) => publication.live);
  }

  publication(source) {
    return this.#sent.publication(source);
  }

  // -- entering, leaving, coming back

  async join() {
    try {
      if (!globalThis.RTCPeerConnection) {
        throw new TrackyardError('unsupported', 'This browser cannot do WebRTC, or it is turned off.');
      }
      const signal = await Signal.open(this.#url);
      this.#enter(signal, await this.#request(signal, this.#joining()));
    } catch (error) {
      this.#end(error.code === 'connection_lost' ? unreachable() : error);
      throw this.#failure ?? error;
    }
    this.#listen();
    return this;
  }

  #joining() {
    const { room, name, token } = this.#options;
    return { type: 'join', room, name, ...(token && { token }) };
  }

  /** A request on a connection that is not ours yet, and is closed when it is refused. */
  async #request(signal, message) {
    if (this.#over) {
      signal.close();
      throw lost();
    }
    try {
      return await signal.request(message);
    } catch (error) {
      if (error.code !== 'session_gone') signal.close();
      throw error;
    }
  }

  #enter(signal, joined) {
    if (this.#over) {
      signal.close();
      return;
    }
    this.#signal = signal;
    signal.onmessage = (message) => this.#handle(message);
    signal.ondown = () => this.#dropped();
    const fresh = !joined.resumed;
    this.#session = joined.session;
    this.#graceMs = joined.resume_grace_ms;
    this.#iceServers = joined.ice_servers;
    this.self = { id: joined.participant, name: this.#options.name };
    this.#roster.snapshot(joined.participants);
    this.#host.limits = joined.limits ?? {};
    if (fresh) {
      this.#wants.forget();
      this.#speaking = { dominant: null, speaking: [] };
      this.#table.clear();
      this.#missing = { audio: 0, video: 0 };
      this.#rebuild();
    } else {
      this.#missing = this.#roster.unplaced(joined.slots);
      this.#seat(joined.slots);
      this.#own.forEach((publication) => this.#sent.say(publication));
      this.#peer.check();
    }
    this.#derive();
  }

  #dropped() {
    this.#signal = null;
    this.#derive();
    if (!this.#over) this.#reconnect();
  }

  async #reconnect() {
    const keptUntil = performance.now() + this.#graceMs;
    const kept = () => performance.now() < keptUntil;
    let told = false;
    while (!this.#over) {
      const pauseMs = kept() ? Math.min(this.#delayMs, BACKOFF_KEPT_MAX_MS) : this.#delayMs;
      await this.#pause(pauseMs * (0.5 + Math.random()));
      this.#delayMs = Math.min(2 * this.#delayMs, BACKOFF_MAX_MS);
      if (this.#over) return;
      try {
        const signal = await Signal.open(this.#url, kept() ? OPEN_TIMEOUT_KEPT_MS : undefined);
        this.#enter(signal, await this.#resume(signal));
        setTimeout(() => {
          if (this.#signal === signal) this.#delayMs = BACKOFF_FIRST_MS;
        }, PING_EVERY_MS);
        return;
      } catch (error) {
        if (FINAL.has(error.code)) {
          this.#end(error);
          return;
        }
        if (!told && !kept()) {
          told = true;
          this.#complain(unreachable());
        }
      }
    }
  }

  async #resume(signal) {
    try {
      return await this.#request(signal, { type: 'resume', session: this.#session });
    } catch (error) {
      if (error.code !== 'session_gone') throw error;
      return this.#request(signal, this.#joining());
    }
  }

  #pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #listen() {
    const { signal } = this.#hooks;
    this.#wants.start();
    this.#sent.start();
    const changed = () => {
      this.#wake?.();
      this.#signal?.probe();
      if (this.#signal) this.restartIce().catch(this.#host.complain);
    };
    addEventListener('online', changed, { signal });
    addEventListener('pagehide', () => this.leave(), { signal });
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState !== 'visible') return;
      this.#wake?.();
      this.#signal?.probe();
      this.#peer?.check();
    }, { signal });
    const network = navigator.connection;
    let type = network?.type;
    // It also fires for every new estimate of the bandwidth.
    network?.addEventListener('change', () => {
      if (network.type !== type || !this.#peer?.up) changed();
      type = network.type;
    }, { signal });
  }

  leave() {
    if (this.#over) return;
    const signal = this.#signal;
    signal?.send({ type: 'leave' });
    signal?.close();
    this.#signal = null;
    this.#end(null);
  }

  /** Over for good, by our will (`null`) or for a reason. After a join that failed, what was to be
   *  published still belongs to the caller. */
  #end(error) {
    if (this.#over) return;
    this.#over = true;
    this.#failure = error;
    this.#hooks.abort();
    this.#wants.stop();
    this.#sent.stop();
    this.#wake?.();
    this.#signal?.close();
    this.#signal = null;
    const owed = this.#peer?.close() ?? [];
    const reason = error ?? new TrackyardError('left', 'The room was left.');
    for (const job of owed) {
      job.promise.catch(() => {});
      job.reject(reason);
    }
    if (this.#session) {
      for (const publication of this.#own.values()) {
        if (publication.ours) (publication.mediaStreamTrack ?? publication.kept)?.stop();
      }
    }
    this.#derive();
    this.#emit('closed', { error });
  }

  // -- messages

  #handle(message) {
    const participant = this.participants.get(message.participant);
    switch (message.type) {
      case 'participant_joined':
        this.#roster.arrive(message.participant);
        break;
      case 'participant_left':
        if (participant) this.#roster.depart(participant, message.reason);
        break;
      case 'track_added':
      case 'track_updated':
        if (participant) this.#roster.put(participant, message.track);
        break;
      case 'track_removed':
        if (participant) this.#roster.drop(participant, message.track);
        break;
      case 'track_error':
        this.#roster.broken(message);
        break;
      case 'slots':
        this.#missing = message.missing;
        this.#seat(message.slots);
        break;
      case 'quality':
        this.#roster.fares(message.slots);
        break;
      case 'demand':
        this.#sent.demand(message.tracks);
        break;
      case 'speakers':
        this.#hear(message);
        break;
      case 'candidate':
        this.#peer.candidate(message);
        break;
      case 'closing':
        this.#complain(new TrackyardError(message.reason,
          `The server ended this session (${message.reason}).`));
        break;
      case 'error':
        this.#complain(new TrackyardError(message.code, message.message));
        break;
      default:
        // A later server may say more than this SDK knows.
    }
  }

  // -- slots

  /** Takes the server's table, makes slots where some are missing, and shows what changed. */
  #seat(slots) {
    this.#table.clear();
    for (const { mid, track } of slots) if (track) this.#table.set(mid, track);
    this.#roster.place();
    this.#wantSlots();
  }

  #wantSlots() {
    const wanted = { ...this.#missing };
    const tracks = new Map();
    for (const { tracks: theirs } of this.participants.values()) {
      theirs.forEach((track) => tracks.set(track.id, track));
    }
    for (const id of this.#table.values()) {
      const kind = tracks.get(id)?.kind;
      if (kind) wanted[kind] += 1;
    }
    if (this.#peer.want(wanted)) this.#toldFull = false;
    else if (!this.#toldFull) {
      this.#toldFull = true;
      this.#complain(new TrackyardError('too_many_tracks',
        'More is sent in this room than this browser can receive at once.'));
    }
  }

  /** How much a picture matters here, beyond the size at which it is shown. */
  want(trackId, wants) {
    this.#wants.ask(trackId, wants ?? {});
  }

  // -- who speaks

  get dominantSpeaker() {
    return this.#person(this.#speaking.dominant);
  }

  get speakers() {
    return this.#speaking.speaking.map((id) => this.#person(id)).filter(Boolean);
  }

  #person(id) {
    return id === this.self?.id ? this.self : this.participants.get(id) ?? null;
  }

  #hear({ dominant, speaking }) {
    this.#speaking = { dominant, speaking };
    this.#emit('speakers', { dominant: this.dominantSpeaker, speakers: this.speakers });
  }

  level(trackId) {
    const receiver = this.#peer?.slotOf(trackId)?.receiver;
    const last = receiver?.getSynchronizationSources?.()[0];
    // Whoever sends nothing in silence (DTX) was last heard speaking.
    const age = last ? performance.timeOrigin + performance.now() - last.timestamp : Infinity;
    return age < LEVEL_MAX_AGE_MS ? last.audioLevel ?? 0 : 0;
  }

  // -- what we send

  publish(mediaStreamTrack, options) {
    return this.#sent.publish(mediaStreamTrack, options);
  }

  unpublish(what) {
    return this.#sent.unpublish(what);
  }

  setMuted(source, muted) {
    return this.#sent.setMuted(source, muted);
  }

  setCamera(on, constraints) {
    return this.#sent.setCamera(on, constraints);
  }

  setMicrophone(on, constraints) {
    return this.#sent.setMicrophone(on, constraints);
  }

  startScreenShare(options) {
    return this.#sent.startScreenShare(options);
  }

  stopScreenShare() {
    return this.#sent.stopScreenShare();
  }

  #alive() {
    if (this.#over) throw this.#failure ?? new TrackyardError('left', 'The room was left.');
  }

  // -- the peer connection

  /** A new peer connection with all that is sent; the server puts it in the old one's place. */
  #rebuild(patienceMs) {
    const owed = this.#peer?.close() ?? [];
    this.#peer = new Peer(this.#host, this.#iceServers, patienceMs);
    this.#roster.place();
    for (const publication of this.#own.values()) {
      Object.assign(publication, { transceiver: null, id: null, said: null });
      if (publication.live) this.#peer.attach(publication);
    }
    const { audio, video } = this.#roster.unplaced([]);
    this.#peer.want({ audio: Math.max(1, audio), video: Math.max(1, video) });
    const negotiated = this.#peer.negotiate();
    negotiated.catch(this.#host.complain);
    for (const job of owed) negotiated.then(job.resolve, job.reject);
  }

  #blocked(peer) {
    if (this.#failure) return;
    const { ip, port } = peer.addresses[0] ?? { ip: new URL(this.#url).hostname };
    this.#failure = new TrackyardError('udp_blocked', port
      ? `Sound and picture do not get through: UDP port ${port} of ${ip} cannot be reached. `
        + 'A firewall must let UDP pass to that port.'
      : 'Sound and picture do not get through: the server gave no UDP address that can be reached.');
    this.#derive();
    this.#complain(this.#failure);
  }

  async restartIce() {
    this.#alive();
    await this.#peer?.restart();
  }

  #derive() {
    const up = this.#peer?.up ?? false;
    if (up && !this.#over) this.#failure = null;
    let state = this.#wasConnected ? 'reconnecting' : 'connecting';
    if (this.#over) state = 'closed';
    else if (up && this.#signal) state = 'connected';
    else if (this.#failure) state = 'failed';
    this.#wasConnected ||= state === 'connected';
    if (state === this.#state) return;
    this.#state = state;
    this.#emit('state', { state, error: this.#failure });
  }

  #complain = (error) => {
    if (!this.#over) this.#emit('error', { error });
  };

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  async stats() {
    this.#alive();
    return digest(await this.#peer.pc.getStats(), this.#peer.pc, this.#table, this.publications);
  }
}
