import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.aio.rate_limit import Rate
from common.errors import ProtocolError, Unauthenticated, Unavailable
from common.tls import MANAGER_NAME, client_context, server_context
from common.wire import admission
from common.wire.admission import Admission
from common.wire.channel import Channel, ChannelClosed, open_raw
from common.wire.codec import encode
from common.wire.messages import Heartbeat, HeartbeatAck, RegistryAuth, StatusAck, StreamHello
from common.wire.server import FIRST_FRAME_BYTES, Server, dial, serve
from common.wire.stream import INBOX_FRAMES, StreamChannel
from tests.fakes.certificates import Pki
from tests.fakes.loop_turns import turns
from tests.fakes.manual_transport import ManualTransport


class Echo:
    """Answers heartbeats, and remembers how its connections ended."""

    def __init__(self) -> None:
        self.ends: asyncio.Queue[BaseException | None] = asyncio.Queue()
        self.peers: list[str] = []

    async def __call__(self, channel: Channel) -> None:
        self.peers.append(str(channel.peer))
        try:
            while True:
                frame = await channel.receive()
                if isinstance(frame.message, StreamHello):
                    reader, writer = open_raw(channel)
                    while data := await reader.read(65536):
                        writer.write(data.upper())
                        await writer.drain()
                    writer.close()
                    return
                await channel.send(HeartbeatAck(), frame.id)
        except BaseException as error:
            self.ends.put_nowait(error)
            raise


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def server(pki: Pki, echo: Echo) -> AsyncIterator[Server]:
    async with await serve("127.0.0.1", 0, pki.server(), echo) as server:
        yield server


async def test_a_request_is_answered_with_its_number_to_a_known_peer(pki: Pki, server: Server, echo: Echo) -> None:
    channel = await dial("127.0.0.1", server.port, pki.worker("w7"))
    for number in range(1, 101):
        await channel.send(Heartbeat(), number)
    replies = [await channel.receive() for _ in range(100)]
    assert [reply.id for reply in replies] == list(range(1, 101))
    assert channel.peer.identity is not None
    assert channel.peer.identity.role == "swarm-manager"
    assert echo.peers == ["swarm-worker w7 at 127.0.0.1"]
    await channel.close()


