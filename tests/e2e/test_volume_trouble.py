"""What may go wrong with volumes that move, on real engines: each ends at the source or at the target, and is said.

One cluster of two hosts serves all tests of this file. Its service leaves a drained node with its data.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster
from tests.lab import Host
from tests.unit.worker.volumes.copy.trees import look

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300), long]

MIB = 1 << 20
SERVICE, VOLUME = "app_db", "app_data"
STACK = """
services:
  db:
    image: busybox:lab
    command: [sh, -c, "date >> /data/starts; exec sleep 100000"]
    stop_grace_period: 1s
    volumes: [data:/data]
    x-swarm-volume-policy: move
volumes:
  data:
    x-swarm-scope: one
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm() -> AsyncIterator[Cluster]:
    async with Cluster("trouble", hosts=2) as cluster:
        stack = cluster.lab.workdir / "stack.yaml"
        stack.write_text(STACK)
        await cluster.swarm("stack", "deploy", "-d", "--resolve-image", "never", "-c", stack, "app")
        await cluster.running(SERVICE, 1)
        yield cluster


async def home(swarm: Cluster) -> tuple[Host, Host, str]:
    """Return the host with the service's one running task, the other one, and the task's id."""
    (task,) = await swarm.running(SERVICE, 1, 100)
    here = next(name for name, node in (await swarm.nodes()).items() if node["ID"] == task["NodeID"])
    first, second = swarm.hosts
    return (first, second, task["ID"]) if first.name == here else (second, first, task["ID"])


async def folder(host: Host, volume: str = VOLUME) -> Path:
    return Path(json.loads(await host.docker("volume", "inspect", volume))[0]["Mountpoint"])


async def begin_move(swarm: Cluster, volume: str, target: Host, limit: float = 0) -> None:
    await swarm.request("POST", f"/swarm/volumes/{volume}/move", {"Node": target.name, "Limit": limit})


async def known(swarm: Cluster, volume: str) -> None:
    """Wait until its host has said that it has a volume: then the cluster has measured it."""

    async def measured() -> bool:
        listed = (await swarm.get("/volumes"))["Volumes"]
        return any(each["Name"] == volume and "UsageData" in each for each in listed)

    await swarm.until(measured, 30)


KNOWN: set[str] = set()


async def ended(swarm: Cluster, volume: str, timeout: float = 60) -> dict[str, Any]:
    """Return the one move of a volume that this test has begun when it has ended."""
    found: list[dict[str, Any]] = []

    async def look() -> bool:
        found[:] = [each for each in await transfers(swarm) if volume in each["Volumes"]]
        return bool(found) and all(each["Phase"] in ("done", "failed") for each in found)

    await swarm.until(look, timeout, lambda: f"{found}")
    KNOWN.update(each["ID"] for each in found)
    return found[-1]


async def test_data_leaves_a_drained_node_by_its_services_policy(swarm: Cluster) -> None:
    here, there, _ = await home(swarm)
    (await folder(here) / "kept").write_text("by hand")
    await swarm.swarm("node", "update", "--availability", "drain", here.name)
    moved = await ended(swarm, VOLUME)
    assert moved["Phase"] == "done", moved
    assert (await home(swarm))[0] is there
    assert (await folder(there) / "kept").read_text() == "by hand"
    assert len((await folder(there) / "starts").read_text().splitlines()) == 2
    await swarm.swarm("node", "activate", here.name)


async def test_where_it_cannot_leave_the_task_says_why(swarm: Cluster) -> None:
    here, there, _ = await home(swarm)
    await swarm.swarm("service", "update", "--constraint-add", f"node.hostname=={here.name}", SERVICE)
    _, _, task = await home(swarm)
    await swarm.swarm("node", "update", "--availability", "drain", here.name)
    why = f"node {here.name} is drained, but volume {VOLUME} cannot be moved off it: no other node can take volume"
    words = f"The move is tried again every minute: make room on another node, or make {here.name} active"

    async def said() -> bool:
        shown = (await swarm.swarm("service", "ps", "--no-trunc", SERVICE)).stdout
        return why in shown and words in shown

    await swarm.until(said, 20)
    assert (await home(swarm))[2] == task, "it runs on"
    await swarm.swarm("service", "update", "-d", "--constraint-rm", f"node.hostname=={here.name}", SERVICE)

    async def moved() -> bool:
        return (await home(swarm))[0] is there

    await swarm.until(moved, 90, pause=1)
    assert why not in (await swarm.swarm("service", "ps", "--no-trunc", SERVICE)).stdout
    await ended(swarm, VOLUME)
    await swarm.swarm("node", "activate", here.name)


