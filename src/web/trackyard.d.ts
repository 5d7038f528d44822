/**
 * The browser SDK of a Trackyard server.
 *
 * ```js
 * import { join } from 'https://meet.example:8443/trackyard.js';
 *
 * const room = await join({ room: 'standup', name: 'Ada' });
 * room.addEventListener('track', ({ detail: { participant, track, mediaStreamTrack } }) => {
 *   // Show it, or stop showing it when mediaStreamTrack is null.
 * });
 * await room.setMicrophone(true);
 * await room.setCamera(true);
 * ```
 */

/** What a track shows or sounds like. */
export type Source = 'camera' | 'microphone' | 'screen' | 'screen_audio';

/** The sources that a device gives and that can be captured again after they were turned off. */
export type DeviceSource = 'camera' | 'microphone';

/** A video codec by its name in SDP. */
export type VideoCodec = 'vp8' | 'vp9' | 'h264' | 'av1';

/**
 * Where a room stands, from the WebSocket and from ICE and DTLS together.
 *
 * - `connecting`: not connected yet.
 * - `connected`: signalling and media both work.
 * - `reconnecting`: one of them broke and is being brought back. Media may go on meanwhile.
 * - `failed`: media does not get through; `room.failure` says why. It is still being tried, and
 *   `connected` may follow.
 * - `closed`: left, or ended for a reason in `room.failure`. Nothing follows.
 */
export type State = 'connecting' | 'connected' | 'reconnecting' | 'failed' | 'closed';

/** Codes of errors that are found on this side. */
export type LocalErrorCode =
  /** The person or the browser does not allow the device. */
  | 'camera_denied' | 'microphone_denied'
  /** There is no such device. */
  | 'no_camera' | 'no_microphone'
  /** The device is there and does not open. */
  | 'camera_busy' | 'microphone_busy'
  /** A device in use was unplugged or taken away; its source is muted now. */
  | 'device_lost'
  /** The person closed the browser's question what to share. */
  | 'screen_denied'
  /** Nothing can be shared. */
  | 'no_screen'
  /** The page is not on `https://` or `localhost`, so the browser gives it no devices. */
  | 'insecure_context'
  /** The browser lacks what is needed. */
  | 'unsupported'
  /** No WebSocket to the server. */
  | 'server_unreachable'
  /** The WebSocket broke while an answer was awaited. */
  | 'connection_lost'
  /** Signalling works and ICE does not: the message names the UDP port that must be open. */
  | 'udp_blocked'
  /** A session description was refused by the browser. */
  | 'negotiation_failed'
  /** More slots are needed than fit into one offer. */
  | 'too_many_tracks'
  /** `setMuted` for a source that is not published. */
  | 'not_published'
  /** The room was left. */
  | 'left';

/** Codes of errors that the server sends. */
export type ServerErrorCode =
  | 'bad_json' | 'bad_message' | 'unknown_type' | 'too_large' | 'not_joined' | 'already_joined'
  | 'bad_name' | 'session_gone' | 'room_full' | 'bad_sdp' | 'unknown_mid' | 'bad_candidate'
  | 'too_many_publishers' | 'server_busy' | 'rate_limited' | 'shutdown' | 'internal' | 'codec_unsupported';

/** An error with a stable code; `message` is a sentence for people, in English. */
export class TrackyardError extends Error {
  readonly code: LocalErrorCode | ServerErrorCode | (string & {});
  constructor(code: string, message: string, cause?: unknown);
}

export interface RoomOptions {
  /** The room's name, 1 to 64 characters. It is made when it does not exist. */
  room: string;
  /** One's own name as others see it, 1 to 64 characters. */
  name: string;
  /** The signalling address; default: `/signal` on the server this file came from. */
  url?: string | URL;
  /** A token, where the server wants one. */
  token?: string;
  /** Tracks to publish at once: video as camera, audio as microphone. */
  stream?: MediaStream;
  /** What to send video in when the server takes it; default `vp8`. */
  codec?: VideoCodec;
}

export interface PublishOptions {
  /** Default: `camera` or `microphone` by the track's kind. */
  source?: Source;
  /**
   * How to open the device again after muting stopped it: constraints, or a function that gives a
   * new track. `false`: muting leaves the track running and only sends nothing, and the track is
   * never stopped here. Default: the track's own constraints and device; `false` for the track of
   * a canvas and for screens.
   */
  recapture?: MediaTrackConstraints | (() => Promise<MediaStreamTrack>) | false;
}

/** What this client sends from one source. Read it; change it through the room. */
export interface Publication {
  readonly source: Source;
  readonly kind: 'audio' | 'video';
  /** The track's id in the room; `null` until it is negotiated. */
  readonly id: string | null;
  /** What is sent now; `null` while muted. */
  readonly mediaStreamTrack: MediaStreamTrack | null;
  readonly muted: boolean;
  /** Whether it is published; `false` once unpublished. */
  readonly live: boolean;
  /** The m-line's mid; `null` until it is negotiated. */
  readonly mid: string | null;
}

