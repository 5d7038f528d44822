"""A WHIP and a WHEP client that are nobody's browser: Python's aiortc."""

import asyncio
import time

import pytest

from clients import BRIGHT, DARK, Publisher, Viewer
from server import Server


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running
        print(running.read_log())


def run(scenario):
    """No scenario may hang."""
    asyncio.run(asyncio.wait_for(scenario, 60))


def assert_seen(halves):
    """Both pictures that the publisher sends, as bright and as dark as they were sent."""
    close = lambda seen, sent: abs(seen - sent) < 25
    first = [pair for pair in halves if close(pair[0], BRIGHT) and close(pair[1], DARK)]
    second = [pair for pair in halves if close(pair[0], DARK) and close(pair[1], BRIGHT)]
    assert first and second, halves
    assert len(first) + len(second) >= len(halves) * 3 / 4, halves


async def until(what, condition, within=5.0):
    end = time.monotonic() + within
    while not (value := await asyncio.to_thread(condition)):
        assert time.monotonic() < end, f"waited {within} s for {what}"
        await asyncio.sleep(0.05)
    return value


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_what_is_published_is_seen_and_heard(server, codec):
    async def scenario():
        publisher, viewer = Publisher(server, codec), Viewer(server)
        try:
            await publisher.post(f"/whip/aiortc-{codec}/studio")
            await viewer.post(f"/whep/aiortc-{codec}/studio")
            assert_seen(await viewer.halves(30, within=15))
            assert await viewer.loudest(50, within=10) > 3_000
        finally:
            statuses = [(await client.delete())[0] for client in (publisher, viewer)]
        assert statuses == [200, 200], statuses

    run(scenario())


def test_a_viewer_that_comes_first_starts_when_the_publisher_comes(server):
    async def scenario():
        publisher, viewer = Publisher(server, "VP8"), Viewer(server)
        try:
            await viewer.post("/whep/early")
            await until("the viewer to be connected", lambda: viewer.connection.connectionState == "connected", 10)
            await publisher.post("/whip/early")
            assert_seen(await viewer.halves(30, within=15))
        finally:
            await viewer.delete()
            await publisher.delete()

    run(scenario())


def test_a_deleted_publisher_is_gone_and_another_takes_its_place(server):
    async def scenario():
        viewer = Viewer(server)
        first, second = Publisher(server, "VP8"), Publisher(server, "VP8")
        try:
            await first.post("/whip/relay/anchor")
            await viewer.post("/whep/relay/anchor")
            assert_seen(await viewer.halves(20, within=15))
            assert (await first.delete())[0] == 200
            status, _, _ = await asyncio.to_thread(server.request, "DELETE", first.location)
            assert status == 404, "the resource is gone"
            sent_before = first.video.sent
            await second.post("/whip/relay/anchor")
            # What was on its way from the first is not what the second is judged by.
            await viewer.halves(20, within=15)
            assert_seen(await viewer.halves(30, within=15))
            assert first.video.sent <= sent_before + 1
        finally:
            await viewer.delete()
            await second.delete()

    run(scenario())


def test_the_room_goes_with_the_last_one(server):
    async def scenario():
        publisher = Publisher(server, "VP8")
        await publisher.post("/whip/ends/only")
        await until("the room to be listed", lambda: "ends" in str(server.rooms()))
        await publisher.delete()
        await until("the room to be gone", lambda: "ends" not in str(server.rooms()))

    run(scenario())
