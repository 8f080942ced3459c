"""The loop that keeps a host as planned, when planning or applying fails."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.aio.steady import PAUSE_SECONDS
from common.clock import SystemClock
from common.errors import Unavailable
from tests.fakes.engine import FakeEngine
from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.net.worlds import RED, network, world
from worker.net.dns.service import ClusterDns
from worker.net.ipam import TaskAddresses
from worker.net.plan.host_plan import HostPlan
from worker.net.reconciler import CHECK_SECONDS, COALESCE_SECONDS, RETRY_SECONDS, HostSurvey, NetworkReconciler, Passes


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
        addresses = TaskAddresses(SystemClock())
        reconciler = NetworkReconciler(FakeEngine(), HostSurvey("n1"), addresses, dns, tmp_path / "n")
        monkeypatch.setattr(reconciler, "_pass", fail_once)
        keeping = asyncio.create_task(reconciler._keep(SimpleNamespace(has_rules=False), None))  # type: ignore[arg-type]
        reconciler.passes.note()
        await reconciler.passes.next()
        assert reconciler.trouble == trouble
        await reconciler.passes.in_line()
        assert reconciler.trouble == ""
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    run_virtual(story())
    assert passes[1] - passes[0] == pytest.approx(pause + COALESCE_SECONDS)


class SlowHost:
    """A host whose engine takes its time with networks; `networks` are those that it has."""

    def __init__(self) -> None:
        self.networks: set[str] = set()
        self._wanted: set[str] = set()

    async def apply(self, plan: HostPlan, _: object) -> None:
        self._wanted = set(plan.networks)
        self.networks |= self._wanted

    async def remove_unused_networks(self) -> bool:
        wanted = set(self._wanted)
        await asyncio.sleep(CHECK_SECONDS / 2)
        self.networks &= wanted
        return True

    def check_sysctls(self) -> None: ...

    async def encryption_changed(self) -> bool:
        return False


def test_a_network_that_becomes_unused_during_a_check_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    host = SlowHost()

    async def nothing(*_: object) -> None: ...

    async def story() -> None:
        dns = ClusterDns(tmp_path / "resolv", random.Random(1))
        addresses = TaskAddresses(SystemClock())
        reconciler = NetworkReconciler(FakeEngine(), HostSurvey("node1"), addresses, dns, tmp_path / "n")
        monkeypatch.setattr(reconciler.survey, "take", nothing)
        monkeypatch.setattr(reconciler, "_cut_forgotten", nothing)
        monkeypatch.setattr(reconciler, "_check_firewall", lambda: None)
        monkeypatch.setattr(reconciler.conntrack, "check", lambda: None)
        reconciler.addresses_known.set()
        both = network(), network(RED, "10.2.0.0/16")
        reconciler.world = world(networks=both)
        await reconciler._pass(host, None)  # type: ignore[arg-type]
        checking = asyncio.create_task(reconciler._check(host))  # type: ignore[arg-type]
        await asyncio.sleep(CHECK_SECONDS * 1.2)  # it looks for unused networks
        reconciler.world = world(networks=both[:1])
        await reconciler._pass(host, None)  # type: ignore[arg-type]
        assert len(host.networks) == 3, "the gateway's, too"
        await asyncio.sleep(CHECK_SECONDS * 2)
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)

    run_virtual(story())
    assert sorted(name[:8] for name in host.networks) == ["00-orc-g", "orc-blue"]


def story(tell: Callable[[Passes], Awaitable[None]]) -> None:
    async def run() -> None:
        await tell(Passes())

    run_virtual(run())


def test_notes_that_follow_each_other_closely_are_one_pass():
    async def tell(passes: Passes) -> None:
        passes.note()
        beginning = asyncio.create_task(passes.begin())
        await asyncio.sleep(COALESCE_SECONDS / 2)
        passes.note()
        assert await beginning == 2
        waiting = asyncio.create_task(passes.begin())
        await asyncio.sleep(1)
        assert not waiting.done()
        passes.note()
        assert await waiting == 3

    story(tell)


def test_rules_can_be_written_in_a_pass_that_fails():
    async def tell(passes: Passes) -> None:
        passes.note()
        ruled, in_line = asyncio.create_task(passes.ruled()), asyncio.create_task(passes.in_line())
        await passes.end(await passes.begin(), settled=False, ruled=True)
        await ruled
        assert not in_line.done()
        assert not passes.up_to_date
        passes.again_in(1.0)
        await passes.end(await passes.begin(), settled=True, ruled=False)
        await in_line
        assert passes.up_to_date

    story(tell)


def test_what_is_noted_during_a_pass_is_not_done_by_it():
    async def tell(passes: Passes) -> None:
        passes.note()
        number = await passes.begin()
        passes.note()
        waiting = asyncio.create_task(passes.in_line())
        await asyncio.sleep(0)
        await passes.end(number, settled=True, ruled=True)
        assert not waiting.done()
        await passes.end(await passes.begin(), settled=True, ruled=True)
        await waiting

    story(tell)
