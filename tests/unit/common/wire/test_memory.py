import asyncio

import pytest

from common.errors import ProtocolError
from common.tls import Identity
from common.wire.channel import ChannelClosed, PeerInfo, open_raw
from common.wire.memory import INBOX_FRAMES, memory_channel_pair
from common.wire.messages import Heartbeat, RegistryAuth, StatusAck
from tests.fakes.virtual_loop import run_virtual


async def test_both_ends_see_each_other_and_messages_keep_their_order() -> None:
    client = PeerInfo(Identity("w1", "swarm-worker", "c"), "10.0.0.2", "10.0.0.1")
    near, far = memory_channel_pair(client)
    assert far.peer == client
    for number in range(10):
        await near.send(Heartbeat(), number)
    assert [(await far.receive()).id for _ in range(10)] == list(range(10))


async def test_sent_messages_survive_a_close_but_not_a_drop() -> None:
    near, far = memory_channel_pair()
    await near.send(StatusAck())
    await near.close("done")
    assert (await far.receive()).message == StatusAck()
    with pytest.raises(ChannelClosed, match="done"):
        await far.receive()
    near, far = memory_channel_pair()
    await near.send(StatusAck())
    far.drop("cable cut")
    for end in (near, far):
        with pytest.raises(ChannelClosed, match="cable cut"):
            await end.receive()
        with pytest.raises(ChannelClosed, match="cable cut"):
            await end.send(StatusAck())


async def test_a_slow_reader_holds_its_peer_back() -> None:
    near, far = memory_channel_pair()
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            await near.send(Heartbeat(), sent)
            sent += 1

    task = asyncio.create_task(flood())
    await asyncio.sleep(0)
    assert sent == INBOX_FRAMES
    for number in range(3000):
        assert (await far.receive()).id == number
    far.drop()
    with pytest.raises(ChannelClosed):
        await task


def test_latency_is_virtual_time_and_keeps_order() -> None:
    async def story() -> None:
        near, far = memory_channel_pair(latency=0.05)
        await near.send(Heartbeat(), 1)
        await near.send(Heartbeat(), 2)
        assert [(await far.receive()).id, (await far.receive()).id] == [1, 2]
        assert asyncio.get_running_loop().time() == pytest.approx(0.05)
        assert far.last_received == pytest.approx(0.05)

    run_virtual(story())


async def test_the_limit_holds_as_over_tls() -> None:
    near, far = memory_channel_pair()
    far.expect({RegistryAuth.KIND: 100})
    await near.send(RegistryAuth(service_id="s", auth="x" * 200))
    await near.send(RegistryAuth(service_id="s", auth="x"))
    for _ in range(2):
        with pytest.raises(ProtocolError, match="oversize"):
            await far.receive()
    await far.send(StatusAck())
    assert (await near.receive()).message == StatusAck()


def test_a_detached_channel_carries_bytes_with_its_latency() -> None:
    async def story() -> None:
        near, far = memory_channel_pair(latency=0.05)
        reader, writer = open_raw(near)
        writer.write(b"early ")
        await asyncio.sleep(1)
        other, back = open_raw(far)
        writer.write(b"late")
        writer.write_eof()
        assert await other.read() == b"early late"
        back.write(b"answer")
        back.close()
        await near.close()  # which is no longer its to close
        assert await reader.read() == b"answer"
        assert asyncio.get_running_loop().time() == pytest.approx(1.1)
        await back.wait_closed()

    run_virtual(story())


async def test_a_dropped_channel_breaks_its_streams() -> None:
    near, far = memory_channel_pair()
    reader, writer = open_raw(near)
    other, _ = open_raw(far)
    writer.write(b"lost")
    near.drop("cable cut")
    for end in (reader, other):
        with pytest.raises(ConnectionResetError):
            await end.read()
    with pytest.raises(ChannelClosed, match="cable cut"):
        open_raw(far)
