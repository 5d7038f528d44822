// The browser SDK: a room's people and tracks as objects and events, the protocol hidden.
//
//   import { join } from '/trackyard.js';
//   const room = await join({ room: 'standup', name: 'Ada' });
//   room.addEventListener('track', ({ detail }) => show(detail.track, detail.mediaStreamTrack));
//   await room.setCamera(true);
//
// Everything exported is described in trackyard.d.ts. The page that imports this file needs no
// build step, and this file imports nothing.

const PING_EVERY_MS = 5_000;
const BEAT_MS = 500;
/** Twice the ping's interval and a little: one lost answer is not a lost connection. */
const SILENCE_MAX_MS = 12_000;
/** How long a ping sent because the network changed may take. */
const PROBE_MS = 2_500;
const OPEN_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 4_000;
/** Attempts to reconnect before the application is told that the server is unreachable. */
const ATTEMPTS_BEFORE_ERROR = 5;

/** ICE comes back by itself from a short `disconnected`; sooner only costs negotiations. */
const DISCONNECTED_MS = 2_000;
/** One ICE restart may take so long; then the next, then a new peer connection. */
const RESTART_MS = 8_000;
const RESTARTS_BEFORE_REBUILD = 2;
/** From the first answer to a connection; then UDP is held to be blocked. */
const CONNECT_MS = 10_000;
const CONNECT_MAX_MS = 60_000;

/** An audio level older than this is silence. */
const LEVEL_MAX_AGE_MS = 1_000;

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
const TRANSIENT = new Set(['internal', 'server_busy']);
const REFUSALS_MAX = 4;

/** Answers to `join` that trying again cannot change. */
const FINAL = new Set(['room_full', 'bad_name', 'bad_message', 'foreign_origin']);

/** A camera of a kind that every device can encode; the browser picks what comes closest. */
const CAPTURE = {
  camera: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
  microphone: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
};

export class TrackyardError extends Error {
  constructor(code, message, cause) {
    super(message, cause ? { cause } : undefined);
    this.name = 'TrackyardError';
    this.code = code;
  }
}

const lost = () => new TrackyardError('connection_lost', 'The connection to the server was lost.');
const unreachable = () => new TrackyardError('server_unreachable',
  'The server cannot be reached. Check the network, and that the server is running.');

function deferred() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}

const pause = (ms) => new Promise((resolve) => {
  setTimeout(resolve, ms);
});

const kindOf = (source) => (source === 'camera' || source === 'screen' ? 'video' : 'audio');

// ---- capture

async function getUserMedia(constraints) {
  const devices = navigator.mediaDevices;
  if (!devices?.getUserMedia) {
    throw new TrackyardError('insecure_context',
      'This page may not use cameras and microphones: open it over https:// or on localhost.');
  }
  return devices.getUserMedia(constraints);
}

const constraintsOf = (source, given) => ({
  ...CAPTURE[source],
  ...(typeof given === 'object' ? given : null),
});

async function captureOne(source, given) {
  const kind = kindOf(source);
  const wanted = constraintsOf(source, given);
  try {
    return (await getUserMedia({ [kind]: wanted })).getTracks()[0];
  } catch (cause) {
    const error = captureError(cause, source);
    // The device that was chosen may have been unplugged; any other is better than none.
    if (error.code === `no_${source}` && wanted.deviceId) {
      return captureOne(source, { ...wanted, deviceId: undefined });
    }
    throw error;
  }
}

export async function capture({ camera = false, microphone = false } = {}) {
  const result = { camera: null, microphone: null, errors: {} };
  if (camera && microphone) {
    try {
      // Both at once: the browser asks its question only once.
      const stream = await getUserMedia({
        video: constraintsOf('camera', camera),
        audio: constraintsOf('microphone', microphone),
      });
      [result.camera] = stream.getVideoTracks();
      [result.microphone] = stream.getAudioTracks();
      return result;
    } catch {
      // One of them is missing or denied; which one, each says by itself.
    }
  }
  for (const [source, given] of Object.entries({ camera, microphone })) {
    if (!given) continue;
    try {
      result[source] = await captureOne(source, given);
    } catch (error) {
      result.errors[source] = error;
    }
  }
  return result;
}

function captureError(cause, device) {
  if (cause instanceof TrackyardError) return cause;
  switch (cause.name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return new TrackyardError(`${device}_denied`,
        `The ${device} is blocked. Allow it in the browser's address bar and try again.`, cause);
    case 'NotFoundError':
    case 'OverconstrainedError':
      return new TrackyardError(`no_${device}`, `No ${device} was found.`, cause);
    default:
      return new TrackyardError(`${device}_busy`,
        `The ${device} cannot be opened. Another program may be using it.`, cause);
  }
}

