"""testcontainers, for Python and for Node, on a cluster: what their documentation shows.

Its own clean-up container (Ryuk) is a registry's image, and is switched off. Published ports are at the node of a
container, and testcontainers looks at "localhost": a label places those.
"""

from pathlib import Path

import pytest

from tests.clients.installed import PROGRAMS, node_program, python
from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def context(cluster: Cluster) -> Path:
    folder = cluster.manager_host.folder / "tested"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM busybox:lab\nRUN echo built > /made\n")
    return folder


def environment(cluster: Cluster) -> dict[str, str]:
    return {"DOCKER_HOST": cluster.api, "TESTCONTAINERS_RYUK_DISABLED": "true"}


async def test_python(cluster: Cluster, context: Path) -> None:
    command = (python(), PROGRAMS / "testcontainers_python.py", cluster.manager_host.name, context)
    done = await cluster.manager_host.run(*command, env=environment(cluster), timeout=240)
    assert done.stdout.count("shown") == 5
    await left_nothing(cluster)


async def test_node(cluster: Cluster, context: Path) -> None:
    command = ("node", node_program("testcontainers.mjs"), cluster.manager_host.name, context)
    done = await cluster.manager_host.run(*command, env=environment(cluster), timeout=240)
    assert done.stdout.count("shown") == 5
    await left_nothing(cluster)


async def left_nothing(cluster: Cluster) -> None:
    assert await cluster.get("/containers/json?all=1") == []
    assert [each["Name"] for each in await cluster.get('/networks?filters={"type":["custom"]}')] == []
