"""Ansible's `community.docker`, Debian's, on a cluster: a playbook run twice changes nothing the second time."""

import re
from pathlib import Path

import pytest

from tests.clients.installed import PROGRAMS, debian, debian_program, python
from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

COLLECTIONS = "usr/lib/python3/dist-packages/ansible_collections"
PARTS = ("docker", "library_inventory_filtering_v1")
STACK = "services:\n  web:\n    image: web:lab\n    deploy: {replicas: 2}\n    ports: ['8098:80']\n"
PROJECT = "name: project\nservices:\n  web:\n    image: web:lab\n    stop_grace_period: 1s\n"


@pytest.fixture(scope="module")
def context(cluster: Cluster) -> Path:
    debian_program("docker-compose", "docker-compose")
    folder = cluster.manager_host.folder / "context"
    (folder / "project").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM busybox:lab\nRUN echo -n built > /made\n")
    (folder / ".dockerignore").write_text("*\n")
    (folder / "stack.yml").write_text(STACK)
    (folder / "project" / "compose.yml").write_text(PROJECT)
    return folder


async def changes(cluster: Cluster, context: Path, playbook: str) -> int:
    """Run a playbook; return how many of its tasks changed something."""
    collections = debian("ansible", *(f"{COLLECTIONS}/community/{part}" for part in PARTS)) / COLLECTIONS
    settings = ("-i", "localhost,", "-c", "local", "-e", f"host={cluster.api}", "-e", f"context={context}")
    interpreter = ("-e", f"ansible_python_interpreter={python()}")
    environment = {
        "ANSIBLE_COLLECTIONS_PATH": str(collections.parent),
        "ANSIBLE_LOCAL_TEMP": str(cluster.manager_host.folder / "ansible"),
        "ANSIBLE_REMOTE_TMP": str(cluster.manager_host.folder / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        "DOCKER_BUILDKIT": "0",
    }
    command = (python(), "-m", "ansible", "playbook", PROGRAMS / playbook)
    done = await cluster.manager_host.run(*command, *settings, *interpreter, env=environment, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    changed = [line for line in done.stdout.splitlines() if line.startswith("changed")]
    counted = re.search(r"changed=(\d+)", done.stdout)
    assert counted is not None, done.stdout
    print(done.stdout if int(counted[1]) else changed)
    return int(counted[1])


async def test_a_second_run_changes_nothing(cluster: Cluster, context: Path) -> None:
    assert await changes(cluster, context, "playbook.yml") > 10
    assert await changes(cluster, context, "playbook.yml") == 0


async def test_what_was_made_is_removed(cluster: Cluster, context: Path) -> None:
    assert await changes(cluster, context, "remove.yml") > 5
    assert await changes(cluster, context, "remove.yml") == 0
    assert await cluster.get("/services") == []
    assert [each["Name"] for each in await cluster.get('/networks?filters={"type":["custom"]}')] == []
    assert (await cluster.get("/volumes"))["Volumes"] == []