/** What captures this track's device again; `false` for a track that no device gives. */
function recaptureOf(track, source) {
  if (!CAPTURE[source]) return false;
  if (globalThis.CanvasCaptureMediaStreamTrack
    && track instanceof CanvasCaptureMediaStreamTrack) return false;
  const constraints = { ...track.getConstraints() };
  const { deviceId } = track.getSettings();
  if (deviceId) constraints.deviceId = { exact: deviceId };
  return constraints;
}

// ---- codecs

/** What a slot offers to receive: what the server forwards, and nothing else, so that an m-line
 *  stays small. */
function receivable(codec) {
  const fmtp = (codec.sdpFmtpLine ?? '').toLowerCase();
  const value = (key) => fmtp.match(new RegExp(`(?:^|;)\\s*${key}=([^;]*)`))?.[1];
  switch (codec.mimeType.toLowerCase()) {
    case 'audio/opus':
    case 'video/vp8':
    case 'video/rtx':
      return true;
    case 'video/vp9':
      return (value('profile-id') ?? '0') === '0';
    case 'video/av1':
      return (value('profile') ?? '0') === '0';
    case 'video/h264': {
      const profile = value('profile-level-id') ?? '';
      return value('packetization-mode') === '1'
        ? /^(42e0|4200|640c|6400)/.test(profile)
        : profile.startsWith('42e0');
    }
    default:
      return false;
  }
}

function prefer(transceiver, choose) {
  const kind = transceiver.receiver.track.kind;
  const codecs = choose(RTCRtpReceiver.getCapabilities?.(kind)?.codecs ?? []);
  if (!codecs.length) return;
  try {
    transceiver.setCodecPreferences(codecs);
  } catch {
    // A browser that will not reorder still offers what it has.
  }
}

/** The browser's list with `name` first, the profile that most receivers decode before others. */
function codecFirst(codecs, name) {
  const mime = `video/${name}`;
  const rank = (codec) => {
    if (codec.mimeType.toLowerCase() !== mime) return 2;
    return name !== 'h264' || /42e0..*packetization-mode=1|packetization-mode=1.*42e0/i
      .test(codec.sdpFmtpLine ?? '') ? 0 : 1;
  };
  return codecs.map((codec, i) => ({ codec, i }))
    .sort((a, b) => rank(a.codec) - rank(b.codec) || a.i - b.i)
    .map(({ codec }) => codec);
}

// ---- session descriptions

const sections = (sdp) => sdp.split(/\r?\nm=/).slice(1);
const midOf = (section) => section.match(/\na=mid:(\S+)/)?.[1];

/** The mids on which a description of ours sends. */
const sendingMids = (sdp) => new Set(sections(sdp)
  .filter((section) => /\na=send(only|recv)\b/.test(section)).map(midOf));

/** The description without what is said of payload types that are not there: Firefox leaves the
 *  `rtcp-fb` lines of codecs that `setCodecPreferences` took out, which others refuse. */
function withoutOrphans(sdp) {
  let types = new Set();
  return sdp.split(/(?<=\n)/).filter((line) => {
    if (line.startsWith('m=')) types = new Set(line.trim().split(' ').slice(3));
    const about = line.match(/^a=(?:rtcp-fb|fmtp|rtpmap):(\d+) /)?.[1];
    return about === undefined || types.has(about);
  }).join('');
}

/** `address:port` of every UDP candidate in a description or a candidate line. */
const udpAddresses = (text) => [...text.matchAll(/candidate:\S+ \d+ udp \d+ (\S+) (\d+) /gi)]
  .map(([, ip, port]) => ({ ip, port: Number(port) }));

// ---- one WebSocket

class Signal {
  #ws;
  #next = 1;
  #waiting = new Map();
  #heard = performance.now();
  #beat = 0;
  #down = false;
  onmessage = () => {};
  ondown = () => {};