async def test_a_move_is_cancelled_and_its_task_runs_on(swarm: Cluster) -> None:
    here, there, task = await home(swarm)
    (await folder(here) / "big").write_bytes(os.urandom(12 * MIB))
    move = ("volume", "move", "--detach", "--limit", "500kB/s", VOLUME, there.name)
    transfer = (await swarm.swarm(*move)).stdout.strip()

    async def is_listed() -> bool:
        shown = (await swarm.swarm("volume", "transfers")).stdout.splitlines()[1]
        return shown.split()[:5] == [transfer, "move", VOLUME, here.name, there.name] and " % of " in shown

    await swarm.until(is_listed, 30)
    await swarm.swarm("volume", "cancel", transfer)
    assert (await ended(swarm, VOLUME))["Error"] == "cancelled"
    assert "failed: cancelled" in (await swarm.swarm("volume", "transfers")).stdout
    assert (await home(swarm))[2] == task
    again = await swarm.swarm("volume", "cancel", transfer, check=False)
    assert f"the move of volume {VOLUME} has already ended (failed)" in again.stderr


async def test_strange_names_and_files_go_along(swarm: Cluster) -> None:
    one, other = swarm.hosts
    await one.docker("volume", "create", "odd")
    here = await folder(one, "odd")
    (here / os.fsdecode(b"na\xffme\n")).write_text("no UTF-8")
    (here / "inside").mkdir(mode=0o1777)
    os.mkfifo(here / "pipe")
    os.mknod(here / "inside" / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(here / "disk", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    with socket.socket(socket.AF_UNIX) as listening, (here / "holes").open("wb") as holes:
        listening.bind(f"/proc/self/fd/{os.open(here, os.O_RDONLY)}/socket")
        holes.truncate(50 * MIB)
    (here / "inside" / "setuid").write_text("program")
    (here / "inside" / "setuid").chmod(0o4755)
    (here / "link").symlink_to(os.fsdecode(b"/nowhere/\xfe"))
    os.link(here / "inside" / "setuid", here / "again")
    os.setxattr(here / "again", "user.word", b"\xff\x00")
    await known(swarm, "odd")
    before = look(here)
    await begin_move(swarm, "odd", other)
    moved = await ended(swarm, "odd")
    assert moved["Phase"] == "done", moved
    assert look(await folder(other, "odd")) == before
    await swarm.swarm("volume", "rm", f"{one.name}/odd", f"{other.name}/odd")


async def received(host: Host) -> int:
    """Return how many bytes have come to a host by its cable."""
    (link,) = json.loads((await host.run("ip", "-json", "-stats", "link", "show", "eth0")).stdout)
    return int(link["stats64"]["rx"]["bytes"])


async def test_a_broken_link_has_nothing_sent_twice(swarm: Cluster) -> None:
    one, other = swarm.hosts
    await one.docker("volume", "create", "wide")
    large = await folder(one, "wide") / "large"
    large.write_bytes(os.urandom(24 * MIB))
    await known(swarm, "wide")
    await begin_move(swarm, "wide", other, limit=4 * MIB)

    async def half_sent() -> bool:
        return any("wide" in each["Volumes"] and each.get("Done", 0) >= 12 * MIB for each in await transfers(swarm))

    await swarm.until(half_sent, 60)
    await other.cut()
    await swarm.node_is(other, "down", 30)
    before = await received(other)
    await other.mend()
    moved = await ended(swarm, "wide", 120)
    assert moved["Phase"] == "done", moved
    assert await received(other) - before < 18 * MIB
    assert (await folder(other, "wide") / "large").read_bytes() == large.read_bytes()
    await swarm.swarm("volume", "rm", f"{one.name}/wide", f"{other.name}/wide")


async def transfers(swarm: Cluster) -> list[dict[str, Any]]:
    """List the moves that are not known yet."""
    return [each for each in await swarm.get("/swarm/transfers") if each["ID"] not in KNOWN]


async def test_a_full_target_leaves_the_task_running(swarm: Cluster) -> None:
    here, there, task = await home(swarm)
    (await folder(here) / "big").write_bytes(os.urandom(12 * MIB))
    await swarm.swarm("volume", "rm", "--force", f"{there.name}/{VOLUME}")
    disk = there.folder / "docker" / "volumes"
    await there.run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk)
    try:
        await begin_move(swarm, VOLUME, there)
        moved = await ended(swarm, VOLUME)
        assert (moved["Phase"], moved["Downtime"]) == ("failed", 0), moved
        assert "the target has too little room" in moved["Error"] or "has no room left" in moved["Error"], moved
        assert (await home(swarm))[2] == task
        await swarm.swarm("volume", "rm", f"{there.name}/{VOLUME}")
    finally:
        await there.run("umount", disk)
    await begin_move(swarm, VOLUME, there)
    assert (await ended(swarm, VOLUME))["Phase"] == "done"
    assert (await home(swarm))[0] is there


async def test_what_never_settles_is_left_where_it_is_if_told_so(swarm: Cluster) -> None:
    here, there, task = await home(swarm)
    box = (await swarm.container_of(here, SERVICE))["Id"]
    writing = "while :; do dd if=/dev/urandom of=/data/big bs=1M count=12 conv=notrunc 2>/dev/null; done"
    await here.docker("exec", "-d", box, "sh", "-c", writing)
    refused = await swarm.swarm("volume", "move", "--max-downtime", "1ms", VOLUME, there.name, check=False, timeout=120)
    assert "longer than 0.001 s: it changes too fast" in refused.stderr
    await ended(swarm, VOLUME)
    assert (await home(swarm))[2] == task
    await swarm.swarm("volume", "move", VOLUME, there.name, timeout=120)
    await ended(swarm, VOLUME)
    assert (await home(swarm))[0] is there
    assert (await folder(there) / "big").read_bytes() == (await folder(here) / "big").read_bytes()


async def test_a_prune_at_the_target_costs_no_data(swarm: Cluster) -> None:
    here, there, _ = await home(swarm)
    (await folder(here) / "big").write_bytes(os.urandom(12 * MIB))
    await swarm.swarm("volume", "rm", "--force", f"{there.name}/{VOLUME}")
    await begin_move(swarm, VOLUME, there, limit=3 * MIB)

    async def half_there() -> bool:
        found = await there.docker("volume", "ls", "-q", "--filter", f"name={VOLUME}")
        return bool(found) and any((await folder(there)).iterdir())

    await swarm.until(half_there, 30)
    await there.docker("volume", "rm", "--force", VOLUME)
    moved = await ended(swarm, VOLUME, 120)
    at, _, _ = await home(swarm)
    assert (moved["Phase"], at) in (("done", there), ("failed", here)), moved
    assert (await folder(at) / "starts").read_text()
    assert (await folder(at) / "big").stat().st_size == 12 * MIB


async def test_a_source_that_is_pruned_is_missed_and_not_moved(swarm: Cluster) -> None:
    here, there, _ = await home(swarm)
    await swarm.swarm("service", "scale", "-d", f"{SERVICE}=0")
    await swarm.tasks_when(SERVICE, lambda tasks: not tasks)
    for host in swarm.hosts:
        await swarm.until(lambda host=host: _no_task(swarm, host), 30)
    data = await folder(here)
    (data / "more").write_bytes(os.urandom(12 * MIB))
    await begin_move(swarm, VOLUME, there, limit=2 * MIB)

    async def under_way() -> bool:
        return any(each.get("Done", 0) > 0 for each in await swarm.get("/swarm/transfers"))

    await swarm.until(under_way, 30)
    await here.docker("container", "prune", "--force")
    await here.docker("volume", "rm", "--force", VOLUME)
    assert not data.exists()
    moved = await ended(swarm, VOLUME, 120)
    assert moved["Phase"] == "failed", moved
    assert f"volume {VOLUME} was removed on this host while it was read" in moved["Error"], moved
    await swarm.swarm("service", "scale", "-d", f"{SERVICE}=1")
    words = f"volume {VOLUME} was removed on {here.name} at "
    await swarm.tasks_when(SERVICE, lambda tasks: any(words in task["Status"].get("Err", "") for task in tasks))


async def _no_task(swarm: Cluster, host: Host) -> bool:
    return not await swarm.containers(host, everything=False)
