// Session descriptions and the codecs in them: what we offer, and what is read from both sides.

/** What a slot offers to receive: what the server forwards, and nothing else, so that an m-line
 *  stays small. */
export function receivable(codec) {
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

export function prefer(transceiver, choose) {
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
export function codecFirst(codecs, name) {
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

export const sections = (sdp) => sdp.split(/\r?\nm=/).slice(1);
const midOf = (section) => section.match(/\na=mid:(\S+)/)?.[1];

/** The mids on which a description of ours sends. */
export const sendingMids = (sdp) => new Set(sections(sdp)
  .filter((section) => /\na=send(only|recv)\b/.test(section)).map(midOf));

/** The description without what is said of payload types that are not there: Firefox leaves the
 *  `rtcp-fb` lines of codecs that `setCodecPreferences` took out, which others refuse. */
export function withoutOrphans(sdp) {
  let types = new Set();
  return sdp.split(/(?<=\n)/).filter((line) => {
    if (line.startsWith('m=')) types = new Set(line.trim().split(' ').slice(3));
    const about = line.match(/^a=(?:rtcp-fb|fmtp|rtpmap):(\d+) /)?.[1];
    return about === undefined || types.has(about);
  }).join('');
}

/** `address:port` of every UDP candidate in a description or a candidate line. */
export const udpAddresses = (text) => [...text.matchAll(/candidate:\S+ \d+ udp \d+ (\S+) (\d+) /gi)]
  .map(([, ip, port]) => ({ ip, port: Number(port) }));
