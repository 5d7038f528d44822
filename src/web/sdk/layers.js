// Layers: in which sizes and rates a picture is sent, so that each viewer gets what suits them.

/** What a picture of that height is sent in at most, from the smallest on. */
const LADDER = [
  { rid: 'l', height: 180, maxBitrate: 180_000 },
  { rid: 'm', height: 360, maxBitrate: 600_000 },
  { rid: 'h', height: 720, maxBitrate: 2_000_000 },
];
/** Each size is half the next one's; below this height no smaller one is worth its bits. */
const HEIGHT_MIN = 150;
/** Frame rates in one stream: full, a half, a quarter. */
const FRAME_RATES = 'L1T3';
/** Codecs that can; H.264 cannot in any browser. */
const FRAME_RATES_OF = new Set(['vp8', 'vp9', 'av1']);
/** Codecs that carry sizes and frame rates in one stream. */
const SCALABLE = { vp9: 'L3T3_KEY', av1: 'L3T3_KEY' };
/** An encoding is not sent at less than this share of its bits. */
const WORTH_MIN = 0.4;
/** A window's text needs its size; only its frame rate may be lowered. */
const SCREEN = { maxBitrate: 2_500_000, maxFramerate: 15, scalabilityMode: FRAME_RATES };

/** A picture may be enlarged so far before the next larger one is of use; the server thinks so too. */
const ENLARGED_MAX = 1.25;

const known = new Map();

/** Whether the browser sends layers so. It says it nowhere but where it is asked to. */
function canSend(mode) {
  if (!known.has(mode)) known.set(mode, asksFor(mode));
  return known.get(mode);
}

function asksFor(mode) {
  const pc = new RTCPeerConnection();
  try {
    const { sender } = pc.addTransceiver('video', { sendEncodings: [{ scalabilityMode: mode }] });
    return sender.getParameters().encodings?.[0]?.scalabilityMode === mode;
  } catch {
    return false;
  } finally {
    pc.close();
  }
}

/** Whether somebody has use for an encoding: of those that are smaller none covers what is asked for. */
export function isOfUse(encodings, at, { width = 0, height = 0 }, demand) {
  if (!demand.width || !demand.height) return false;
  const by = (encoding) => encoding.scaleResolutionDownBy ?? 1;
  const covers = (encoding) => (width / by(encoding)) * ENLARGED_MAX >= demand.width
    && (height / by(encoding)) * ENLARGED_MAX >= demand.height;
  return !encodings.some((encoding) => by(encoding) > by(encodings[at]) && covers(encoding));
}

/** The same encodings with no more than `limit` bit/s in all: what is left of it for the last, and
 *  none that would be a shadow of itself. */
function within(encodings, limit) {
  let left = limit ?? Infinity;
  return encodings.map((encoding) => {
    const maxBitrate = Math.min(encoding.maxBitrate, left);
    left -= maxBitrate;
    return { ...encoding, maxBitrate, worth: maxBitrate / encoding.maxBitrate };
  }).filter(({ worth }, at) => at === 0 || worth >= WORTH_MIN)
    .map(({ worth, ...encoding }) => encoding);
}

/** `sendEncodings` for a picture: of several sizes, or of one that has layers inside; within the
 *  server's `limits`. */
export function encodingsFor(source, track, codec, limits = {}) {
  const limit = source === 'screen' ? limits.screen_bitrate : limits.camera_bitrate;
  return within(allEncodingsFor(source, track, codec), limit);
}

function allEncodingsFor(source, track, codec) {
  if (source === 'screen') return [SCREEN];
  const settings = track?.getSettings?.() ?? {};
  const sides = [settings.width, settings.height].filter(Boolean);
  const height = sides.length ? Math.min(...sides) : LADDER.at(-1).height;
  const inside = SCALABLE[codec];
  if (inside && canSend(inside)) {
    return [{ maxBitrate: LADDER.at(-1).maxBitrate, scalabilityMode: inside }];
  }
  const sizes = LADDER.map((step, at) => ({ ...step, by: 2 ** (LADDER.length - 1 - at) }))
    .filter(({ by }) => by === 1 || height / by >= HEIGHT_MIN);
  return sizes.map(({ rid, maxBitrate, by }) => ({
    rid,
    maxBitrate,
    scaleResolutionDownBy: by,
    ...(FRAME_RATES_OF.has(codec) && canSend(FRAME_RATES) && { scalabilityMode: FRAME_RATES }),
  }));
}