/** What another participant sends. */
export interface RemoteTrack {
  readonly id: string;
  readonly kind: 'audio' | 'video';
  readonly source: Source;
  /** Whether its sender turned it off. */
  readonly muted: boolean;
  /**
   * What to show or play; `null` while it sits in no slot. One MediaStreamTrack may show one track
   * now and another later: follow the `track` event.
   */
  readonly mediaStreamTrack: MediaStreamTrack | null;
  /** Why it cannot be shown here. */
  readonly error: TrackyardError | null;
  /** How its picture fares, as the server said last; `null` of sound, and while it sits in no slot. */
  readonly quality: Quality | null;
}

/** Why a picture is as it is: the one thing that would have to change first. */
export type Cause =
  /** It is all that this page has use for. */
  | 'ok'
  /** The publisher's line carries no more; its device encodes no more. */
  | 'publisher_uplink' | 'publisher_cpu'
  /** Our line would carry no more even of this alone; it would, but not of all that is shown. */
  | 'downlink' | 'allocator_limit'
  /** It is out of sight, or `want` paused it. */
  | 'paused_by_viewer'
  /** It begins with the next keyframe. */
  | 'waiting_keyframe'
  | 'codec_unsupported' | 'server_overload';

export interface Quality {
  readonly cause: Cause;
  /** Nothing of it comes for now: show something else than its last frame. */
  readonly paused: boolean;
}

/** How much a picture matters, beyond the size at which the page shows it. */
export interface PictureWants {
  /** It comes first where the line does not carry all, or slots are few. */
  pinned?: boolean;
  /** Nothing of it is to come for now. */
  paused?: boolean;
  /** As many frames a second as are of use. */
  maxFps?: number | null;
}

/** Somebody else in the room. */
export interface Participant {
  readonly id: string;
  readonly name: string;
  /** By track id. */
  readonly tracks: ReadonlyMap<string, RemoteTrack>;
  /** The first track of that source. */
  track(source: Source): RemoteTrack | undefined;
}

/** Events and what is in their `detail`. */
export interface RoomEventMap {
  /** Somebody is in the room. At the join, one for each who was there before. */
  participantjoined: CustomEvent<{ participant: Participant }>;
  /** Somebody is gone; their tracks were removed before. */
  participantleft: CustomEvent<{ participant: Participant; reason: 'left' | 'lost' | 'closed' }>;
  trackadded: CustomEvent<{ participant: Participant; track: RemoteTrack }>;
  trackremoved: CustomEvent<{ participant: Participant; track: RemoteTrack }>;
  /** `muted`, `source` or `error` changed. */
  trackupdated: CustomEvent<{ participant: Participant; track: RemoteTrack }>;
  /** The track cannot be shown here, such as for its codec. */
  trackerror: CustomEvent<{ participant: Participant; track: RemoteTrack; error: TrackyardError }>;
  /** What shows a track changed; `null`: nothing shows it any more. */
  track: CustomEvent<{
    participant: Participant;
    track: RemoteTrack;
    mediaStreamTrack: MediaStreamTrack | null;
  }>;
  /** Why a picture is as it is changed. */
  quality: CustomEvent<{ participant: Participant; track: RemoteTrack } & Quality>;
  /** Who speaks changed. */
  speakers: CustomEvent<{ dominant: Participant | Room['self']; speakers: (Participant | Room['self'])[] }>;
  /** Something of one's own was published, muted, captured anew or unpublished. */
  publication: CustomEvent<{ publication: Publication }>;
  state: CustomEvent<{ state: State; error: TrackyardError | null }>;
  /** Something went wrong and the room goes on. */
  error: CustomEvent<{ error: TrackyardError }>;
  /** The room is over: left (`null`) or ended for a reason. */
  closed: CustomEvent<{ error: TrackyardError | null }>;
}

/** One direction of one m-line, as `stats` gives it. Counts are since the peer connection began. */
export interface StreamStats {
  kind: 'audio' | 'video';
  mid: string | null;
  /** Such as `VP8`; `null` until something was sent. */
  codec: string | null;
  width: number;
  height: number;
  framesPerSecond: number;
  bytes: number;
  packets: number;
  /** Frames encoded or decoded. */
  frames: number;
  keyFrames: number;
}

export interface SentStats extends StreamStats {
  source: Source | null;
}

export interface ReceivedStats extends StreamStats {
  /** The id of the track that sits in this slot. */
  track: string | null;
  /** Packets lost, as RTCP counts them. */
  lost: number;
  /** `totalAudioEnergy` of the WebRTC statistics. */
  audioEnergy: number;
}