  static open(url) {
    return new Promise((resolve, reject) => {
      const ws = new WebSocket(url);
      const fail = () => {
        clearTimeout(timer);
        ws.onopen = ws.onclose = ws.onerror = null;
        ws.close();
        reject(unreachable());
      };
      const timer = setTimeout(fail, OPEN_TIMEOUT_MS);
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
    let pinged = this.#heard;
    this.#beat = setInterval(() => {
      const now = performance.now();
      if (now - this.#heard > SILENCE_MAX_MS) {
        this.fall();
      } else if (now - pinged >= PING_EVERY_MS) {
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

// ---- one peer connection

/** Negotiates, keeps slots, and brings ICE back. What it needs of the room is in `host`: `own`
 *  publications, the `table` of slots, `codec`, `ready()`, `request()`, `send()`, `changed()`,
 *  `placed()`, `blocked()`, `rebuild()`, `complain()`. */
class Peer {
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

// ---- the room

class Participant {
  constructor({ id, name }) {
    this.id = id;
    this.name = name;
    this.tracks = new Map();
  }

  track(source) {
    return [...this.tracks.values()].find((track) => track.source === source);
  }
}

/** What another participant sends. */
class RemoteTrack {
  mediaStreamTrack = null;
  error = null;

  constructor({ id, kind, source, muted }) {
    Object.assign(this, { id, kind, source, muted });
  }
}

/** What we send from one source. */
class Publication {
  id = null;
  mediaStreamTrack = null;
  muted = false;
  live = false;
  transceiver = null;
  /** What the server knows `muted` to be. */
  said = null;
  recapture = false;
  /** A track that muting must not stop waits here. */
  kept = null;

  constructor(source, stream) {
    this.source = source;
    this.kind = kindOf(source);
    this.stream = stream;
  }

  get mid() {
    return this.transceiver?.mid ?? null;
  }

  /** Whether we opened what gives the track, so that it is ours to stop. */
  get ours() {
    return this.recapture !== false || this.source.startsWith('screen');
  }
}

export class Room extends EventTarget {
  #options;
  #url;
  #signal = null;
  #session = null;
  #peer = null;
  #iceServers = [];
  #own = new Map();
  #queues = new Map();
  #streams = { camera: new MediaStream(), screen: new MediaStream() };
  #state = 'connecting';
  #failure = null;
  #wasConnected = false;
  #over = false;
  #delayMs = BACKOFF_FIRST_MS;
  #wake = null;
  /** Which track sits in which mid, and how many more slots the room's tracks need: what the
   *  server said last, which holds for a new peer connection too until it says something else. */
  #table = new Map();
  #missing = { audio: 0, video: 0 };
  #toldFull = false;
  #host;
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
      codec: this.#options.codec,
      ready: () => this.#signal !== null && !this.#over,
      request: (message) => (this.#signal ? this.#signal.request(message) : Promise.reject(lost())),
      send: (message) => this.#signal?.send(message),
      changed: () => this.#derive(),
      placed: () => {
        this.#place();
        this.#own.forEach((publication) => this.#say(publication));
      },
      blocked: (peer) => this.#blocked(peer),
      rebuild: (patienceMs) => this.#rebuild(patienceMs),
      complain: (error) => this.#complain(error),
    };
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
    const publication = this.#own.get(source);
    return publication?.live ? publication : null;
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
    this.#iceServers = joined.ice_servers;
    this.self = { id: joined.participant, name: this.#options.name };
    this.#snapshot(joined.participants);
    if (fresh) {
      this.#table.clear();
      this.#missing = { audio: 0, video: 0 };
      this.#rebuild();
    } else {
      this.#missing = this.#unplaced(joined.slots);
      this.#seat(joined.slots);
      this.#own.forEach((publication) => this.#say(publication));
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
    for (let attempt = 1; !this.#over; attempt += 1) {
      await this.#pause(this.#delayMs * (0.5 + Math.random()));
      this.#delayMs = Math.min(2 * this.#delayMs, BACKOFF_MAX_MS);
      if (this.#over) return;
      try {
        const signal = await Signal.open(this.#url);
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
        if (attempt === ATTEMPTS_BEFORE_ERROR) this.#complain(unreachable());
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
        this.#arrive(message.participant);
        break;
      case 'participant_left':
        if (participant) this.#depart(participant, message.reason);
        break;
      case 'track_added':
      case 'track_updated':
        if (participant) this.#put(participant, message.track);
        break;
      case 'track_removed':
        if (participant) this.#drop(participant, message.track);
        break;
      case 'track_error':
        this.#broken(message);
        break;
      case 'slots':
        this.#missing = message.missing;
        this.#seat(message.slots);
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

  /** The whole roster: only what differs from what is known becomes an event. */
  #snapshot(list) {
    const present = new Map(list.map((view) => [view.id, view]));
    for (const participant of [...this.participants.values()]) {
      if (!present.has(participant.id)) this.#depart(participant, 'left');
    }
    for (const view of list) {
      const participant = this.participants.get(view.id);
      if (!participant) {
        this.#arrive(view);
        continue;
      }
      const ids = new Set(view.tracks.map(({ id }) => id));
      for (const id of [...participant.tracks.keys()]) {
        if (!ids.has(id)) this.#drop(participant, id);
      }
      view.tracks.forEach((track) => this.#put(participant, track));
    }
  }

  #arrive(view) {
    if (this.participants.has(view.id)) return;
    const participant = new Participant(view);
    this.participants.set(participant.id, participant);
    this.#emit('participantjoined', { participant });
    view.tracks.forEach((track) => this.#put(participant, track));
  }

  #depart(participant, reason) {
    for (const id of [...participant.tracks.keys()]) this.#drop(participant, id);
    this.participants.delete(participant.id);
    this.#emit('participantleft', { participant, reason });
  }

  #put(participant, view) {
    const known = participant.tracks.get(view.id);
    if (!known) {
      const track = new RemoteTrack(view);
      participant.tracks.set(track.id, track);
      this.#emit('trackadded', { participant, track });
      this.#place();
    } else if (known.muted !== view.muted || known.source !== view.source) {
      Object.assign(known, { muted: view.muted, source: view.source });
      this.#emit('trackupdated', { participant, track: known });
    }
  }

  #drop(participant, id) {
    const track = participant.tracks.get(id);
    if (!track) return;
    participant.tracks.delete(id);
    this.#show(participant, track, null);
    this.#emit('trackremoved', { participant, track });
  }

  #broken({ track: id, code, message }) {
    for (const participant of this.participants.values()) {
      const track = participant.tracks.get(id);
      if (!track) continue;
      track.error = new TrackyardError(code, message);
      this.#emit('trackerror', { participant, track, error: track.error });
    }
  }

  // -- slots

  /** Takes the server's table, makes slots where some are missing, and shows what changed. */
  #seat(slots) {
    this.#table.clear();
    for (const { mid, track } of slots) if (track) this.#table.set(mid, track);
    this.#place();
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

  /** What of the room's tracks is in none of these slots. */
  #unplaced(slots) {
    const seated = new Set(slots.map(({ track }) => track));
    const count = { audio: 0, video: 0 };
    for (const { tracks } of this.participants.values()) {
      for (const { id, kind, error } of tracks.values()) {
        if (!seated.has(id) && !error) count[kind] += 1;
      }
    }
    return count;
  }

  /** Matches every remote track to the slot in which it sits now. */
  #place() {
    const placed = [];
    for (const participant of this.participants.values()) {
      for (const track of participant.tracks.values()) {
        const media = this.#peer?.slotOf(track.id)?.receiver.track ?? null;
        if (media !== track.mediaStreamTrack) placed.push([participant, track, media]);
      }
    }
    // What leaves a slot is told first: what enters may be shown by the same MediaStreamTrack.
    for (const [participant, track] of placed) this.#show(participant, track, null);
    for (const [participant, track, media] of placed) {
      if (media) this.#show(participant, track, media);
    }
  }

  #show(participant, track, mediaStreamTrack) {
    if (track.mediaStreamTrack === mediaStreamTrack) return;
    track.mediaStreamTrack = mediaStreamTrack;
    if (mediaStreamTrack && track.error) {
      track.error = null;
      this.#emit('trackupdated', { participant, track });
    }
    this.#emit('track', { participant, track, mediaStreamTrack });
  }

  level(trackId) {
    const receiver = this.#peer?.slotOf(trackId)?.receiver;
    const last = receiver?.getSynchronizationSources?.()[0];
    // Whoever sends nothing in silence (DTX) was last heard speaking.
    const age = last ? performance.timeOrigin + performance.now() - last.timestamp : Infinity;
    return age < LEVEL_MAX_AGE_MS ? last.audioLevel ?? 0 : 0;
  }

  // -- what we send

  async publish(mediaStreamTrack, { source, recapture } = {}) {
    this.#alive();
    const from = source ?? (mediaStreamTrack.kind === 'video' ? 'camera' : 'microphone');
    if (kindOf(from) !== mediaStreamTrack.kind) {
      throw new TypeError(`a ${mediaStreamTrack.kind} track cannot be published as ${from}`);
    }
    const added = await this.#queue(from, () => this.#publish(mediaStreamTrack, from, recapture));
    if (added) await this.#peer?.negotiate();
    return this.#own.get(from);
  }

  /** Whether an m-line was taken, so that an offer is due. */
  async #publish(track, source, recapture) {
    let publication = this.#own.get(source);
    if (!publication) {
      publication = new Publication(source, this.#streams[source.startsWith('screen') ? 'screen' : 'camera']);
      this.#own.set(source, publication);
    }
    const before = publication.mediaStreamTrack;
    if (before !== track && publication.ours) before?.stop();
    const added = !publication.live;
    publication.recapture = recapture ?? recaptureOf(track, source);
    publication.live = true;
    publication.muted = false;
    const sent = this.#send(publication, track);
    // A new m-line is awaited with its negotiation, so that two at a time share one.
    if (added) sent.catch(this.#host.complain);
    else await sent;
    this.#say(publication);
    return added;
  }

  /** Sends a track in a publication's m-line, which is made when there is none. */
  #send(publication, track) {
    if (track !== publication.kept) {
      track.addEventListener('ended', () => {
        if (publication.mediaStreamTrack === track) this.#ended(publication);
      });
    }
    publication.mediaStreamTrack = track;
    publication.kept = null;
    const attached = this.#peer?.attach(publication);
    this.#emit('publication', { publication });
    return attached ?? Promise.resolve();
  }

  /** The device or the shared window went away. */
  #ended(publication) {
    const { source } = publication;
    if (source.startsWith('screen')) {
      this.stopScreenShare().catch(this.#host.complain);
      return;
    }
    this.setMuted(source, true).catch(this.#host.complain);
    this.#complain(new TrackyardError('device_lost', `The ${source} was unplugged or taken away.`));
  }

  async unpublish(what) {
    const source = typeof what === 'string' ? what : what.source;
    const had = await this.#queue(source, () => this.#unpublish(source));
    if (had && !this.#over) await this.#peer?.negotiate();
  }

  async #unpublish(source) {
    const publication = this.publication(source);
    if (!publication) return false;
    const track = publication.mediaStreamTrack;
    Object.assign(publication, { live: false, id: null, mediaStreamTrack: null, kept: null, said: null });
    if (publication.ours) track?.stop();
    if (publication.transceiver) {
      publication.transceiver.direction = 'inactive';
      publication.transceiver.sender.replaceTrack(null).catch(this.#host.complain);
    }
    this.#emit('publication', { publication });
    return true;
  }

  async setMuted(source, muted) {
    this.#alive();
    const publication = this.publication(source);
    if (!publication) throw new TrackyardError('not_published', `No ${source} is published.`);
    await this.#queue(source, () => (muted ? this.#mute(publication) : this.#unmute(publication)));
  }

  async #mute(publication) {
    if (!publication.live || publication.muted) return;
    const track = publication.mediaStreamTrack;
    publication.muted = true;
    publication.mediaStreamTrack = null;
    if (publication.recapture) track?.stop();
    else publication.kept = track;
    this.#say(publication);
    this.#emit('publication', { publication });
    await publication.transceiver?.sender.replaceTrack(null);
  }

  async #unmute(publication) {
    if (!publication.live || !publication.muted) return;
    const { recapture, source } = publication;
    const track = typeof recapture === 'function' ? await recapture()
      : recapture ? await captureOne(source, recapture) : publication.kept;
    if (this.#over || !publication.live) {
      if (recapture) track?.stop();
      return;
    }
    publication.muted = false;
    await this.#send(publication, track);
    this.#say(publication);
  }

  /** Tells the server about `muted` when it does not know; an offer under way tells it itself. */
  #say(publication) {
    const { id, live, mid, muted, said } = publication;
    if (!this.#signal || !live || id === null || said === muted) return;
    publication.said = muted;
    this.#signal.request({ type: 'update', mid, muted }).catch((error) => {
      publication.said = !muted;
      if (error.code !== 'connection_lost') this.#complain(error);
    });
  }

  setCamera(on, constraints) {
    return this.#enable('camera', on, constraints);
  }

  setMicrophone(on, constraints) {
    return this.#enable('microphone', on, constraints);
  }

  async #enable(source, on, constraints) {
    this.#alive();
    const published = await this.#queue(source, async () => {
      const publication = this.publication(source);
      if (!on) {
        if (publication) await this.#mute(publication);
        return false;
      }
      if (publication && !constraints) {
        await this.#unmute(publication);
        return false;
      }
      const wanted = constraints ?? {};
      const track = await captureOne(source, wanted);
      if (this.#over) {
        track.stop();
        return false;
      }
      return this.#publish(track, source, wanted);
    });
    // Not awaited: turning off again must not wait for a connection that is down.
    if (published) this.#peer?.negotiate().catch(this.#host.complain);
  }

