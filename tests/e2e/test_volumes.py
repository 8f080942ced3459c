"""Data stays with its task on real engines: drained and lost nodes, prunes, volumes that are removed by hand.

One cluster of two hosts serves all tests of this file.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster
from tests.lab import Host
from tests.lab.errors import LabError

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

NAME = "db"
CREATE = ("service", "create", "-d", "--no-resolve-image", "--stop-grace-period", "1s")
LOOP = ("sh", "-c", "date >> /data/starts; exec sleep 100000")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm() -> AsyncIterator[Cluster]:
    async with Cluster("volumes", hosts=2) as cluster:
        mount = "type=volume,source=app_db,target=/data"
        options = ("--name", NAME, "--mount", mount, "--constraint", "node.hostname==h2")
        await cluster.swarm(*CREATE, *options, "busybox:lab", *LOOP)
        await cluster.running(NAME, 1)
        await cluster.swarm("service", "update", "-d", "--constraint-rm", "node.hostname==h2", NAME)
        yield cluster


def holder(swarm: Cluster) -> Host:
    return swarm.hosts[1]


async def starts(swarm: Cluster) -> int:
    """Count how often the data was written to, in the volume itself."""
    return len((await volume_folder(swarm) / "_data" / "starts").read_text().splitlines())


async def volume_folder(swarm: Cluster) -> Path:
    found = json.loads(await holder(swarm).docker("volume", "inspect", "app_db"))
    return Path(found[0]["Mountpoint"]).parent


async def waits(swarm: Cluster, words: str, timeout: float = 30) -> None:
    def told(tasks: list[Any]) -> bool:
        return any(words in task["Status"].get("Err", "") for task in tasks)

    await swarm.tasks_when(NAME, told, timeout)


async def test_a_volume_is_marked_claimed_and_listed(swarm: Cluster) -> None:
    async def listed() -> bool:
        said = (await swarm.swarm("volume", "ls")).stdout.splitlines()
        return any(line.split()[:3] == ["app_db", "h2", "db.1"] for line in said)

    await swarm.until(listed, 20)
    mark = json.loads((await volume_folder(swarm) / "swarm.json").read_text())
    assert (len(mark["lineage"]), mark["generation"]) == (32, 1)


async def test_each_slot_has_the_volume_that_a_template_names(swarm: Cluster) -> None:
    mount = "type=volume,source={{.Service.Name}}-{{.Task.Slot}},target=/data"
    await swarm.swarm(*CREATE, "--name", "slots", "--replicas", "2", "--mount", mount, "busybox:lab", *LOOP)
    tasks = await swarm.running("slots", 2)
    boxes = [box for host in swarm.hosts for box in await swarm.containers(host, everything=False)]
    of_task = {box["Config"]["Labels"]["com.docker.swarm.task.id"]: box for box in boxes}
    for task in tasks:
        assert of_task[task["ID"]]["Mounts"][0]["Name"] == f"slots-{task['Slot']}"
    await swarm.request("DELETE", "/services/slots")


async def test_a_drained_nodes_task_waits_and_finds_its_data_again(swarm: Cluster) -> None:
    before = await starts(swarm)
    refused = await swarm.swarm("node", "drain", "h2", check=False)
    assert refused.returncode
    assert "node h2 has the data of db.1 (app_db)" in refused.stderr
    await swarm.swarm("node", "drain", "--stop-stateful", "h2")
    await waits(swarm, "waits for volume app_db on h2, which is drained: make it active")
    await swarm.swarm("node", "activate", "h2")
    await swarm.running(NAME, 1)
    assert await starts(swarm) == before + 1
    with pytest.raises(LabError):
        await swarm.hosts[0].docker("volume", "inspect", "app_db")


async def test_a_lost_nodes_task_is_not_replaced_and_runs_on(swarm: Cluster) -> None:
    (task,) = await swarm.running(NAME, 1)
    before = await starts(swarm)
    swarm.workers["h2"].kill()
    await swarm.node_is(holder(swarm), "down")
    await waits(swarm, "waits for volume app_db on h2, which is down since")
    listed = (await swarm.swarm("volume", "ls")).stdout
    assert "node down" in listed
    await swarm.start_worker(holder(swarm))
    await swarm.node_is(holder(swarm), "ready")
    assert [each["ID"] for each in await swarm.running(NAME, 1)] == [task["ID"]]
    assert await starts(swarm) == before


async def test_a_volume_moves_with_its_task_and_its_content(swarm: Cluster) -> None:
    before = await starts(swarm)
    folder = await volume_folder(swarm) / "_data"
    (folder / "large").write_bytes(bytes(range(256)) * 40_000)
    (folder / "link").symlink_to("large")
    said = (await swarm.swarm("volume", "move", "--dry-run", "app_db", "h1")).stdout
    assert said.startswith("would move app_db from h2 to h1")
    said = (await swarm.swarm("volume", "move", "app_db", "h1")).stdout
    assert said.splitlines()[0] == "moving app_db from h2 to h1"
    assert said.splitlines()[-1].startswith("moved; its tasks were stopped for ")
    (task,) = await swarm.running(NAME, 1)
    assert task["NodeID"] == (await swarm.nodes())["h1"]["ID"]
    found = json.loads(await swarm.hosts[0].docker("volume", "inspect", "app_db"))
    there = Path(found[0]["Mountpoint"])
    assert (there / "large").read_bytes() == (folder / "large").read_bytes()
    assert (there / "link").readlink() == Path("large")

    async def written() -> bool:
        return len((there / "starts").read_text().splitlines()) == before + 1

    await swarm.until(written, 10)
    assert json.loads((there.parent / "swarm.json").read_text())["generation"] == 2
    listed = (await swarm.swarm("volume", "ls")).stdout
    assert "retired" in listed
    await swarm.swarm("volume", "move", "app_db", "h2")
    await swarm.running(NAME, 1)
    assert await starts(swarm) == before + 2


async def test_a_snapshot_is_made_while_the_task_runs_on(swarm: Cluster) -> None:
    before = await starts(swarm)
    (task,) = await swarm.running(NAME, 1)
    said = (await swarm.swarm("volume", "snapshot", "app_db", "before_upgrade")).stdout.splitlines()
    assert said[0] == "copying app_db from h2 to h2/before_upgrade"
    assert said[-1].startswith("copied; its tasks were paused for ")
    assert await kept(holder(swarm), "before_upgrade") == before
    said = (await swarm.swarm("volume", "cp", "--limit", "50MB/s", "app_db", "h1/elsewhere")).stdout.splitlines()
    assert said[-1].startswith("copied; its tasks were paused for ")
    assert await kept(swarm.hosts[0], "elsewhere") == before
    assert [each["ID"] for each in await swarm.running(NAME, 1)] == [task["ID"]]
    assert await holder(swarm).docker("ps", "-q", "--filter", "status=paused") == ""
    await swarm.swarm("volume", "rm", "before_upgrade", "elsewhere")


async def kept(host: Host, volume: str) -> int:
    """Count how often the data was written to, in a volume of a host."""
    found = json.loads(await host.docker("volume", "inspect", volume))
    return len((Path(found[0]["Mountpoint"]) / "starts").read_text().splitlines())


@long
async def test_a_drain_takes_the_data_along(swarm: Cluster) -> None:
    before = await starts(swarm)
    said = (await swarm.swarm("node", "drain", "--move-volumes", "h2")).stdout
    assert said.splitlines()[0] == "moving app_db from h2 to h1"
    (task,) = await swarm.running(NAME, 1)
    assert task["NodeID"] == (await swarm.nodes())["h1"]["ID"]
    assert (await swarm.nodes())["h2"]["Spec"]["Availability"] == "drain"
    await swarm.swarm("node", "activate", "h2")
    await swarm.swarm("volume", "move", "app_db", "h2")
    await swarm.running(NAME, 1)
    assert await starts(swarm) == before + 2


@long
async def test_what_cannot_be_moved_stays_and_is_told(swarm: Cluster) -> None:
    """Each host has a cache of its own: what else there is moves, and the node is drained only if told to stop it."""
    create = ("service", "create", "-d", "--no-resolve-image", "--name", "pair", "--replicas", "2")
    cache = ("--mount", "source=cache,target=/data", "--stop-grace-period", "1s")
    await swarm.swarm(*create, *cache, "busybox:lab", "sleep", "100000")
    await swarm.running("pair", 2)
    found = await swarm.swarm("node", "drain", "--move-volumes", "h2", check=False)
    assert found.returncode == 1
    assert "moving app_db from h2 to h1" in found.stdout
    why, advice = found.stderr.splitlines()
    assert "cache is not moved: no other node can take volume cache: node h1 has a different volume cache" in why
    assert advice.startswith("not drained, but given no new tasks: h2: run this again, with --stop-stateful to stop")
    assert (await swarm.nodes())["h2"]["Spec"]["Availability"] == "pause"
    found = await swarm.swarm("node", "drain", "--move-volumes", "--stop-stateful", "h2")
    assert "cache is not moved" in found.stderr
    assert (await swarm.nodes())["h2"]["Spec"]["Availability"] == "drain"
    await swarm.swarm("service", "rm", "pair")
    await swarm.swarm("node", "activate", "h2")
    said = (await swarm.swarm("volume", "move", "--delete-source", "app_db", "h2")).stdout
    assert said.splitlines()[-1].startswith("moved; its tasks were stopped for ")
    await swarm.running(NAME, 1)

    async def removed() -> bool:
        return "app_db" not in (await swarm.hosts[0].docker("volume", "ls", "-q")).split()

    await swarm.until(removed, 20)


@long
async def test_tasks_stop_for_a_copy_if_told(swarm: Cluster) -> None:
    before = await starts(swarm)
    (task,) = await swarm.running(NAME, 1)
    said = (await swarm.swarm("volume", "snapshot", "--hold", "live", "app_db", "lively")).stdout.splitlines()
    assert said[-1].startswith("copied; its tasks ran on: ")
    assert [each["ID"] for each in await swarm.running(NAME, 1)] == [task["ID"]]
    said = (await swarm.swarm("volume", "cp", "--hold", "stop", "app_db", "h1/stopped")).stdout.splitlines()
    assert said[-1].startswith("copied; its tasks were stopped for ")
    assert await kept(swarm.hosts[0], "stopped") == await kept(holder(swarm), "lively") == before
    (again,) = await swarm.running(NAME, 1)
    assert (again["ID"] != task["ID"], again["NodeID"]) == (True, task["NodeID"])
    await swarm.swarm("volume", "rm", "lively", "stopped")


BACKUP = """
set -eu
restic init
swarm-manager service scale db=0
trap 'swarm-manager service scale --detach db=1' EXIT
restic backup --stdin-from-command --stdin-filename app_db.tar -- swarm-manager volume backup app_db -
restic forget --group-by paths --keep-daily 7 --keep-weekly 5 --prune
"""


@long
async def test_a_volume_is_backed_up_and_restored(swarm: Cluster, tmp_path: Path) -> None:
    """As docs/volumes.md has it: its script, and its way back."""
    before = await starts(swarm)
    (tmp_path / "password").write_text("secret")
    settings = {"RESTIC_REPOSITORY": str(tmp_path / "repository"), "RESTIC_PASSWORD_FILE": str(tmp_path / "password")}
    settings |= {"SWARM_MANAGER_HOST": swarm.api, "RESTIC_CACHE_DIR": str(tmp_path / "cache")}
    await swarm.manager_host.run("sh", "-c", BACKUP, env=settings, timeout=120)
    await swarm.running(NAME, 1)
    assert await starts(swarm) == before + 1
    refused = "restic dump latest app_db.tar | swarm-manager volume restore - h2/app_db"
    found = await swarm.manager_host.run("sh", "-c", refused, env=settings, check=False)
    assert "volume app_db is on this host already" in found.stderr
    back = "restic dump latest app_db.tar | swarm-manager volume restore - h1/again"
    await swarm.manager_host.run("sh", "-c", back, env=settings)
    there = Path(json.loads(await swarm.hosts[0].docker("volume", "inspect", "again"))[0]["Mountpoint"])
    assert len((there / "starts").read_text().splitlines()) == before
    assert json.loads((there.parent / "swarm.json").read_text())["generation"] == 1
    await swarm.swarm("volume", "backup", "h1/again", tmp_path / "again.tar")
    with tarfile.open(tmp_path / "again.tar") as tar:
        assert "./starts" in tar.getnames()
    half = tmp_path / "half.tar"
    half.write_bytes((tmp_path / "again.tar").read_bytes()[:-1024])
    broken = await swarm.swarm("volume", "restore", half, "h1/third", check=False)
    assert "this is not a complete tar archive" in broken.stderr
    with pytest.raises(LabError):
        await swarm.hosts[0].docker("volume", "inspect", "third")
    await swarm.swarm("volume", "rm", "h1/again")


@long
async def test_a_task_goes_on_with_what_was_restored(swarm: Cluster, tmp_path: Path) -> None:
    before = await starts(swarm)
    archive = tmp_path / "app_db.tar"
    await swarm.swarm("service", "scale", f"{NAME}=0")
    await swarm.swarm("volume", "backup", "app_db", archive)
    await holder(swarm).docker("volume", "rm", "app_db")
    await swarm.swarm("service", "scale", "-d", f"{NAME}=1")
    await waits(swarm, "volume app_db was removed on h2 at ")
    said = (await swarm.swarm("volume", "restore", archive, "h2/app_db")).stdout
    assert said.startswith("restored volume app_db on h2: an archive of ")
    await swarm.running(NAME, 1)
    assert await starts(swarm) == before + 1


@long
async def test_anonymous_volumes_of_a_slot_stay_until_its_next_ones(swarm: Cluster) -> None:
    """As after a typing error in a path: a service that was scaled to 0 for a moment has not lost what was in it."""
    create = ("service", "create", "-d", "--no-resolve-image", "--name", "typo", "--constraint", "node.hostname==h2")
    write = ("sh", "-c", "echo kept > /data/word; exec sleep 100000")
    await swarm.swarm(*create, "--stop-grace-period", "1s", "--mount", "target=/data", "busybox:lab", *write)
    before: list[str] = []

    async def left() -> list[str]:
        listed = (await holder(swarm).docker("volume", "ls", "-q", "--filter", "dangling=true")).split()
        return [name for name in listed if len(name) == 64]

    async def another_is_left() -> bool:
        found = await left()
        return len(found) == 1 and found != before

    for _ in range(2):
        await swarm.running("typo", 1)
        await swarm.swarm("service", "scale", "-d", "typo=0")
        await swarm.until(another_is_left, 60, pause=0.2)
        before = await left()
        (there,) = json.loads(await holder(swarm).docker("volume", "inspect", *before))
        assert (Path(there["Mountpoint"]) / "word").read_text() == "kept\n"
        await swarm.swarm("service", "scale", "-d", "typo=1")
    await swarm.swarm("service", "rm", "typo")


async def test_no_prune_and_no_removal_takes_it(swarm: Cluster) -> None:
    await swarm.swarm("service", "scale", "-d", f"{NAME}=0")
    await swarm.tasks_when(NAME, lambda tasks: not tasks)

    async def stopped() -> bool:
        return not await swarm.containers(holder(swarm))

    await swarm.until(stopped, 30)
    await swarm.swarm("volume", "prune", "--all", "--force")
    refused = await swarm.swarm("volume", "rm", "--force", "app_db", check=False)
    assert "volume app_db has the data of db.1: swarm-manager volume release h2/app_db first" in refused.stderr
    assert await starts(swarm)


@long
async def test_a_volume_that_is_removed_by_hand_is_missed(swarm: Cluster) -> None:
    await holder(swarm).docker("volume", "rm", "app_db")
    await swarm.swarm("service", "scale", "-d", f"{NAME}=1")
    await waits(swarm, "volume app_db was removed on h2 at ")
    await swarm.swarm("volume", "release", "app_db")
    await swarm.running(NAME, 1)


@long
async def test_a_removed_services_volume_is_missed_when_recreated(swarm: Cluster) -> None:
    mount, here = "type=volume,source=again_data,target=/data", holder(swarm)
    create = ("service", "create", "-d", "--no-resolve-image", "--name", "again", "--mount", mount)
    create = (*create, "--stop-grace-period", "1s", "--constraint", "node.hostname==h2", "busybox:lab", *LOOP)
    await swarm.swarm(*create)
    await swarm.running("again", 1)

    async def listed(*, state: str, used_by: str) -> bool:
        said = [line for line in (await swarm.swarm("volume", "ls")).stdout.splitlines() if "again_data" in line]
        return len(said) == 1 and state in said[0] and used_by in said[0]

    await swarm.until(lambda: listed(state="ready", used_by="again.1"), 20)
    await swarm.swarm("service", "rm", "again")

    async def removed() -> bool:
        """Whether the host could remove it: not while the task's container has it."""
        return not (await here.run("docker", "volume", "rm", "again_data", check=False)).returncode

    await swarm.until(removed, 40)
    await swarm.until(lambda: listed(state="removed on its host at ", used_by=""), 40)
    await swarm.swarm(*create)

    def told(tasks: list[Any]) -> bool:
        return any("volume again_data was removed on h2 at " in task["Status"].get("Err", "") for task in tasks)

    await swarm.tasks_when("again", told, 30)
    assert "again_data" not in await here.docker("volume", "ls", "-q")
    await swarm.swarm("service", "rm", "again")
    await swarm.swarm("volume", "rm", "again_data")
    await swarm.swarm(*create)
    await swarm.running("again", 1)
    await swarm.swarm("service", "rm", "again")
