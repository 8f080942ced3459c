"""A worker writes volumes out as archives and reads them in, with the real processes, driven as a manager does."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common.wire.volume_copy import Order
from tests.fakes.volume_host import LINEAGE, Control, Host, opened
from tests.unit.worker.volumes.copy.trees import look, scratch
from worker.interfaces.volumes import Mark

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="archives keep owners: they are made as root")


@asynccontextmanager
async def begun(host: Host, part: str) -> AsyncIterator[tuple[Control, Control]]:
    """Open both streams of an archive of the volume `data`."""
    data_id = LINEAGE if part == "import" else ""
    order = Order(id="a", part=part, volume="data", data_id=data_id)  # type: ignore[arg-type]
    async with opened(host.transfers.control, order) as control:
        await control.event("prepared")
        async with opened(host.transfers.data, order) as data:
            yield control, data


async def archived(host: Host) -> bytes:
    async with begun(host, "export") as (control, data):
        archive = await data.reader.read()
        assert (await control.event("archived")).done == len(archive)
    return archive


async def gone(host: Host) -> None:
    """Wait until the host has no volume `data`; its worker removes what is not whole."""
    while host.data().parent.exists():
        await asyncio.sleep(0.01)


async def test_a_volume_becomes_an_archive_and_again_a_volume(tmp_path: Path) -> None:
    with scratch() as folder:
        one, other = Host(folder / "one"), Host(folder / "other")
        await one.mark(7)
        (one.data() / "file").write_bytes(os.urandom(3_000_000))
        (one.data() / os.fsdecode(b"na\xffme")).symlink_to("file")
        os.chown(one.data() / "file", 70, 71)
        archive = await archived(one)
        async with begun(other, "import") as (control, data):
            assert await other.marked() == Mark(LINEAGE, 0)
            data.writer.write(archive)
            data.writer.write_eof()
            assert (await control.event("archived")).done == len(archive)
            control.tell("mark", 1)
            await control.event("marked")
        assert look(other.data()) == look(one.data())
        assert await other.marked() == Mark(LINEAGE, 1)


async def test_a_volume_that_is_there_is_not_touched(tmp_path: Path) -> None:
    host = Host(tmp_path)
    await host.mark(1)
    (host.data() / "file").write_text("kept")
    order = Order(id="a", part="import", volume="data", data_id=LINEAGE)
    async with opened(host.transfers.control, order) as control:
        found = await control.event("failed")
    assert (found.code, found.message[:35]) == ("AlreadyExists", "volume data is on this host already")
    assert (host.data() / "file").read_text() == "kept"


async def test_one_that_is_removed_meanwhile_is_no_archive(tmp_path: Path) -> None:
    host = Host(tmp_path)
    await host.mark(1)
    (host.data() / "file").write_bytes(os.urandom(3_000_000))  # more than the streams hold
    async with begun(host, "export") as (control, data):
        await data.reader.readexactly(1000)
        await host.remove_volume("data")
        await data.reader.read()
        assert (await control.event("failed")).message == "volume data was removed on this host while it was read"


async def test_no_archive_is_made_of_what_is_not_there(tmp_path: Path) -> None:
    async with opened(Host(tmp_path).transfers.control, Order(id="a", part="export", volume="data")) as control:
        assert (await control.event("failed")).message == "volume data is not on this host"


@pytest.mark.parametrize("cut", [512, 1024 + 300, -1024])
async def test_half_an_archive_leaves_no_volume(tmp_path: Path, cut: int) -> None:
    one, other = Host(tmp_path / "one"), Host(tmp_path / "other")
    await one.mark(1)
    (one.data() / "file").write_bytes(b"x" * 5000)
    archive = await archived(one)
    async with begun(other, "import") as (control, data):
        data.writer.write(archive[:cut])
        data.writer.write_eof()
        found = await control.event("failed")
    assert (found.code, found.message[:34]) == ("InvalidArgument", "this is not a complete tar archive")
    assert await other.volume("data") is None


@pytest.mark.parametrize("word", ["stop", ""])
async def test_a_volume_that_nobody_confirms_is_removed(tmp_path: Path, word: str) -> None:
    one, other = Host(tmp_path / "one"), Host(tmp_path / "other")
    await one.mark(1)
    archive = await archived(one)
    async with begun(other, "import") as (control, data):
        data.writer.write(archive)
        data.writer.write_eof()
        await control.event("archived")
        if word:
            control.tell(word)
        else:
            control.writer.close()
        await gone(other)


async def test_an_archive_under_way_ends_with_the_manager(tmp_path: Path) -> None:
    host = Host(tmp_path)
    async with begun(host, "import") as (control, data):
        data.writer.write(b"\0" * 100)
        control.writer.close()
        await gone(host)


async def test_a_broken_stream_leaves_no_volume(tmp_path: Path) -> None:
    host = Host(tmp_path)
    async with begun(host, "import") as (control, data):
        data.writer.write(b"\0" * 100)
        data.writer.transport.abort()
        assert (await control.event("failed")).code in ("InvalidArgument", "Unavailable")
    assert await host.volume("data") is None


async def test_one_volume_is_made_of_one_archive(tmp_path: Path) -> None:
    host = Host(tmp_path)
    async with begun(host, "import"):
        other = Order(id="b", part="import", volume="data", data_id=LINEAGE)
        async with opened(host.transfers.control, other) as control:
            assert (await control.event("failed")).code == "AlreadyExists"


async def test_who_reads_slowly_gets_the_whole_archive(tmp_path: Path) -> None:
    host = Host(tmp_path)
    await host.mark(1)
    (host.data() / "file").write_bytes(b"x" * 10_000_000)
    async with begun(host, "export") as (control, data):
        taken = 0
        while piece := await data.reader.read(1 << 20):
            taken += len(piece)
            await asyncio.sleep(0)
        assert (await control.event("archived")).done == taken > 10_000_000


async def test_a_target_that_cannot_have_it_leaves_no_volume(tmp_path: Path) -> None:
    one, other = Host(tmp_path / "one"), Host(tmp_path / "other")
    await one.mark(1)
    (one.data() / "file").write_bytes(b"x" * 3_000_000)
    archive = await archived(one)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # of the process that is to start
    try:
        async with begun(other, "import") as (control, data):
            data.writer.write(archive)
            data.writer.write_eof()
            found = await control.event("failed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert found.message == "file is larger than the target can have it"
    assert await other.volume("data") is None
