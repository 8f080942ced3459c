"""100,000 malformed frames against a live server: it stays up, serves its other clients, and its memory stays flat.

A frame that ends its connection can be followed by no other, and a TLS handshake costs a millisecond. So each frame
gets a fresh connection object fed by hand, and a sample of every sort a fresh TLS connection to a live manager.
"""

import asyncio
import contextlib
import gc
import logging
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from common.errors import ProtocolError
from common.model import TaskState, TaskStatus
from common.model.node import NodeDescription
from common.tls import client_context
from common.wire.channel import Channel, ChannelClosed
from common.wire.client import open_session
from common.wire.codec import MESSAGE_TYPES, encode
from common.wire.messages import (
    PROTOCOL_VERSION,
    Heartbeat,
    HeartbeatAck,
    Hello,
    RegistryAuth,
    StatusReport,
    TaskReport,
)
from common.wire.server import FIRST_FRAME_BYTES, Server, dial
from common.wire.stream import StreamChannel
from tests.fakes.certificates import Pki
from tests.fakes.dispatching_tls import served_dispatcher
from tests.fakes.manual_transport import ManualTransport

FRAMES = 100_000
CONNECTIONS = 300

HELLO = Hello(protocol=PROTOCOL_VERSION, description=NodeDescription(hostname="alpha"))
REPORT = StatusReport(tasks=(TaskReport(task_id="t1", status=TaskStatus(state=TaskState.RUNNING, message="x" * 40)),))
GOOD = [encode(message, 7) for message in (HELLO, REPORT, RegistryAuth(service_id="s", auth="a" * 100))]
KINDS = [kind.KIND for kind in MESSAGE_TYPES]
# What integers of more than a byte begin with in msgpack.
LONGER_INTEGERS = range(0xCC, 0xD4)
UNKNOWN = [kind for kind in range(200) if kind not in KINDS]


def noise(rng: random.Random) -> bytes:
    """Noise that does not begin as a message does: one without fields has three bytes, which chance finds."""
    kind = rng.choice([byte for byte in range(256) if byte not in (*KINDS, *LONGER_INTEGERS)])
    return bytes([0x93, kind]) + rng.randbytes(rng.randrange(80)) + b"\xc1"


def wrong_start(rng: random.Random) -> bytes:
    return bytes([rng.choice([b for b in range(256) if b != 0x93])]) + rng.randbytes(rng.randrange(30))


def unknown_kind(rng: random.Random) -> bytes:
    return msgspec.msgpack.encode((rng.choice(UNKNOWN), 0, {}))


def wrong_body(rng: random.Random) -> bytes:
    body = rng.choice([[], "text", 5, None, {"no such field": 1}, {"tasks": 5}, {"protocol": "one"}, {1: 2}])
    return msgspec.msgpack.encode((rng.choice([1, 10, 14, 17, 30]), 0, body))


def wrong_number(rng: random.Random) -> bytes:
    return msgspec.msgpack.encode((12, rng.choice([-1, 1.5, "7", None, 2**64 - 1]), {}))


def nested(rng: random.Random) -> bytes:
    return b"\x93\x0c\x00" + rng.choice([b"\x91", b"\x81\xa1a"]) * rng.randrange(600, 2000)


def oversize(rng: random.Random) -> bytes:
    """Announce up to 4 GiB and send what passes the limit."""
    head = b"\x93\x0c\x00" + rng.choice([b"\xdb", b"\xc6"]) + rng.randrange(2**20, 2**32).to_bytes(4)
    return head + bytes(FIRST_FRAME_BYTES)


def damaged(rng: random.Random) -> bytes:
    """A good frame whose body's map was cut out and replaced by noise that no struct is made of."""
    frame = bytearray(rng.choice(GOOD))
    frame[3] = rng.choice([0xC1, 0xC0, 0x90, 0x05, 0xA1])
    return bytes(frame) + b"\xc1"


SORTS: list[Callable[[random.Random], bytes]] = [
    noise,
    wrong_start,
    unknown_kind,
    wrong_body,
    wrong_number,
    nested,
    oversize,
    damaged,
]


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Logging 100,000 refusals is another test's business."""
    caplog.set_level(logging.CRITICAL, logger="common.wire")


@pytest.mark.usefixtures("quiet")
async def test_malformed_frames_end_their_connection_and_leave_nothing() -> None:
    rng = random.Random(20)
    opened: list[StreamChannel] = []
    ended = {True: 0, False: 0}

    async def one(frame: bytes) -> None:
        channel = StreamChannel(opened.append, FIRST_FRAME_BYTES)
        wire = ManualTransport()
        channel.connection_made(wire)
        for begin in range(0, len(frame), 16384):
            if not wire.aborted:
                channel.data_received(frame[begin : begin + 16384])
        channel.connection_lost(None)
        with pytest.raises((ProtocolError, ChannelClosed)) as caught:
            await channel.receive()
        opened.clear()
        ended[caught.type is ProtocolError] += 1

    sample = [sort(rng) for sort in SORTS for _ in range(50)]
    for frame in sample:
        await one(frame)
    gc.collect()
    tracemalloc.start(1)
    try:
        before, _ = tracemalloc.get_traced_memory()
        for frame in sample:
            await one(frame)
        gc.collect()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 64 * 1024  # 400 connections of which nothing is left
    assert peak - before < 2 * 1024 * 1024  # one connection at a time, each bounded
    for number in range(FRAMES - 2 * len(sample)):
        await one(SORTS[number % len(SORTS)](rng))
    # Noise may look like the beginning of a frame whose rest never came; everything else is refused on sight.
    assert ended[True] + ended[False] == FRAMES
    assert ended[True] > FRAMES * (len(SORTS) - 1) / len(SORTS)


async def beat(channel: Channel, count: int) -> None:
    for number in range(count):
        await channel.send(Heartbeat(), number)
        while not isinstance((await channel.receive()).message, HeartbeatAck):
            pass


async def keep_beating(channel: Channel, period: float) -> None:
    """Be alive as a worker is: attackers are slowed, and then each of them takes longer than a period."""
    while True:
        await beat(channel, 1)
        await asyncio.sleep(period)


async def attack(server: Server, pki: Pki, rng: random.Random, sort: Callable[[random.Random], bytes]) -> None:
    context = client_context(pki.files("n2", serial="7"))
    channel = await dial("127.0.0.1", server.port, context)
    assert channel._transport is not None
    if rng.random() < 0.5:
        await channel.send(HELLO, 1)
    channel._flush()
    channel._transport.write(sort(rng))
    with contextlib.suppress(ChannelClosed, TimeoutError):
        async with asyncio.timeout(0.1):
            while True:
                await channel.receive()
    await channel.close()


@pytest.mark.usefixtures("quiet")
async def test_malformed_frames_do_not_disturb_a_live_manager(tmp_path: Path) -> None:
    rng = random.Random(21)
    pki = Pki(tmp_path)
    async with served_dispatcher(pki) as (dispatcher, server):
        good, welcome = await open_session("127.0.0.1", server.port, pki.worker("n1", serial="7"), HELLO)
        alive = asyncio.create_task(keep_beating(good, welcome.heartbeat))
        for number in range(CONNECTIONS):
            await attack(server, pki, rng, SORTS[number % len(SORTS)])
        alive.cancel()
        with pytest.raises(asyncio.CancelledError):  # and nothing else has ended it
            await alive
        while server.connections > 1:  # the last attacker's goes as its handler ends
            await asyncio.sleep(0.01)
        assert list(dispatcher.connected) == ["n1"]
        await good.close()