async def test_a_flood_of_connections_leaves_others_their_turn(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is seen in full by those who bound it: each that was let in counts before the next is judged."""
    admission, judged = Admission(), []
    lets_in = admission.lets_in

    async with turns() as made:

        def judge(address: str, now: float) -> bool:
            judged.append((made(), admission._coming.total()))
            return len(judged) <= 20 and lets_in(address, now)

        monkeypatch.setattr(admission, "lets_in", judge)
        async with await serve("127.0.0.1", 0, pki.server(), Echo(), admission) as server:
            flood = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
            while len(judged) < 40:
                await asyncio.sleep(0)
            for each in flood:
                each.close()
    assert len({turn for turn, _ in judged}) == 40
    assert [begun for _, begun in judged[:21]] == list(range(21))


async def test_an_idle_channel_sends_at_once_and_a_busy_one_in_batches(pki: Pki, server: Server) -> None:
    channel = await dial("127.0.0.1", server.port, pki.worker())
    writes: list[bytes] = []
    transport = channel._transport
    assert transport is not None
    channel._transport = _Recording(transport, writes)  # type: ignore[assignment]
    await channel.send(Heartbeat(), 1)
    await asyncio.sleep(0)
    assert len(writes) == 1, "nothing more has to come for it to go"
    await channel.receive()
    for number in range(1000):
        await channel.send(Heartbeat(), number)
    await channel.receive()
    assert len(writes) == 2
    await channel.close()


class _Recording:
    def __init__(self, transport: asyncio.Transport, writes: list[bytes]) -> None:
        self._transport = transport
        self._writes = writes

    def write(self, data: bytes) -> None:
        self._writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)


async def test_the_far_end_hears_that_a_connection_was_closed(pki: Pki, server: Server, echo: Echo) -> None:
    channel = await dial("127.0.0.1", server.port, pki.worker())
    await channel.close("done")
    with pytest.raises(ChannelClosed, match="done"):
        await channel.send(Heartbeat())
    assert isinstance(await echo.ends.get(), ChannelClosed)


async def test_a_malformed_frame_ends_its_own_connection_only(
    pki: Pki, server: Server, echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    good = await dial("127.0.0.1", server.port, pki.worker("good"))
    bad = await dial("127.0.0.1", server.port, pki.worker("bad"))
    assert bad._transport is not None
    bad._transport.write(b"\x93\x7f\x00\x80")
    with pytest.raises(ChannelClosed):
        await bad.receive()
    assert isinstance(await echo.ends.get(), ProtocolError)
    assert "unknown kind of message: 127" in caplog.text
    assert "swarm-worker bad" in caplog.text
    await good.send(Heartbeat(), 3)
    assert (await good.receive()).id == 3
    await good.close()


async def test_a_strangers_first_frame_must_be_small(pki: Pki, server: Server, echo: Echo) -> None:
    channel = await dial("127.0.0.1", server.port, pki.worker())
    await channel.send(RegistryAuth(service_id="s", auth="x" * FIRST_FRAME_BYTES))
    assert isinstance(error := await echo.ends.get(), ProtocolError)
    assert "oversize" in error.message
    with pytest.raises(ChannelClosed):
        await channel.receive()


async def test_after_a_stream_hello_bytes_pass_bare_and_none_are_lost(pki: Pki, server: Server) -> None:
    channel = await dial("127.0.0.1", server.port, pki.worker())
    assert channel._transport is not None
    # Frame and first bytes in one write: they arrive together, before the server has detached.
    channel._transport.write(encode(StreamHello(stream_id="s1")) + b"\x93first ")
    reader, writer = open_raw(channel)
    data = b"second" * 200_000
    writer.write(data)
    received = await reader.readexactly(7 + len(data))
    assert received == (b"\x93first " + data).upper()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("half_close", [True, False])
@pytest.mark.parametrize("size", [0, 1_000, 3_000_000])
async def test_what_a_peer_said_before_it_closed_is_there(pki: Pki, size: int, half_close: bool) -> None:
    said: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def take(channel: StreamChannel) -> None:
        await channel.receive()
        await said
        if size < 10_000:  # more is held back
            await asyncio.wait([channel._closed])
        try:
            reader, writer = open_raw(channel)
            taken.set_result(await reader.read())
            writer.close()
        except Unavailable as error:
            taken.set_exception(error)

    async with await serve("127.0.0.1", 0, pki.server(), take) as server:  # type: ignore[arg-type]  # a StreamChannel
        channel = await dial("127.0.0.1", server.port, pki.worker())
        await channel.send(StreamHello(stream_id="s1", half_close=half_close))
        channel.half_close = half_close
        _, writer = open_raw(channel)
        writer.write(b"x" * size)
        writer.close()
        said.set_result(None)
        assert len(await taken) == size


class Full(asyncio.Protocol):
    """Wants no more after the first bytes that it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.pause_reading()


async def test_who_takes_the_stream_may_want_no_more_than_came_with_it(pki: Pki) -> None:
    full: asyncio.Future[Full] = asyncio.get_running_loop().create_future()

    async def take(channel: Channel) -> None:
        await channel.receive()
        protocol = Full()
        channel.detach(protocol)
        full.set_result(protocol)

    async with await serve("127.0.0.1", 0, pki.server(), take) as server:
        channel = await dial("127.0.0.1", server.port, pki.worker())
        assert channel._transport is not None
        channel._transport.write(encode(StreamHello(stream_id="s1")) + b"more than enough")
        taken = (await full).transport
        assert not taken.is_reading()
        taken.abort()
        await channel.close()


async def test_a_peer_that_reads_nothing_is_given_up(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.wire.stream.SEND_TIMEOUT", 0.2)
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def flood(channel: Channel) -> None:
        try:
            while True:
                await channel.send(RegistryAuth(service_id="s", auth="x" * 100_000))
        except ChannelClosed as error:
            ended.set_result(error.message)
            raise

    async with await serve("127.0.0.1", 0, pki.server(), flood) as server:
        channel = await dial("127.0.0.1", server.port, pki.worker())
        assert channel._transport is not None
        channel._transport.pause_reading()
        assert "read nothing for 0.2 s" in await ended
        await channel.close()


async def test_closing_serves_nobody_whose_handshake_was_under_way(pki: Pki) -> None:
    served, let_go = asyncio.Event(), asyncio.Event()

    async def reluctant(channel: Channel) -> None:
        served.set()
        try:
            await channel.receive()
        finally:
            await let_go.wait()

    server = await serve("127.0.0.1", 0, pki.server(), reluctant)
    first = await dial("127.0.0.1", server.port, pki.worker())
    await served.wait()
    reader, late = await asyncio.open_connection("127.0.0.1", server.port)
    closing = asyncio.create_task(server.close())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        with contextlib.suppress(OSError):
            await late.start_tls(pki.worker(), server_hostname=MANAGER_NAME)
            assert await reader.read() == b""
        let_go.set()
        await closing
    assert server.connections == 0
    late.close()
    await first.close()


async def test_an_address_with_only_failed_connections_is_locked_out(
    pki: Pki, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "FAILED_OF_ADDRESS", Rate(burst=10, per_second=0.001))
    async with await serve("127.0.0.1", 0, pki.server(), echo) as server:
        for _ in range(15):
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                await reader.read()
                writer.close()
        with pytest.raises(Unavailable):
            await dial("127.0.0.1", server.port, pki.worker())
        loop, opened = asyncio.get_running_loop(), asyncio.Event()
        await loop.create_connection(
            lambda: StreamChannel(lambda _: opened.set()),
            "127.0.0.1",
            server.port,
            ssl=pki.worker(),
            server_hostname=MANAGER_NAME,
            local_addr=("127.0.0.2", 0),
        )
        await opened.wait()


async def test_a_listener_on_all_addresses_is_reached_by_both_families(pki: Pki, echo: Echo) -> None:
    async with await serve(None, 0, pki.server(), echo) as server:
        for address in ("127.0.0.1", "::1"):
            channel = await dial(address, server.port, pki.worker("w1"))
            await channel.send(Heartbeat(), 1)
            await channel.receive()
            await channel.close()
    assert echo.peers == ["swarm-worker w1 at 127.0.0.1", "swarm-worker w1 at ::1"]


async def test_a_reader_that_falls_behind_holds_back_its_peer(pki: Pki) -> None:
    received = asyncio.Event()

    async def count(channel: Channel) -> None:
        await received.wait()
        for number in range(5000):
            assert (await channel.receive()).id == number
        await channel.send(StatusAck())

    async with await serve("127.0.0.1", 0, pki.server(), count) as server:
        channel = await dial("127.0.0.1", server.port, pki.worker())
        for number in range(5000):
            await channel.send(Heartbeat(), number)
        received.set()
        assert isinstance((await channel.receive()).message, StatusAck)
        await channel.close()


async def test_a_flood_of_small_messages_waits_in_its_original_bytes() -> None:
    channel = StreamChannel(lambda _: None)
    transport = ManualTransport()
    channel.connection_made(transport)
    channel.data_received(encode(Heartbeat()) * 60_000)
    assert len(channel._inbox) == INBOX_FRAMES
    assert transport.paused
    for _ in range(59_900):
        await channel.receive()
    assert transport.paused
    for _ in range(100):
        await channel.receive()
    assert not transport.paused
    assert channel.bytes_received == 240_000


async def test_unread_large_messages_hold_the_peer_back() -> None:
    channel = StreamChannel(lambda _: None)
    transport = ManualTransport()
    channel.connection_made(transport)
    frame = encode(RegistryAuth(service_id="s", auth="x" * 100_000))
    for _ in range(2):
        channel.data_received(frame)
        assert not transport.paused
    channel.data_received(frame)
    assert transport.paused
    await channel.receive()
    await channel.receive()
    assert not transport.paused


async def test_messages_before_a_malformed_one_are_still_heard() -> None:
    channel = StreamChannel(lambda _: None)
    transport = ManualTransport()
    channel.connection_made(transport)
    channel.data_received(encode(Heartbeat(), 1) + b"\x93\x0c\x02\x81\xa1x\x01" + encode(Heartbeat(), 3))
    assert (await channel.receive()).id == 1
    for _ in range(2):
        with pytest.raises(ProtocolError, match="malformed Heartbeat"):
            await channel.receive()
    assert transport.paused


async def test_only_expected_frames_are_read_and_large_ones_not_kept() -> None:
    channel = StreamChannel(lambda _: None)
    transport = ManualTransport()
    channel.connection_made(transport)
    channel.expect({Heartbeat.KIND: 20, RegistryAuth.KIND: 1000})
    channel.data_received(encode(RegistryAuth(service_id="s", auth="x" * 2000))[:1500])
    with pytest.raises(ProtocolError, match="oversize"):
        await channel.receive()
    assert transport.paused


async def test_a_manager_of_another_cluster_is_refused(pki: Pki, server: Server, tmp_path: Path) -> None:
    other = Pki(tmp_path, "cluster2")
    with pytest.raises(Unauthenticated, match="not a manager of this cluster"):
        await dial("127.0.0.1", server.port, other.worker())


async def test_a_worker_cannot_pose_as_a_manager(pki: Pki, echo: Echo) -> None:
    async with await serve("127.0.0.1", 0, server_context(pki.files("evil")), echo) as server:
        with pytest.raises(Unauthenticated, match="not a manager"):
            await dial("127.0.0.1", server.port, client_context(pki.files("w1")))


async def test_nobody_listening_is_said_in_words(pki: Pki, server: Server) -> None:
    port = server.port
    await server.close()
    with pytest.raises(Unavailable, match=f"cannot reach a manager at 127.0.0.1:{port}: Connection refused$"):
        await dial("127.0.0.1", port, pki.worker())


async def test_what_cannot_be_a_hosts_name_is_said_in_words(pki: Pki) -> None:
    with pytest.raises(Unavailable, match=r"'manager\.\.example' is not a known host name"):
        await dial("manager..example", 2377, client_context(pki.files("n1")))
