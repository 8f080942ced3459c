"""The loop that keeps a host as planned, when planning or applying fails."""

import asyncio
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.clock import SystemClock
from common.errors import Unavailable
from common.steady import PAUSE_SECONDS
from tests.fakes.engine import FakeEngine
from tests.fakes.virtual_loop import run_virtual
from worker.net.attachments import Attachments
from worker.net.dns import ClusterDns
from worker.net.keeper import COALESCE_SECONDS, RETRY_SECONDS, Keeper


@pytest.mark.parametrize(
    ("error", "trouble", "pause"),
    [
        (Unavailable("the kernel refuses"), "the kernel refuses", RETRY_SECONDS),
        (KeyError("blue"), "internal error of the worker: KeyError('blue')", PAUSE_SECONDS),
    ],
)
def test_a_pass_that_fails_is_tried_again_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, trouble: str, pause: float
):
    passes: list[float] = []

    async def fail_once(*_: object) -> None:
        passes.append(asyncio.get_running_loop().time())
        if len(passes) == 1:
            raise error

    async def story() -> None:
        dns = ClusterDns(tmp_path / "resolv", random.Random(1))
        attachments = Attachments(SystemClock())
        keeper = Keeper(FakeEngine(), "n1", tmp_path / "n", attachments, dns, advertised="", encryption="")
        monkeypatch.setattr(keeper, "_pass", fail_once)
        keeping = asyncio.create_task(keeper._keep(SimpleNamespace(has_rules=False), None))  # type: ignore[arg-type]
        keeper.note()
        await keeper.next_pass()
        assert keeper.trouble == trouble
        await keeper.in_line()
        assert keeper.trouble == ""
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    run_virtual(story())
    assert passes[1] - passes[0] == pytest.approx(pause + COALESCE_SECONDS)
