// The roster: who else is in the room, and what each of them sends.

import { TrackyardError } from './errors.js';

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
  quality = null;

  constructor({ id, kind, source, muted }) {
    Object.assign(this, { id, kind, source, muted });
  }
}

/** Follows what the server says of the others. What it needs of the room is in `host`:
 *  `participants`, `peer()`, `shown()`, `dropped()`, `emit()`. */
export class Roster {
  #host;
  #participants;

  constructor(host) {
    this.#host = host;
    this.#participants = host.participants;
  }

  /** The whole roster: only what differs from what is known becomes an event. */
  snapshot(list) {
    const present = new Map(list.map((view) => [view.id, view]));
    for (const participant of [...this.#participants.values()]) {
      if (!present.has(participant.id)) this.depart(participant, 'left');
    }
    for (const view of list) {
      const participant = this.#participants.get(view.id);
      if (!participant) {
        this.arrive(view);
        continue;
      }
      const ids = new Set(view.tracks.map(({ id }) => id));
      for (const id of [...participant.tracks.keys()]) {
        if (!ids.has(id)) this.drop(participant, id);
      }
      view.tracks.forEach((track) => this.put(participant, track));
    }
  }

  arrive(view) {
    if (this.#participants.has(view.id)) return;
    const participant = new Participant(view);
    this.#participants.set(participant.id, participant);
    this.#host.emit('participantjoined', { participant });
    view.tracks.forEach((track) => this.put(participant, track));
  }

  depart(participant, reason) {
    for (const id of [...participant.tracks.keys()]) this.drop(participant, id);
    this.#participants.delete(participant.id);
    this.#host.emit('participantleft', { participant, reason });
  }

  put(participant, view) {
    const known = participant.tracks.get(view.id);
    if (!known) {
      const track = new RemoteTrack(view);
      participant.tracks.set(track.id, track);
      this.#host.emit('trackadded', { participant, track });
      this.place();
    } else if (known.muted !== view.muted || known.source !== view.source) {
      Object.assign(known, { muted: view.muted, source: view.source });
      this.#host.emit('trackupdated', { participant, track: known });
    }
  }

  drop(participant, id) {
    const track = participant.tracks.get(id);
    if (!track) return;
    participant.tracks.delete(id);
    this.#host.dropped(track);
    this.#show(participant, track, null);
    this.#host.emit('trackremoved', { participant, track });
  }

  broken({ track: id, code, message }) {
    for (const participant of this.#participants.values()) {
      const track = participant.tracks.get(id);
      if (!track) continue;
      track.error = new TrackyardError(code, message);
      this.#host.emit('trackerror', { participant, track, error: track.error });
    }
  }

  /** How slots fare, and why. */
  fares(slots) {
    for (const { track: id, cause, paused } of slots) {
      for (const participant of this.#participants.values()) {
        const track = participant.tracks.get(id);
        if (!track) continue;
        track.quality = { cause, paused };
        this.#host.emit('quality', { participant, track, cause, paused });
      }
    }
  }

  /** What of the room's tracks is in none of these slots. */
  unplaced(slots) {
    const seated = new Set(slots.map(({ track }) => track));
    const count = { audio: 0, video: 0 };
    for (const { tracks } of this.#participants.values()) {
      for (const { id, kind, error } of tracks.values()) {
        if (!seated.has(id) && !error) count[kind] += 1;
      }
    }
    return count;
  }

  /** Matches every remote track to the slot in which it sits now. */
  place() {
    const placed = [];
    for (const participant of this.#participants.values()) {
      for (const track of participant.tracks.values()) {
        const media = this.#host.peer()?.slotOf(track.id)?.receiver.track ?? null;
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
    if (!mediaStreamTrack) track.quality = null;
    this.#host.shown(track);
    if (mediaStreamTrack && track.error) {
      track.error = null;
      this.#host.emit('trackupdated', { participant, track });
    }
    this.#host.emit('track', { participant, track, mediaStreamTrack });
  }
}
