// Runs in every page before the page's own scripts: how a test looks at pictures, sound and
// connections, and a WHIP and a WHEP client of its own that know nothing of Trackyard's SDK.

globalThis.probe = (() => {
  const still = document.createElement('canvas');
  const pen = () => still.getContext('2d', { willReadFrequently: true });

  /** Milliseconds on a clock that all pages and the test share. */
  const now = () => performance.timeOrigin + performance.now();

  /** What a video shows now: its size, how bright, and a fingerprint of the picture. */
  function picture(selector) {
    const video = typeof selector === 'string' ? document.querySelector(selector) : selector;
    if (!video) return null;
    const { videoWidth: width, videoHeight: height } = video;
    if (!width) return { width, height, bright: 0, mean: 0, print: '' };
    still.width = 32;
    still.height = 18;
    const context = pen();
    context.drawImage(video, 0, 0, 32, 18);
    const { data } = context.getImageData(0, 0, 32, 18);
    let bright = 0;
    let sum = 0;
    let hash = 0;
    for (let i = 0; i < data.length; i += 4) {
      const light = Math.max(data[i], data[i + 1], data[i + 2]);
      bright = Math.max(bright, light);
      sum += light;
      hash = (Math.imul(hash, 31) + data[i] * 65_536 + data[i + 1] * 256 + data[i + 2]) | 0;
    }
    return { width, height, bright, mean: Math.round((sum * 4) / data.length), print: String(hash) };
  }

  /** What a peer connection sends and receives, and over which pair. */
  async function stats(pc) {
    const report = await pc.getStats();
    const all = [...report.values()];
    const codec = (id) => report.get(id)?.mimeType?.split('/')[1] ?? null;
    const pair = all.find((s) => s.type === 'candidate-pair' && (s.selected || (s.nominated && s.state === 'succeeded')));
    return {
      state: pc.connectionState,
      ice: pc.iceConnectionState,
      inbound: all.filter((s) => s.type === 'inbound-rtp').map((s) => ({
        mid: s.mid ?? null, kind: s.kind, ssrc: s.ssrc, codec: codec(s.codecId), packets: s.packetsReceived ?? 0,
        lost: s.packetsLost ?? 0, frames: s.framesDecoded ?? 0, received: s.framesReceived ?? 0,
        keyframes: s.keyFramesDecoded ?? null, width: s.frameWidth ?? 0, energy: s.totalAudioEnergy ?? null,
        level: s.audioLevel ?? null, plis: s.pliCount ?? 0, nacks: s.nackCount ?? 0, freezes: s.freezeCount ?? null,
      })),
      outbound: all.filter((s) => s.type === 'outbound-rtp').map((s) => ({
        mid: s.mid ?? null, kind: s.kind, codec: codec(s.codecId), packets: s.packetsSent ?? 0,
        frames: s.framesEncoded ?? 0, rid: s.rid ?? null, active: s.active ?? null, bytes: s.bytesSent ?? 0,
        sent: s.framesSent ?? 0, width: s.frameWidth ?? 0, plis: s.pliCount ?? 0,
        keyframes: s.keyFramesEncoded ?? null, encoder: s.encoderImplementation ?? null,
      })),
      remote: pair ? report.get(pair.remoteCandidateId) && {
        ip: report.get(pair.remoteCandidateId).address ?? report.get(pair.remoteCandidateId).ip,
        port: report.get(pair.remoteCandidateId).port,
        ufrag: report.get(pair.remoteCandidateId).usernameFragment ?? null,
      } : null,
    };
  }

  // Every track that a device gave, so that one can see that capture really stopped.
  const captured = [];
  const devices = navigator.mediaDevices;
  if (devices) {
    const ask = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (constraints) => {
      const stream = await ask(constraints);
      captured.push(...stream.getTracks());
      return stream;
    };
  }

  /**
   * A call of the page to itself: milliseconds until its own camera's first frame came through two
   * peer connections. No server is in it, so that is what the browser alone needs just now.
   */
  async function callItself() {
    const began = now();
    const ends = [new RTCPeerConnection(), new RTCPeerConnection()];
    const video = document.createElement('video');
    video.probed = true;
    let described;
    const both = new Promise((done) => { described = done; });
    try {
      ends.forEach((end, i) => end.addEventListener('icecandidate', async ({ candidate }) => {
        await both;
        if (candidate) await ends[1 - i].addIceCandidate(candidate);
      }));
      const shown = new Promise((done) => {
        ends[1].addEventListener('track', ({ track }) => {
          video.muted = true;
          video.srcObject = new MediaStream([track]);
          video.requestVideoFrameCallback(() => done(now()));
          video.play();
        });
      });
      // Painted like any other picture.
      document.body.append(video);
      ends[0].addTrack(captured.find((track) => track.kind === 'video' && track.readyState === 'live'));
      await ends[0].setLocalDescription();
      await ends[1].setRemoteDescription(ends[0].localDescription);
      await ends[1].setLocalDescription();
      await ends[0].setRemoteDescription(ends[1].localDescription);
      described();
      return (await shown) - began;
    } finally {
      video.remove();
      ends.forEach((end) => end.close());
    }
  }

  // When a person pressed what, and when each video showed its first frame.
  const pressed = {};
  const shown = [];
  addEventListener('click', (event) => {
    const control = event.target.closest?.('[data-testid]');
    if (control) pressed[control.dataset.testid] = now();
  }, true);
  addEventListener('submit', () => { pressed.submit = now(); }, true);
  function watch(video) {
    if (video.probed || !video.requestVideoFrameCallback) return;
    video.probed = true;
    video.requestVideoFrameCallback(() => {
      const tile = video.closest('[data-testid=tile]');
      shown.push({ at: now(), name: tile?.dataset.name ?? null, self: tile?.dataset.self ?? null });
    });
  }
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) {
      for (const node of addedNodes) {
        if (node instanceof HTMLVideoElement) watch(node);
        else node.querySelectorAll?.('video').forEach(watch);
      }
    }
  }).observe(document, { childList: true, subtree: true });

  /** All tiles as a person sees them, each with its picture. */
  function tiles() {
    return [...document.querySelectorAll('[data-testid=tile]')].filter((tile) => tile.checkVisibility()).map((tile) => {
      const video = tile.querySelector('video');
      const visible = video?.videoWidth > 0 && video.checkVisibility({ opacityProperty: true, visibilityProperty: true });
      return {
        participant: tile.dataset.participant,
        name: tile.dataset.name,
        source: tile.dataset.source,
        self: tile.hasAttribute('data-self') && tile.dataset.self !== 'false',
        picture: visible ? picture(video) : null,
        text: tile.innerText.replace(/\s+/g, ' ').trim().slice(0, 200),
      };
    });
  }

  // When tiles came and went, by the same clock.
  const history = [];
  let there = new Map();
  new MutationObserver(() => {
    const are = new Map([...document.querySelectorAll('[data-testid=tile]')]
      .map((tile) => [`${tile.dataset.participant}/${tile.dataset.source}`, tile.dataset.name]));
    for (const [key, name] of are) if (!there.has(key)) history.push({ at: now(), what: 'came', key, name });
    for (const [key, name] of there) if (!are.has(key)) history.push({ at: now(), what: 'went', key, name });
    there = are;
  }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ['data-participant', 'data-source'] });

  // WHIP (RFC 9725) and WHEP, as plainly as they can be.
  const sessions = [];

  async function negotiate(pc, url) {
    await pc.setLocalDescription();
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp' },
      body: pc.localDescription.sdp,
    });
    const body = await response.text();
    if (response.status !== 201) throw new Error(`${url}: ${response.status} ${body}`);
    await pc.setRemoteDescription({ type: 'answer', sdp: body });
    return { location: new URL(response.headers.get('location'), url).href, etag: response.headers.get('etag') };
  }

  const credential = (sdp, name) => sdp.match(new RegExp(`^a=ice-${name}:(\\S+)`, 'm'))?.[1];

  async function patch({ location }, etag, lines) {
    const response = await fetch(location, {
      method: 'PATCH',
      headers: { 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': etag },
      body: lines.map((line) => `${line}\r\n`).join(''),
    });
    return { status: response.status, body: await response.text(), etag: response.headers.get('etag') };
  }

  /** The part of an SDP fragment that says which ICE session it is about. */
  function fragment({ sdp }) {
    return [
      `a=ice-ufrag:${credential(sdp, 'ufrag')}`, `a=ice-pwd:${credential(sdp, 'pwd')}`,
      `m=${sdp.match(/^m=(.*)$/m)[1].trim()}`, `a=mid:${sdp.match(/^a=mid:(\S+)/m)[1]}`,
    ];
  }

  /** Trickles a candidate and the end of candidates (RFC 9725 section 4.3.1); gives the status. */
  async function trickle(number) {
    const session = sessions[number];
    const candidates = session.pc.localDescription.sdp.match(/^a=candidate:.*$/m)?.[0].trim();
    const lines = [...fragment(session.pc.localDescription), ...(candidates ? [candidates] : []), 'a=end-of-candidates'];
    return (await patch(session, session.etag, lines)).status;
  }

  /** Restarts ICE (RFC 9725 section 4.3.3); gives the server's ufrag before and after. */
  async function restart(number) {
    const session = sessions[number];
    const { pc } = session;
    const before = pc.remoteDescription.sdp;
    pc.restartIce();
    await pc.setLocalDescription();
    const { status, body, etag } = await patch(session, '*', fragment(pc.localDescription));
    if (status !== 200) throw new Error(`PATCH: ${status} ${body}`);
    const sdp = before
      .replace(/^a=ice-ufrag:.*$/gm, `a=ice-ufrag:${credential(body, 'ufrag')}`)
      .replace(/^a=ice-pwd:.*$/gm, `a=ice-pwd:${credential(body, 'pwd')}`);
    await pc.setRemoteDescription({ type: 'answer', sdp });
    const stale = (await patch(session, session.etag, fragment(pc.localDescription))).status;
    session.etag = etag;
    return { ufrags: [credential(before, 'ufrag'), credential(body, 'ufrag')], stale };
  }

  const codecsOf = (kind, name) => RTCRtpReceiver.getCapabilities(kind).codecs
    .filter((codec) => [name, 'rtx'].some((it) => codec.mimeType.toLowerCase() === `${kind}/${it}`.toLowerCase()));

  /** Sends the fake camera and microphone to `url` in one codec; gives the session's number. */
  async function publish({ url, codec, width = 320, height = 180 }) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width, height } });
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    for (const track of stream.getTracks()) {
      const line = pc.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
      if (track.kind === 'video' && codec) line.setCodecPreferences(codecsOf('video', codec));
    }
    return sessions.push({ pc, stream, ...(await negotiate(pc, url)) }) - 1;
  }

  /** Receives one audio and one video from `url` and shows it; gives the session's number. */
  async function view({ url, codec }) {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const video = document.createElement('video');
    video.autoplay = true;
    video.playsInline = true;
    const stream = new MediaStream();
    video.srcObject = stream;
    document.body.append(video);
    pc.ontrack = ({ track }) => stream.addTrack(track);
    pc.addTransceiver('audio', { direction: 'recvonly' });
    const line = pc.addTransceiver('video', { direction: 'recvonly' });
    if (codec) line.setCodecPreferences(codecsOf('video', codec));
    return sessions.push({ pc, video, ...(await negotiate(pc, url)) }) - 1;
  }

  async function end(number) {
    const { pc, stream, video, location } = sessions[number];
    const { status } = await fetch(location, { method: 'DELETE' });
    pc.close();
    stream?.getTracks().forEach((track) => track.stop());
    video?.remove();
    return status;
  }

  return {
    now, picture, stats, tiles, callItself, history, captured, pressed, shown, sessions, publish, view, trickle, restart,
    end,
  };
})();
