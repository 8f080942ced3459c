"""Two processes copy, are told what to do, and end as told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from common.errors import FailedPrecondition, InvalidArgument, ResourceExhausted, Unavailable
from tests.unit.worker.volumes.copy.trees import look, scratch
from worker.volumes.copy.control import (
    Archived,
    Passed,
    Progress,
    Ready,
    Reporter,
    Stopped,
    Verified,
    commands,
    parse_report,
)
from worker.volumes.copy.messages import PROTOCOL, Change, Changes, Hello, PassStart, head
from worker.volumes.copy.process import CopyProcess, copying

MIB = 1024 * 1024


@pytest.fixture
def place() -> Iterator[Path]:
    with scratch() as folder:
        for name in ("source", "target"):
            (folder / name).mkdir()
        yield folder


@contextlib.asynccontextmanager
async def both(place: Path, *options: str) -> AsyncIterator[tuple[CopyProcess, CopyProcess]]:
    near, far = socket.socketpair()
    async with (
        copying("receive", place / "target", far, work=place / "in", options=("--keep-priority",)) as receiver,
        copying("send", place / "source", near, work=place / "out", options=("--keep-priority", *options)) as sender,
    ):
        yield sender, receiver


async def finish(sender: CopyProcess) -> str:
    sender.tell("last")
    digest = (await sender.wait_for(Passed)).digest
    sender.tell("verify")
    assert (await sender.wait_for(Verified)).digest == digest
    return digest


async def test_a_copy_is_told_step_by_step(place: Path) -> None:
    (place / "source" / "file").write_bytes(os.urandom(300_000))
    async with both(place) as (sender, receiver):
        await sender.wait_for(Ready)
        sender.tell("pass")
        passed = await sender.wait_for(Passed)
        assert (passed.number, passed.sent, passed.files, passed.digest) == (1, 300_000, 1, "")
        (place / "source" / "file").write_bytes(b"less")
        assert await finish(sender)
        sender.tell("stop")
        assert isinstance(await sender.report(), Stopped)
        assert isinstance(await receiver.report(), Stopped)
    assert look(place / "target") == look(place / "source")


async def test_a_limit_is_kept_and_progress_reported(place: Path) -> None:
    (place / "source" / "file").write_bytes(os.urandom(3_000_000))
    async with both(place, "--limit", "1000000") as (sender, _):
        await sender.wait_for(Ready)
        sender.tell("pass")
        progress = await sender.wait_for(Progress)
        assert 0 < progress.done < 3_000_000
        assert 0 < progress.left <= 3_000_000 - progress.done
        sender.tell("limit", 0)
        await sender.wait_for(Passed)


async def test_either_side_may_be_killed_at_any_moment(place: Path) -> None:
    rng = random.Random(5)
    for number in range(100):
        (place / "source" / str(number)).write_bytes(rng.randbytes(rng.choice([10, 5000, 40_000])))
    (place / "source" / "large").write_bytes(rng.randbytes(9_000_000))
    for attempt in range(4):
        async with both(place, "--limit", "8000000") as (sender, receiver):
            with contextlib.suppress(Unavailable):
                await sender.wait_for(Ready)
                sender.tell("pass")
                for _ in range(attempt // 2):
                    if isinstance(await sender.report(), Passed):
                        break
                os.kill((sender if attempt % 2 else receiver).pid, signal.SIGKILL)
                await sender.wait_for(Stopped)
    async with both(place) as (sender, _):
        await sender.wait_for(Ready)
        await finish(sender)
    assert look(place / "target") == look(place / "source")


def test_a_parent_that_goes_with_reports_unread_is_gone() -> None:
    """The kernel resets a socket whose other end is closed with something unread in it."""
    ours, its = socket.socketpair()
    with its:
        Reporter(its.fileno()).report(Ready())
        ours.close()
        assert not list(commands(its.fileno()))
        Reporter(its.fileno()).report(Stopped())


async def test_what_was_sent_before_a_break_is_not_sent_again(place: Path) -> None:
    for name in ("a", "b", "c"):
        (place / "source" / name).write_bytes(os.urandom(2_000_000))
    async with both(place) as (sender, _):
        await sender.wait_for(Ready)
        sender.tell("pass")
        await sender.wait_for(Passed)
    (place / "source" / "b").write_bytes(os.urandom(500_000))
    async with both(place) as (sender, _):
        await sender.wait_for(Ready)
        sender.tell("pass")
        assert (await sender.wait_for(Passed)).sent == 500_000


async def test_an_index_that_was_lost_costs_reading_alone(place: Path) -> None:
    (place / "source" / "file").write_bytes(os.urandom(2_000_000))
    async with both(place) as (sender, _):
        await sender.wait_for(Ready)
        await finish(sender)
    for each in (*(place / "in").iterdir(), *(place / "out").iterdir()):
        each.write_bytes(b"not a database")
    async with both(place) as (sender, _):
        await sender.wait_for(Ready)
        sender.tell("pass")
        passed = await sender.wait_for(Passed)
        assert (passed.sent, passed.read) == (0, 2_000_000)


async def test_a_folder_that_is_not_there_is_named(place: Path) -> None:
    (place / "target").rmdir()
    async with both(place) as (sender, receiver):
        with pytest.raises(InvalidArgument, match="target cannot be copied: No such file"):
            await receiver.report()
        with pytest.raises(Unavailable, match="other side"):
            await sender.wait_for(Ready)


async def test_a_long_path_of_the_other_side_ends_it_in_words(place: Path) -> None:
    """Such a path is several times as long in words, and those are a line to the parent."""
    near, far = socket.socketpair()
    path = b"\0".join([b"\x80" * 255] * 200)
    end = Changes(tuple(Change(each, b"") for each in (b"\xff", path)))
    with near:
        async with copying("receive", place / "target", far, work=place / "in") as receiver:
            for each in (Hello(PROTOCOL, "sender"), PassStart(1, False, 0), end):
                near.sendall(head(each, 0))
            with pytest.raises(InvalidArgument, match=r"tells of (\\x80){50}.*….*(\\x80){50} out of order"):
                await receiver.report()


async def test_a_report_that_is_too_long_ends_it_in_words() -> None:
    ours, its = socket.socketpair()
    with its:
        reports, commands = await asyncio.open_connection(sock=ours, limit=1000)
        its.sendall(b"x" * 2000 + b"\n")
        with contextlib.closing(commands), pytest.raises(Unavailable, match="malformed report"):
            await CopyProcess(Mock(), reports, commands).report()


async def test_a_target_that_differs_on_its_disk_is_found(place: Path) -> None:
    (place / "source" / "file").write_bytes(b"x" * 1000)
    async with both(place) as (sender, _):
        await sender.wait_for(Ready)
        sender.tell("last")
        await sender.wait_for(Passed)
        (place / "target" / "file").write_bytes(b"y" * 1000)
        sender.tell("verify")
        with pytest.raises(FailedPrecondition, match="reads back something other"):
            await sender.wait_for(Verified)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts a small file system")
async def test_a_full_target_says_how_much_is_missing(place: Path) -> None:
    (place / "source" / "file").write_bytes(os.urandom(3 * MIB))
    near, far = socket.socketpair()
    half = f"{sys.executable} -m worker.volumes.copy receive {place}/target --work {place}/in"
    options = f"--keep-priority --peer {far.fileno()} --control 0,1"
    small = f"mount -t tmpfs -o size=1m tmpfs {place}/target && exec {half} {options}"
    # The mount is seen by that process alone, and gone with it.
    receiver = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "--propagation", "private", "sh", "-c", small),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=(far.fileno(),),
    )
    far.close()
    async with copying("send", place / "source", near, work=place / "out") as sender:
        await sender.wait_for(Ready)
        sender.tell("pass")
        with pytest.raises(ResourceExhausted, match=f"too little room: {2 * MIB + MIB // 20} bytes more are needed"):
            await sender.wait_for(Passed)
    output, _ = await receiver.communicate()
    assert parse_report(output).code == "ResourceExhausted"


async def test_an_archive_goes_from_process_to_process(place: Path) -> None:
    (place / "source" / "file").write_bytes(os.urandom(3 * MIB))
    near, far = socket.socketpair()
    async with (
        copying("import", place / "target", far, options=("--keep-priority",)) as reader,
        copying("export", place / "source", near, options=("--keep-priority",)) as writer,
    ):
        assert (await writer.wait_for(Archived)).bytes == (await reader.wait_for(Archived)).bytes > 3 * MIB
    assert look(place / "target") == look(place / "source")


async def test_a_broken_archive_is_not_taken_for_a_whole_one(place: Path) -> None:
    near, far = socket.socketpair()
    async with copying("import", place / "target", far) as reader:
        near.sendall(b"not a tar archive" * 100)
        near.close()
        with pytest.raises(InvalidArgument, match="not a complete tar archive"):
            await reader.wait_for(Archived)


async def test_a_half_has_only_the_rights_that_it_needs(place: Path) -> None:
    """Root's others are of no use to a copy, and to whoever takes it over."""
    async with both(place) as (sender, receiver):
        await sender.wait_for(Ready)
        for half in (sender, receiver):
            lines = Path(f"/proc/{half.pid}/status").read_text().splitlines()
            status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
            for rights in ("CapEff", "CapPrm", "CapBnd"):
                has = {number for number in range(64) if int(status[rights], 16) >> number & 1}
                assert has <= {0, 1, 2, 3, 4, 21, 23, 24, 27, 31}
            assert status["NoNewPrivs"] == "1"