/** A small digest of `RTCPeerConnection.getStats()`. */
export interface RoomStats {
  /** Of the last ICE check. */
  roundTripMs: number | null;
  /** The chosen candidate pair, as `address:port`. */
  pair: { local: string | null; remote: string | null } | null;
  sent: SentStats[];
  received: ReceivedStats[];
}

/**
 * One's place in a room. It reconnects, resumes its session, restarts ICE and, when all else
 * fails, makes a new peer connection by itself; `state` tells.
 */
export class Room extends EventTarget {
  /** Connects nothing yet: add listeners, publish, then `join`. */
  constructor(options: RoomOptions);

  /** The room's name. */
  readonly name: string;
  /** Oneself; `null` before `join`. The id changes when a lost session is joined anew. */
  readonly self: { readonly id: string; readonly name: string } | null;
  /** Everybody else, by id. */
  readonly participants: ReadonlyMap<string, Participant>;
  readonly state: State;
  /** Why `state` is `failed` or `closed`. */
  readonly failure: TrackyardError | null;
  /** What is published now. */
  readonly publications: Publication[];
  /** For diagnosis; it is another one after a rebuild. */
  readonly pc: RTCPeerConnection | null;
  /** For diagnosis; it is another one after a reconnect, and `null` in between. */
  readonly ws: WebSocket | null;

  /**
   * Enters the room. Resolves once the server let us in; media connects afterwards. Rejects with
   * `server_unreachable`, `room_full`, `bad_name`, `server_busy` or `unsupported`, and the room is
   * closed then.
   */
  join(): Promise<this>;

  /** Leaves at once and stops every device that this room opened or may open again. */
  leave(): void;

  /**
   * Sends a track. One track for each source: another one takes the first one's place without
   * negotiation. Resolves once it is negotiated; before `join`, once it is noted.
   */
  publish(track: MediaStreamTrack, options?: PublishOptions): Promise<Publication>;

  /** No longer sends. The m-line is kept for the next time. */
  unpublish(what: Source | Publication): Promise<void>;

  /** What is published from a source, or `null`. */
  publication(source: Source): Publication | null;

  /**
   * Turns a published source off, which stops its device, or on, which opens it again, without
   * negotiation. Rejects with what the device says, or with `not_published`.
   */
  setMuted(source: Source, muted: boolean): Promise<void>;

  /** Turns the camera on, publishing it when it is not yet, or off, which stops it. */
  setCamera(on: boolean, constraints?: MediaTrackConstraints): Promise<void>;

  /** Turns the microphone on, publishing it when it is not yet, or off, which stops it. */
  setMicrophone(on: boolean, constraints?: MediaTrackConstraints): Promise<void>;

  /**
   * Asks the person what to share and sends it, with its sound where the browser has that. Rejects
   * with `screen_denied`, `no_screen` or `unsupported`. Ends also from the browser's own bar.
   */
  startScreenShare(options?: {
    audio?: boolean | MediaTrackConstraints;
    video?: boolean | MediaTrackConstraints;
  }): Promise<void>;

  stopScreenShare(): Promise<void>;

  /** How loud a received track is now, from 0 to 1; 0 when it sits in no slot. */
  level(trackId: string): number;

  /** Who has the word; `null` before anybody had it. It may be oneself. */
  readonly dominantSpeaker: Participant | Room['self'];
  /** All who speak now. */
  readonly speakers: (Participant | Room['self'])[];

  /**
   * Says how much a picture matters. At which size the page shows it need not be said: the SDK
   * follows the `<video>` elements that show it. Of a track that none shows, all is sent.
   */
  want(trackId: string, wants: PictureWants): void;

  /** Restarts ICE. The room does so by itself when it must. */
  restartIce(): Promise<void>;

  stats(): Promise<RoomStats>;

  addEventListener<K extends keyof RoomEventMap>(
    type: K,
    listener: ((this: Room, event: RoomEventMap[K]) => unknown) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof RoomEventMap>(
    type: K,
    listener: ((this: Room, event: RoomEventMap[K]) => unknown) | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** `new Room(options)`, joined. */
export function join(options: RoomOptions): Promise<Room>;

/**
 * Opens a camera, a microphone, or both with one question to the person, with the SDK's defaults
 * under the given constraints. Never rejects: what could not be opened is `null` and has an error.
 */
export function capture(wanted: {
  camera?: boolean | MediaTrackConstraints;
  microphone?: boolean | MediaTrackConstraints;
}): Promise<{
  camera: MediaStreamTrack | null;
  microphone: MediaStreamTrack | null;
  errors: Partial<Record<DeviceSource, TrackyardError>>;
}>;
