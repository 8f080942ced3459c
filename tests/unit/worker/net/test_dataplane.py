"""What a task's container gets of networks."""

import random
from pathlib import Path

from common.clock import SystemClock
from tests.fakes.engine import FakeEngine
from tests.unit.worker.worlds import make_task
from worker.net.dataplane import DataPlane
from worker.net.dns import ClusterDns
from worker.ports import Attachment


async def test_a_task_that_nobody_connects_to_is_on_dockers_own_bridge_and_waits_for_no_network(tmp_path: Path):
    engine = FakeEngine()
    dns = ClusterDns(tmp_path / "resolv", random.Random(1))
    plane = DataPlane(engine, "n1", SystemClock(), tmp_path / "network.json", dns)
    task = make_task("t1")
    assert await plane.attach(task) == Attachment()  # though the host has learnt of no network yet
    await plane.drain(task)
    await plane.release(task.id)
