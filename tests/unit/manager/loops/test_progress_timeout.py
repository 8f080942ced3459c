"""How slow a copy may be, in virtual time: tricklers end with words, what is only slow goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from unittest.mock import Mock

import pytest

from common.errors import FailedPrecondition
from manager.loops.progress_timeout import LEAST_RATE, ProgressTimeout, Stage, least_rate
from tests.fakes.virtual_loop import run_virtual

SECONDS = 600.0
KB, MIB = 1000, 1 << 20
DAY = 24 * 3600


def taker(pending: int = 0) -> asyncio.StreamWriter:
    """Make where bytes for the target go, with so many that it has not taken."""
    writer = Mock(asyncio.StreamWriter)
    writer.transport.get_write_buffer_size.return_value = pending
    return writer


def lived(
    sends: Callable[[ProgressTimeout], Awaitable[None]],
    *,
    limit: float = 0.0,
    stage: Stage = "pass",
    pending: int = 0,
    target: str = "h3",
) -> tuple[str, float]:
    """Let a copy from h2 go on as `sends` has it; return the words that it ends with, and when that was."""

    async def live() -> tuple[str, float]:
        patience = ProgressTimeout(SECONDS, least_rate(limit), "h2", target)
        patience.watch(taker(pending))
        patience.enter(stage)
        error = ""
        try:
            async with patience.bound():
                await sends(patience)
        except FailedPrecondition as failed:
            error = failed.message
        return error, asyncio.get_running_loop().time()

    return run_virtual(live())


def every(seconds: float, size: int, until: float = 10 * DAY) -> Callable[[ProgressTimeout], Awaitable[None]]:
    async def sends(patience: ProgressTimeout) -> None:
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(seconds)
            await patience.count_bytes(bytes(size))

    return sends


def test_a_byte_a_second_is_too_slow() -> None:
    error, at = lived(every(1.0, 1))
    assert error == (
        "node h2 sent only 599B of it in 10 minutes, all of which node h3 was given: "
        "look at the logs of both workers, and begin it again"
    )
    assert SECONDS <= at < SECONDS + 1


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_less_than_the_least_pace_ends_sometime(share: float) -> None:
    error, at = lived(every(1.0, int(share * LEAST_RATE)))
    assert error.startswith("node h2 sent only ")
    assert at == pytest.approx(SECONDS / (1 - share), rel=0.01)


def test_bytes_at_once_do_not_buy_more_than_the_time_at_first() -> None:
    async def sends(patience: ProgressTimeout) -> None:
        await patience.count_bytes(bytes(100 * MIB))
        await every(1.0, 1)(patience)

    error, at = lived(sends)
    assert error
    assert at < SECONDS + 2


async def pauses(patience: ProgressTimeout) -> None:
    """Send as a host does that is suspended for nine minutes, again and again."""
    for _ in range(10):
        await every(1.0, MIB, asyncio.get_running_loop().time() + 60)(patience)
        await asyncio.sleep(0.9 * SECONDS)


async def passes(patience: ProgressTimeout) -> None:
    """Send nothing, but come to the end of passes: nothing has changed."""
    for _ in range(20):
        await asyncio.sleep(0.9 * SECONDS)
        patience.renew()


@pytest.mark.parametrize(
    ("sends", "limit"),
    [
        (every(1.0, 50 * KB, DAY), 50.0 * KB),
        (every(1.0, KB, DAY), 1.0 * KB),
        (every(1.0, int(LEAST_RATE), DAY), 0.0),
        (every(300.0, 20 * MIB, DAY), 0.0),  # a disk that others keep busy
        (pauses, 0.0),
        (passes, 0.0),
    ],
    ids=["50kB/s", "1kB/s", "least", "busy", "paused", "unchanged"],
)
def test_what_is_only_slow_goes_on(sends: Callable[[ProgressTimeout], Awaitable[None]], limit: float) -> None:
    assert lived(sends, limit=limit)[0] == ""


def test_a_limit_asks_for_a_part_of_itself() -> None:
    assert lived(every(1.0, 10 * KB), limit=50.0 * KB)[0]
    assert lived(every(1.0, 200), limit=1.0 * KB)[0]


async def nothing(_: ProgressTimeout) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("stage", "pending", "words"),
    [
        ("begin", 0, "node h2 and node h3 did not get ready for it in 10 minutes: look at the logs of both"),
        ("compare", 0, "node h3 did not say what it has of it in 10 minutes: look at its worker's log"),
        ("pass", 0, "node h2 sent nothing of it in 10 minutes: look at the logs of both"),
        ("pass", 5, "node h3 took nothing of it in 10 minutes: look at its worker's log"),
        ("mark", 0, "node h3 did not mark it as whole in 10 minutes"),
        ("verify", 0, "node h3 did not read it back in 10 minutes"),
        ("remove", 0, "node h2 did not remove the old copy in 10 minutes"),
    ],
)
def test_it_says_which_node_was_slow(stage: Stage, pending: int, words: str) -> None:
    assert lived(nothing, stage=stage, pending=pending)[0].startswith(words)


def test_a_copy_within_a_node_names_that() -> None:
    error, _ = lived(nothing, target="h2")
    assert error == "node h2 did not end a pass of it in 10 minutes: look at its worker's log, and begin it again"


def test_another_timeout_is_not_taken_for_it() -> None:
    async def hurries(_: ProgressTimeout) -> None:
        async with asyncio.timeout(1.0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        lived(hurries)
