// Wants: how large each picture of others is shown here, so that no more of it is sent.

/** Between two looks at the page: what shows which track, and how large. */
const LOOK_MS = 250;
/** A page may be out of sight for so long before its pictures stop. */
const HIDDEN_MS = 3_000;
/** A size is said anew when it differs by more, or when a picture comes or goes. */
const SIZE_STEP = 0.1;
/** Until a picture was shown, its place may have no size yet: then the smallest is wanted. */
const SMALLEST = 16;
const SIZE_MAX = 65_535;
const ALL = { width: SIZE_MAX, height: SIZE_MAX };

const isNear = (a, b) => Math.abs(a - b) <= SIZE_STEP * b && (a === 0) === (b === 0);

/** Follows the page's `<video>` elements. What it needs of the room is in `host`: `participants`,
 *  `ready()`, `request()`, `send()`. */
export class Wants {
  #host;
  /** By track: what the application asked for, and what the server knows. */
  #asked = new Map();
  #said = new Map();
  /** By element: whether it is in sight. */
  #seen = new Map();
  /** When each track got its slot, until its first picture is shown. */
  #seated = new Map();
  #inSight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) this.#seen.set(target, isIntersecting);
    this.look();
  }, { rootMargin: '10%' });
  #resized = new ResizeObserver(() => this.look());
  #hiddenSince = null;
  #timer = 0;
  #soon = 0;

  constructor(host) {
    this.#host = host;
  }

  start() {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.look(), LOOK_MS);
    document.addEventListener('visibilitychange', this.look);
  }

  stop() {
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    document.removeEventListener('visibilitychange', this.look);
    this.#inSight.disconnect();
    this.#resized.disconnect();
    this.#seen.clear();
  }

  /** The server knows nothing of what was said before. */
  forget() {
    this.#said.clear();
  }

  /** What the application asks for beyond what the page shows. */
  ask(trackId, { pinned = false, paused = false, maxFps = null }) {
    this.#asked.set(trackId, { pinned, paused, maxFps });
    this.look();
  }

  /** A track sits in a slot now, or in none. */
  placed(track) {
    if (track.kind !== 'video') return;
    if (track.mediaStreamTrack) this.#seated.set(track.id, performance.now());
    else this.#seated.delete(track.id);
    // After whoever is told of it has shown it.
    clearTimeout(this.#soon);
    this.#soon = setTimeout(this.look);
  }

  dropped(track) {
    for (const map of [this.#asked, this.#said, this.#seated]) map.delete(track.id);
  }

  look = () => {
    const shows = this.#elements();
    const changed = [];
    for (const { tracks } of this.#host.participants.values()) {
      for (const track of tracks.values()) {
        if (track.kind !== 'video') continue;
        const want = this.#want(track, shows.get(track.mediaStreamTrack) ?? []);
        if (want && this.#isNews(track.id, want)) changed.push([track.id, want]);
      }
    }
    if (changed.length && this.#host.ready()) this.#say(changed);
  };

  /** The page's video elements by what they show. */
  #elements() {
    const shows = new Map();
    const there = new Set();
    for (const element of document.querySelectorAll('video')) {
      const media = element.srcObject instanceof MediaStream && element.srcObject.getVideoTracks()[0];
      if (!media) continue;
      there.add(element);
      shows.set(media, [...(shows.get(media) ?? []), element]);
      if (this.#seen.has(element)) continue;
      this.#seen.set(element, true);
      this.#inSight.observe(element);
      this.#resized.observe(element);
    }
    for (const element of this.#seen.keys()) {
      if (there.has(element)) continue;
      this.#seen.delete(element);
      this.#inSight.unobserve(element);
      this.#resized.unobserve(element);
    }
    return shows;
  }

  /** What is wanted of a track that these elements show; `null`: as before. */
  #want(track, elements) {
    const asked = this.#asked.get(track.id);
    // Whoever shows it in a way that is not seen from here gets all of it.
    let size = ALL;
    if (elements.length) {
      size = { width: 0, height: 0 };
      for (const element of elements) {
        this.#awaitFrame(track, element);
        const { width, height } = this.#size(track, element) ?? this.#said.get(track.id) ?? ALL;
        size = { width: Math.max(size.width, width), height: Math.max(size.height, height) };
      }
      if (this.#isHidden()) size = { width: 0, height: 0 };
    } else if (!track.mediaStreamTrack) {
      // In no slot: what was said holds, but what the application asks may get it one.
      if (!asked && !this.#said.has(track.id)) return null;
      size = this.#said.get(track.id) ?? ALL;
    }
    return {
      width: size.width,
      height: size.height,
      ...(asked?.pinned && { pinned: true }),
      ...(asked?.paused && { paused: true }),
      ...(asked?.maxFps && { max_fps: asked.maxFps }),
    };
  }

  /** An element's size in physical pixels; `null` if it tells nothing. */
  #size(track, element) {
    if (document.pictureInPictureElement === element) return ALL;
    const { width, height } = element.getBoundingClientRect();
    const scale = globalThis.devicePixelRatio || 1;
    if (width > 0 && height > 0) {
      if (!this.#seen.get(element)) return { width: 0, height: 0 };
      const whole = (side) => Math.min(SIZE_MAX, Math.ceil(side * scale));
      return { width: whole(width), height: whole(height) };
    }
    // The server paused it, and the page hides it for that: that must not keep it paused.
    if (track.quality?.paused && track.quality.cause !== 'paused_by_viewer') return null;
    const side = element.videoWidth ? 0 : SMALLEST;
    return { width: side, height: side };
  }

  #isHidden() {
    if (document.visibilityState === 'visible' || document.pictureInPictureElement) {
      this.#hiddenSince = null;
      return false;
    }
    this.#hiddenSince ??= performance.now();
    return performance.now() - this.#hiddenSince >= HIDDEN_MS;
  }

  #isNews(id, want) {
    const { width, height, pinned, paused, max_fps: fps } = this.#said.get(id) ?? ALL;
    return !isNear(want.width, width) || !isNear(want.height, height)
      || want.pinned !== pinned || want.paused !== paused || want.max_fps !== fps;
  }

  #say(changed) {
    for (const [id, want] of changed) this.#said.set(id, want);
    const tracks = changed.map(([track, want]) => ({ track, ...want }));
    this.#host.request({ type: 'want', tracks }).catch(() => {
      // Once more with the next look.
      for (const [id, want] of changed) if (this.#said.get(id) === want) this.#said.delete(id);
    });
  }

  /** Tells the server how long a track's first picture took. */
  #awaitFrame(track, element) {
    const since = this.#seated.get(track.id);
    if (since === undefined) return;
    this.#seated.delete(track.id);
    const media = track.mediaStreamTrack;
    const shown = () => {
      if (track.mediaStreamTrack !== media) return;
      const ms = Math.round(performance.now() - since);
      this.#host.send({ type: 'rendered', track: track.id, ms });
    };
    if (element.requestVideoFrameCallback) element.requestVideoFrameCallback(shown);
    else element.addEventListener('loadeddata', shown, { once: true });
  }
}
