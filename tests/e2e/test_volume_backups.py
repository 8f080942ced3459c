"""Backups by a scheduled job that mounts a snapshot, and the way back, as docs/volumes.md has them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster
from tests.lab import Host
from tests.lab.images import Image, docker_archive, lab_images, tar_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400), long]

DOCS = Path(__file__).parents[2] / "docs" / "volumes.md"
# Numbers, one after the other, each in two files: in a copy that is of one instant they differ by one at most.
WRITER = "cd /var/lib/postgresql/data; i=0; while true; do i=$((i+1)); echo $i > t; mv t a; echo $i > t; mv t b; done"
BINARIES = ("busybox", "restic")


def restic_image(folder: Path) -> Path:
    """Write an image of this machine's restic."""
    busybox, restic = (Path(shutil.which(name) or pytest.skip(f"no {name} on this machine")) for name in BINARIES)
    listed = subprocess.run(["ldd", restic], check=True, capture_output=True, text=True).stdout
    needed = [restic, *(Path(each) for each in re.findall(r"(/\S+) \(", listed))]
    program = tar_of({str(each).lstrip("/"): each.read_bytes() for each in needed})
    shell = lab_images(busybox)[0].layers
    image = Image("restic:lab", (*shell, program), {"Entrypoint": [str(restic)], "Env": ["PATH=/bin:/usr/bin"]})
    archive = folder / "restic.tar"
    archive.write_bytes(docker_archive([image]))
    return archive


def documented(language: str, *, holding: str) -> str:
    """Return the block of the page that has these words."""
    blocks: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    (found,) = [text for name, text in blocks if name == language and holding in text]
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    folder = tmp_path_factory.mktemp("restic")
    async with Cluster("backups", hosts=2) as cluster:
        for host in cluster.hosts:
            await host.docker("load", "-q", "-i", restic_image(folder))
        yield cluster


async def test_a_scheduled_job_backs_up_a_snapshot_and_it_comes_back(swarm: Cluster, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    (tmp_path / "restic.password").write_text("secret")
    env = {"RESTIC_PASSWORD_FILE": str(tmp_path / "restic.password"), "RESTIC_REPOSITORY": str(backups)}
    await swarm.manager_host.run("restic", "init", "--no-cache", env=env)
    stack = documented("yaml", holding="x-swarm-snapshot").replace("/srv/backups", str(backups))
    stack = stack.replace("restic/restic", "restic:lab").replace('"0 3 * * *"', '"* * * * *"')
    stack = stack.replace(
        "image: postgres:17", f"image: busybox:lab\n    command: [sh, -c, {WRITER!r}]".replace("$", "$$")
    )
    (tmp_path / "stack.yml").write_text(stack)
    deploy = ("stack", "deploy", "--resolve-image", "never", "--detach", "-c", tmp_path / "stack.yml", "app")
    await swarm.swarm(*deploy)
    (db,) = await swarm.running("app_db", 1)

    async def backed_up() -> bool:
        listed = await swarm.manager_host.run("restic", "snapshots", "--no-cache", "--no-lock", env=env)
        return "1 snapshots" in listed.stdout

    await swarm.until(backed_up, 120)
    assert [each["ID"] for each in await swarm.running("app_db", 1)] == [db["ID"]]
    nodes = {node["ID"]: name for name, node in (await swarm.nodes()).items()}
    host = next(each for each in swarm.hosts if each.name == nodes[db["NodeID"]])
    assert await host.docker("ps", "-q", "--filter", "status=paused") == ""
    await swarm.manager_host.run(
        "restic", "restore", "latest", "--no-cache", "--target", str(tmp_path / "out"), env=env
    )
    one, other = (int((tmp_path / "out" / "data" / name).read_text()) for name in "ab")
    assert one - other in (0, 1)

    await swarm.until(lambda: snapshot_is_gone(host, "app_data"), 90)
    await restore(swarm, backups)
    await swarm.running("app_db", 1)


async def snapshot_is_gone(host: Host, volume: str) -> bool:
    """Whether a snapshot's room is free again: its volume is removed, or empty while its task's logs are kept."""
    listed = (await host.docker("volume", "ls", "-q")).split()
    kept = [name for name in listed if name.startswith(f"{volume}.")]
    paths = [(await host.docker("volume", "inspect", "-f", "{{.Mountpoint}}", name)).strip() for name in kept]
    return not any(any(Path(path).iterdir()) for path in paths)


ENDING = "trap 'echo ended >> /data/log; exit 0' TERM; echo began >> /data/log; while :; do sleep 0.1; done"


async def test_tasks_stop_for_the_snapshot_of_a_job(swarm: Cluster, tmp_path: Path) -> None:
    """What it has of the database is from after its end, and the database runs again."""
    create = ("service", "create", "--detach", "--no-resolve-image", "--name")
    await swarm.swarm(*create, "ending", "--mount", "source=ended,target=/data", "busybox:lab", "sh", "-c", ENDING)
    (db,) = await swarm.running("ending", 1)
    nodes = {node["ID"]: name for name, node in (await swarm.nodes()).items()}
    host = next(each for each in swarm.hosts if each.name == nodes[db["NodeID"]])
    log = Path((await host.docker("volume", "inspect", "-f", "{{.Mountpoint}}", "ended")).strip()) / "log"

    async def logged(path: Path, words: str) -> bool:
        return path.exists() and path.read_text().split() == words.split()

    await swarm.until(lambda: logged(log, "began"), 20)
    snapshot = "source=ended,target=/data,readonly,volume-label=swarm.x.snapshot=stop"
    out = f"type=bind,source={tmp_path},target=/out"
    job = ("copy", "--mode", "replicated-job", "--restart-condition", "none", "--mount", snapshot, "--mount", out)
    await swarm.swarm(*create, *job, "busybox:lab", "cp", "/data/log", "/out/log")
    said: list[str] = []

    async def copied() -> bool:
        said[:] = [task["Status"].get("Err", "") for task in await swarm.tasks("copy", desired="")]
        return (tmp_path / "log").exists()

    await swarm.until(copied, 60, lambda: f"{said}")
    assert (tmp_path / "log").read_text() == "began\nended\n"
    (copy,) = await swarm.tasks("copy", desired="")
    assert copy["NodeID"] == db["NodeID"]
    await swarm.running("ending", 1)
    await swarm.until(lambda: logged(log, "began ended began"), 20)
    await swarm.until(lambda: snapshot_is_gone(host, "ended"), 30)


async def restore(swarm: Cluster, backups: Path) -> None:
    """Bring it back as the page says."""
    text = documented("", holding="service create --name restore").replace("\\\n", " ")
    text = text.replace("/srv/backups", str(backups)).replace("restic/restic", "restic:lab")
    for line in text.splitlines():
        command = shlex.split(line.removeprefix("$ swarm-manager "))
        if command[:2] == ["service", "create"]:
            command[2:2] = ["--no-resolve-image"]
        await swarm.swarm(*command, timeout=120)
