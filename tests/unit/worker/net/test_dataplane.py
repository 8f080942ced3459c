"""What a task's container gets of networks."""

import asyncio
import random
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.errors import Unavailable
from common.model.service import NetworkAttachmentConfig
from tests.fakes.engine import FakeEngine
from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.net.worlds import BLUE, world
from tests.unit.worker.worlds import make_task
from worker.interfaces.networks import Attachment
from worker.net.apply import netlink
from worker.net.dataplane import DataPlane
from worker.net.dns.service import ClusterDns
from worker.net.reconciler import HostSurvey


async def test_a_task_without_connections_waits_for_no_network(tmp_path: Path):
    engine = FakeEngine()
    dns = ClusterDns(tmp_path / "resolv", random.Random(1))
    plane = DataPlane(engine, HostSurvey("n1"), dns, SystemClock(), tmp_path / "network.json")
    task = make_task("t1")
    assert await plane.attach(task) == Attachment()  # though the host has learnt of no network yet
    await plane.drain(task)
    await plane.release(task.id)


def test_a_task_without_a_network_says_what_its_host_waits_for(tmp_path: Path):
    async def attach() -> None:
        dns = ClusterDns(tmp_path / "resolv", random.Random(1))
        plane = DataPlane(FakeEngine(), HostSurvey("n1"), dns, SystemClock(), tmp_path / "network.json")
        await plane.attach(make_task("t1", networks=(NetworkAttachmentConfig(target="blue"),)))

    with pytest.raises(Unavailable, match="after 30 s: the engine has not said yet which addresses"):
        run_virtual(attach())


def test_a_task_whose_network_is_full_says_which_one_it_is(tmp_path: Path):
    async def attach() -> None:
        dns = ClusterDns(tmp_path / "resolv", random.Random(1))
        plane = DataPlane(FakeEngine(), HostSurvey("n9"), dns, SystemClock(), tmp_path / "network.json")
        plane.update(world())
        plane._reconciler.addresses_known.set()  # the engine has said it
        await plane.attach(make_task("t1", networks=(NetworkAttachmentConfig(target=BLUE),)))

    full = "network 'blue' has no addresses left for this host, since other nodes have all of 10.1.0.0/16"
    with pytest.raises(Unavailable, match=full):
        run_virtual(attach())


def test_a_kernel_slow_to_list_its_network_is_reported(monkeypatch: pytest.MonkeyPatch):
    async def nothing(_: netlink.Kernel) -> netlink.Seen:
        await asyncio.Event().wait()
        raise AssertionError("nothing ends this wait")

    monkeypatch.setattr(netlink.Kernel, "_look", nothing)
    with pytest.raises(Unavailable, match="network configuration: it takes longer than 10 s"):
        run_virtual(netlink.Kernel().look())
