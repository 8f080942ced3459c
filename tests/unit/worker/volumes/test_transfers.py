"""A worker's halves of copies, with the real copying processes, driven as a manager does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from common.wire.channel import splice
from common.wire.volume_copy import CopyEvent, Order
from tests.fakes.volume_host import LINEAGE, Control, Host, opened
from worker.interfaces.engine import Container, Phase
from worker.interfaces.volumes import Mark
from worker.volumes import transfers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="copies keep owners: they run as root")


def order(part: str, generation: int = 1) -> Order:
    return Order(id="m", part=part, volume="data", data_id=LINEAGE, generation=generation)  # type: ignore[arg-type]


PLAIN = Container(id="plain", phase=Phase.EXITED)


@contextlib.asynccontextmanager
async def data_streams(one: Host, other: Host) -> AsyncIterator[asyncio.Task[None]]:
    """Open the data streams of a copy from one host to the other; yield what carries its bytes between them."""
    async with (
        opened(one.transfers.data, order("send")) as left,
        opened(other.transfers.data, order("receive")) as right,
    ):
        yield asyncio.create_task(splice((left.reader, left.writer), (right.reader, right.writer)))


async def first_pass(send: Control) -> None:
    """Have the sending half make a pass when it is ready, and wait for its end."""
    await send.event("ready")
    send.tell("pass")
    await send.event("passed")


@pytest.mark.parametrize("removed", [False, True])
async def test_a_copy_is_made_compared_and_marked(tmp_path: Path, *, removed: bool) -> None:
    one, other = Host(tmp_path / "one"), Host(tmp_path / "other")
    one.containers = (PLAIN, Container(id="old", agent="me", phase=Phase.EXITED))
    await one.mark(1)
    (one.data() / "file").write_bytes(b"x" * 300_000)
    async with (
        opened(one.transfers.control, order("send")) as send,
        opened(other.transfers.control, order("receive")) as receive,
    ):
        await send.event("prepared")
        await receive.event("prepared")
        assert await other.marked() == Mark(LINEAGE, 0)
        async with data_streams(one, other) as joined:
            await first_pass(send)
            (one.data() / "late").write_text("written meanwhile")
            send.tell("last")
            assert (await send.event("passed")).digest
            receive.tell("mark", 2)
            await receive.event("marked")
            if removed:
                send.tell("verify")
                assert (await send.event("verified")).digest
                send.tell("remove")
                await send.event("removed")
                assert one.containers == (PLAIN,)
            for half in (send, receive):
                half.tell("stop")
            await asyncio.wait({joined}, timeout=10)
            joined.cancel()
    assert (other.data() / "late").read_text() == "written meanwhile"
    assert (other.data() / "file").read_bytes() == b"x" * 300_000
    assert await other.marked() == Mark(LINEAGE, 2)
    assert not list((tmp_path / "one" / "copies").iterdir())
    assert one.data().exists() is not removed


async def test_what_the_manager_before_had_marked_is_compared_again(tmp_path: Path) -> None:
    """It was killed between the mark and the commit: until that the source counts, where the tasks stand still."""
    host = Host(tmp_path)
    await host.mark(2)
    resumed = msgspec.structs.replace(order("receive"), resumes=True)
    async with opened(host.transfers.control, resumed) as control:
        await control.event("prepared")
        assert await host.marked() == Mark(LINEAGE, 0)
    await host.mark(3)
    async with opened(host.transfers.control, resumed) as control:
        assert "newer data on this host" in (await control.event("failed")).message


@pytest.mark.parametrize("anew", [False, True])
async def test_a_source_that_was_removed_is_not_taken_for_empty(tmp_path: Path, *, anew: bool) -> None:
    """As a prune on the host does while the tasks are stopped for the last pass."""
    one, other = Host(tmp_path / "one"), Host(tmp_path / "other")
    await one.mark(1)
    (one.data() / "file").write_text("data")
    async with (
        opened(one.transfers.control, order("send")) as send,
        opened(other.transfers.control, order("receive")) as receive,
    ):
        await send.event("prepared")
        await receive.event("prepared")
        async with data_streams(one, other) as joined:
            await first_pass(send)
            await one.remove_volume("data")
            if anew:
                await one.create_volume("data")
            send.tell("last")
            failed = await send.event("failed")
            joined.cancel()
    assert failed.message == "volume data was removed on this host while it was read"
    assert await other.marked() == Mark(LINEAGE, 0)


@pytest.mark.parametrize(
    ("part", "generation", "lineage", "why"),
    [
        ("send", None, "", "volume data is not on this host, or has no mark"),
        ("send", 2, LINEAGE, "volume data has data of generation 2 on this host"),
        ("send", 1, "e" * 32, "volume data on this host has other data: remove or rename it first"),
        ("receive", 1, "e" * 32, "volume data on this host has other data: remove or rename it first"),
        ("receive", 1, LINEAGE, "volume data has newer data on this host than the copy would bring"),
    ],
)
async def test_a_half_with_other_data_is_refused(
    tmp_path: Path, part: str, generation: int | None, lineage: str, why: str
) -> None:
    host = Host(tmp_path)
    if generation is not None:
        await host.mark(generation, lineage)
    async with opened(host.transfers.control, order(part)) as control:
        found = await control.event("failed")
    assert (found.code, found.message) == ("FailedPrecondition", why)


@pytest.mark.parametrize("line", [b"{}\n", b"\n", b"[1]\n", b'{"id": "m", "part": "eat"}\n'])
async def test_an_order_that_is_none_ends_the_stream(tmp_path: Path, line: bytes) -> None:
    ours, its = socket.socketpair()
    near, far = await asyncio.open_connection(sock=ours), await asyncio.open_connection(sock=its)
    near[1].write(line)
    await Host(tmp_path).transfers.control(far)
    assert msgspec.json.decode(await near[0].readline(), type=CopyEvent).event == "failed"
    near[1].close()


async def test_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    for wrong in (
        Order(id="m", part="send", volume="../etc", data_id=LINEAGE, generation=1),
        Order(id="../m", part="send", volume="data", data_id=LINEAGE, generation=1),
    ):
        async with opened(Host(tmp_path).transfers.control, wrong) as control:
            assert (await control.event("failed")).code == "InvalidArgument"


async def test_a_half_waits_for_the_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a manager begins anew before this host has noticed that the one before it is gone."""
    monkeypatch.setattr(transfers, "ATTACH_SECONDS", 1.0)
    host = Host(tmp_path)
    async with opened(host.transfers.control, order("receive")) as first:
        await first.event("prepared")
        async with opened(host.transfers.control, msgspec.structs.replace(order("receive"), id="n")) as second:
            prepared = asyncio.create_task(second.event("prepared"))
            await asyncio.wait({prepared}, timeout=0.2)
            assert not prepared.done()
            assert (await first.event("failed")).code == "Unavailable"  # nobody opened its data stream
            assert await asyncio.wait_for(prepared, 10)
