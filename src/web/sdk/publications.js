// Publications: what we send, one from each source.

import { captureOne, kindOf, recaptureOf } from './capture.js';
import { TrackyardError } from './errors.js';
import { isOfUse } from './layers.js';

/** A picture that is seen smaller, or by nobody, is sent larger for so long: others may come. */
const LESS_AFTER_MS = 5_000;
/** Between two looks at what keeps the browser from sending better. */
const LIMITED_EVERY_MS = 2_000;

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
  lessTimer = 0;
  /** What keeps it from being sent better, as the server knows. */
  limited = 'none';
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

/** Publishes, mutes and takes back. What it needs of the room is in `host`: `own` publications,
 *  `alive()`, `over()`, `ready()`, `peer()`, `request()`, `emit()`, `complain()`. */
export class Publications {
  #host;
  #own;
  #queues = new Map();
  #timer = 0;
  /** By track id: the largest at which anybody sees it, as the server said. */
  #demands = new Map();
  #streams = { camera: new MediaStream(), screen: new MediaStream() };

  constructor(host) {
    this.#host = host;
    this.#own = host.own;
  }

  start() {
    this.#timer = setInterval(() => this.#weigh().catch(() => {}), LIMITED_EVERY_MS);
  }

  stop() {
    clearInterval(this.#timer);
    for (const publication of this.#own.values()) clearTimeout(publication.lessTimer);
  }

  /** The server says how large our pictures are seen. More is sent at once, less after a while. */
  demand(tracks) {
    // It may come before the answer that says which id a publication has.
    for (const { track, width, height } of tracks) this.#demands.set(track, { width, height });
    for (const publication of this.#own.values()) {
      if (tracks.some(({ track }) => track === publication.id)) this.suit(publication);
    }
  }

  /** Turns on the encodings that somebody has use for, and the others off: those a while later. */
  suit(publication, less = false) {
    clearTimeout(publication.lessTimer);
    const { transceiver, id, mediaStreamTrack: track } = publication;
    const demand = this.#demands.get(id);
    if (!transceiver || !demand || !track) return;
    if (!less) publication.lessTimer = setTimeout(() => this.suit(publication, true), LESS_AFTER_MS);
    const parameters = transceiver.sender.getParameters();
    const { encodings } = parameters;
    if (!encodings?.length) return;
    let changed = false;
    encodings.forEach((encoding, at) => {
      const isUsed = isOfUse(encodings, at, track.getSettings(), demand);
      if (encoding.active === isUsed || (!isUsed && !less)) return;
      Object.assign(encoding, { active: isUsed });
      changed = true;
    });
    if (changed) transceiver.sender.setParameters(parameters).catch(() => {});
  }

  /** Tells the server what keeps our pictures from being better. */
  async #weigh() {
    for (const publication of this.#own.values()) {
      const { kind, live, muted, id, mid, transceiver } = publication;
      if (kind !== 'video' || !live || muted || id === null || !transceiver) continue;
      const report = await transceiver.sender.getStats();
      const reasons = [...report.values()].filter(({ type }) => type === 'outbound-rtp')
        .map(({ qualityLimitationReason }) => qualityLimitationReason);
      const limited = ['cpu', 'bandwidth'].find((reason) => reasons.includes(reason)) ?? 'none';
      if (limited === publication.limited || !this.#host.ready() || publication.muted) continue;
      publication.limited = limited;
      await this.#host.request({ type: 'update', mid, muted: false, limited });
    }
  }

  publication(source) {
    const publication = this.#own.get(source);
    return publication?.live ? publication : null;
  }

  async publish(mediaStreamTrack, { source, recapture } = {}) {
    this.#host.alive();
    const from = source ?? (mediaStreamTrack.kind === 'video' ? 'camera' : 'microphone');
    if (kindOf(from) !== mediaStreamTrack.kind) {
      throw new TypeError(`a ${mediaStreamTrack.kind} track cannot be published as ${from}`);
    }
    const added = await this.#queue(from, () => this.#publish(mediaStreamTrack, from, recapture));
    if (added) await this.#host.peer()?.negotiate();
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
    this.say(publication);
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
    const attached = this.#host.peer()?.attach(publication);
    attached?.then(() => this.suit(publication), () => {});
    this.#host.emit('publication', { publication });
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
    this.#host.complain(new TrackyardError('device_lost', `The ${source} was unplugged or taken away.`));
  }

  async unpublish(what) {
    const source = typeof what === 'string' ? what : what.source;
    const had = await this.#queue(source, () => this.#unpublish(source));
    if (had && !this.#host.over()) await this.#host.peer()?.negotiate();
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
    this.#host.emit('publication', { publication });
    return true;
  }

  async setMuted(source, muted) {
    this.#host.alive();
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
    this.say(publication);
    this.#host.emit('publication', { publication });
    await publication.transceiver?.sender.replaceTrack(null);
  }

  async #unmute(publication) {
    if (!publication.live || !publication.muted) return;
    const { recapture, source } = publication;
    const track = typeof recapture === 'function' ? await recapture()
      : recapture ? await captureOne(source, recapture) : publication.kept;
    if (this.#host.over() || !publication.live) {
      if (recapture) track?.stop();
      return;
    }
    publication.muted = false;
    await this.#send(publication, track);
    this.say(publication);
  }

  /** Tells the server about `muted` when it does not know; an offer under way tells it itself. */
  say(publication) {
    const { id, live, mid, muted, said } = publication;
    if (!this.#host.ready() || !live || id === null || said === muted) return;
    publication.said = muted;
    this.#host.request({ type: 'update', mid, muted }).catch((error) => {
      publication.said = !muted;
      if (error.code !== 'connection_lost') this.#host.complain(error);
    });
  }

  setCamera(on, constraints) {
    return this.#enable('camera', on, constraints);
  }

  setMicrophone(on, constraints) {
    return this.#enable('microphone', on, constraints);
  }

  async #enable(source, on, constraints) {
    this.#host.alive();
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
      if (this.#host.over()) {
        track.stop();
        return false;
      }
      return this.#publish(track, source, wanted);
    });
    // Not awaited: turning off again must not wait for a connection that is down.
    if (published) this.#host.peer()?.negotiate().catch(this.#host.complain);
  }

  async startScreenShare({ audio = true, video = true } = {}) {
    this.#host.alive();
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
    if (this.#host.over()) stream.getTracks().forEach((track) => track.stop());
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
}
