"""A WHIP publisher and a WHEP viewer on aiortc, with pictures and a tone that can be recognised."""

import asyncio
import fractions
import math
import urllib.parse

import aioice.ice
import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcconfiguration import RTCBundlePolicy
from aiortc.rtcrtpsender import RTCRtpSender

# Only loopback: aioice leaves it out by itself, and takes every other address of the machine.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

WIDTH, HEIGHT, FPS = 320, 180, 15
BRIGHT, DARK = 200, 50
RATE, TONE_HZ = 48_000, 440


class Halves(MediaStreamTrack):
    """A picture with a bright and a dark half, which change places every few frames."""

    kind = "video"
    sent = 0

    async def recv(self):
        await pace(self, self.sent / FPS)
        left, right = (BRIGHT, DARK) if self.sent // 5 % 2 == 0 else (DARK, BRIGHT)
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        luma, *chroma = frame.planes
        rest = luma.line_size - WIDTH
        row = bytes([left]) * (WIDTH // 2) + bytes([right]) * (WIDTH // 2) + bytes(rest)
        luma.update(row * HEIGHT)
        for plane in chroma:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts = self.sent * 90_000 // FPS
        frame.time_base = fractions.Fraction(1, 90_000)
        self.sent += 1
        return frame


class Tone(MediaStreamTrack):
    """A sine."""

    kind = "audio"
    sent = 0

    async def recv(self):
        samples = RATE // 50
        await pace(self, self.sent / RATE)
        frame = av.AudioFrame(format="s16", layout="mono", samples=samples)
        frame.planes[0].update(
            b"".join(
                int(10_000 * math.sin(2 * math.pi * TONE_HZ * (self.sent + i) / RATE)).to_bytes(2, "little", signed=True)
                for i in range(samples)
            )
        )
        frame.pts = self.sent
        frame.sample_rate = RATE
        frame.time_base = fractions.Fraction(1, RATE)
        self.sent += samples
        return frame


async def pace(track, seconds):
    """Until `seconds` after the first frame; a track that was stopped ends here."""
    if track.readyState != "live":
        raise MediaStreamError
    loop = asyncio.get_running_loop()
    track.start = getattr(track, "start", loop.time())
    await asyncio.sleep(max(0, track.start + seconds - loop.time()))


class Client:
    """What WHIP and WHEP have in common (RFC 9725 §4)."""

    def __init__(self, server):
        self.server = server
        self.connection = RTCPeerConnection(RTCConfiguration(bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))

    async def post(self, path):
        await self.connection.setLocalDescription(await self.connection.createOffer())
        status, headers, body = await asyncio.to_thread(
            self.server.request,
            "POST",
            path,
            self.connection.localDescription.sdp,
            {"Content-Type": "application/sdp"},
        )
        assert status == 201, (status, body)
        assert headers["Content-Type"] == "application/sdp", headers["Content-Type"]
        self.location = urllib.parse.urljoin(self.server.url + path, headers["Location"])
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp=body, type="answer"))

    async def delete(self):
        status, _, body = await asyncio.to_thread(self.server.request, "DELETE", self.location)
        await self.connection.close()
        return status, body


class Publisher(Client):
    def __init__(self, server, codec):
        super().__init__(server)
        self.video, self.audio = Halves(), Tone()
        self.connection.addTransceiver(self.audio, direction="sendonly")
        line = self.connection.addTransceiver(self.video, direction="sendonly")
        line.setCodecPreferences(codec_first(codec))


class Viewer(Client):
    def __init__(self, server):
        super().__init__(server)
        self.tracks = {}
        self.connection.on("track", lambda track: self.tracks.__setitem__(track.kind, track))
        self.connection.addTransceiver("audio", direction="recvonly")
        self.connection.addTransceiver("video", direction="recvonly")

    async def halves(self, count, within):
        """The next `count` pictures, as the mean luma of their left and right halves."""

        async def read():
            return [measure(await self.tracks["video"].recv()) for _ in range(count)]

        return await asyncio.wait_for(read(), within)

    async def loudest(self, count, within):
        """The loudest sample in the next `count` frames of sound."""

        async def read():
            frames = [await self.tracks["audio"].recv() for _ in range(count)]
            return max(max(abs(s) for s in memoryview(frame.planes[0]).cast("h")) for frame in frames)

        return await asyncio.wait_for(read(), within)


def codec_first(name):
    codecs = RTCRtpSender.getCapabilities("video").codecs
    return [c for c in codecs if c.mimeType in (f"video/{name}", "video/rtx")]


def measure(frame):
    assert (frame.width, frame.height) == (WIDTH, HEIGHT)
    plane = frame.reformat(format="yuv420p").planes[0]
    rows = memoryview(plane)
    left = right = 0
    lines = range(10, HEIGHT - 10, 20)
    for line in lines:
        row = rows[line * plane.line_size : line * plane.line_size + WIDTH]
        left += sum(row[20:140]) / 120
        right += sum(row[180:300]) / 120
    return left / len(lines), right / len(lines)