  async startScreenShare({ audio = true, video = true } = {}) {
    this.#alive();
    if (!navigator.mediaDevices?.getDisplayMedia) {
      throw new TrackyardError('unsupported', 'This browser cannot share a screen.');
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getDisplayMedia({ audio, video });
    } catch (cause) {
      throw new TrackyardError(cause.name === 'NotAllowedError' ? 'screen_denied' : 'no_screen',
        'No screen or window was shared.', cause);
    }
    if (this.#over) stream.getTracks().forEach((track) => track.stop());
    await Promise.all(stream.getTracks().map((track) => this.publish(track,
      { source: track.kind === 'video' ? 'screen' : 'screen_audio', recapture: false })));
  }

  async stopScreenShare() {
    await Promise.all([this.unpublish('screen'), this.unpublish('screen_audio')]);
  }

  /** One change of a source at a time, in the order asked. */
  #queue(source, change) {
    const last = this.#queues.get(source) ?? Promise.resolve();
    const next = last.then(change);
    this.#queues.set(source, next.catch(() => {}));
    return next;
  }

  #alive() {
    if (this.#over) throw this.#failure ?? new TrackyardError('left', 'The room was left.');
  }

  // -- the peer connection

  /** A new peer connection with all that is sent; the server puts it in the old one's place. */
  #rebuild(patienceMs) {
    const owed = this.#peer?.close() ?? [];
    this.#peer = new Peer(this.#host, this.#iceServers, patienceMs);
    this.#place();
    for (const publication of this.#own.values()) {
      Object.assign(publication, { transceiver: null, id: null, said: null });
      if (publication.live) this.#peer.attach(publication);
    }
    const { audio, video } = this.#unplaced([]);
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

export async function join(options) {
  const room = new Room(options);
  return room.join();
}

/** Where signalling is: beside this file, unless told. */
function signalUrl(given) {
  const url = new URL(given ?? '/signal', given ? globalThis.location?.href : import.meta.url);
  url.protocol = url.protocol.replace(/^http/, 'ws');
  return url.href;
}

/** What a person wants to know of `getStats()`. */
function digest(report, pc, table, publications) {
  const entries = [...report.values()];
  const transport = entries.find(({ type }) => type === 'transport');
  const pair = report.get(transport?.selectedCandidatePairId)
    ?? entries.find(({ type, nominated, state }) => (
      type === 'candidate-pair' && nominated && state === 'succeeded'));
  const at = (id) => {
    const candidate = report.get(id);
    return candidate ? `${candidate.address ?? candidate.ip ?? ''}:${candidate.port}` : null;
  };
  const common = (entry) => ({
    kind: entry.kind,
    mid: entry.mid ?? null,
    codec: report.get(entry.codecId)?.mimeType?.split('/')[1] ?? null,
    width: entry.frameWidth ?? 0,
    height: entry.frameHeight ?? 0,
    framesPerSecond: entry.framesPerSecond ?? 0,
  });
  const slots = new Map(pc.getTransceivers().map((line) => [line.receiver.track.id, line]));
  const received = entries.filter(({ type }) => type === 'inbound-rtp').map((entry) => {
    const mid = entry.mid ?? slots.get(entry.trackIdentifier)?.mid ?? null;
    return {
      ...common(entry),
      mid,
      track: table.get(mid) ?? null,
      bytes: entry.bytesReceived ?? 0,
      packets: entry.packetsReceived ?? 0,
      lost: entry.packetsLost ?? 0,
      frames: entry.framesDecoded ?? 0,
      keyFrames: entry.keyFramesDecoded ?? 0,
      audioEnergy: entry.totalAudioEnergy ?? 0,
    };
  });
  const sent = entries.filter(({ type }) => type === 'outbound-rtp').map((entry) => ({
    ...common(entry),
    source: publications.find(({ mid }) => mid !== null && mid === entry.mid)?.source ?? null,
    bytes: entry.bytesSent ?? 0,
    packets: entry.packetsSent ?? 0,
    frames: entry.framesEncoded ?? 0,
    keyFrames: entry.keyFramesEncoded ?? 0,
  }));
  return {
    roundTripMs: pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
    pair: pair ? { local: at(pair.localCandidateId), remote: at(pair.remoteCandidateId) } : null,
    sent,
    received,
  };
}
