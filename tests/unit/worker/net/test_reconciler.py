"""The loop that keeps a host as planned, when planning or applying fails."""

import asyncio
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.aio.steady import PAUSE_SECONDS
from common.clock import SystemClock
from common.errors import Unavailable
from tests.fakes.engine import FakeEngine
from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.net.worlds import RED, network, world
from worker.net.attachments import Attachments
from worker.net.dns.service import ClusterDns
from worker.net.passes import COALESCE_SECONDS
from worker.net.plan.host_plan import HostPlan
from worker.net.reconciler import CHECK_SECONDS, RETRY_SECONDS, NetworkReconciler


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
        reconciler = NetworkReconciler(
            FakeEngine(), "n1", tmp_path / "n", attachments, dns, advertised="", encryption=""
        )
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
        reconciler = NetworkReconciler(
            FakeEngine(), "node1", tmp_path / "n", Attachments(SystemClock()), dns, advertised="", encryption=""
        )
        monkeypatch.setattr(reconciler.survey, "take", nothing)
        monkeypatch.setattr(reconciler, "_cut_forgotten", nothing)
        monkeypatch.setattr(reconciler, "_check_firewall", lambda: None)
        monkeypatch.setattr(reconciler.connections, "check", lambda: None)
        reconciler.surveyed.set()
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
