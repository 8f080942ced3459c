"""npm's `dockerode` on a cluster: what its documentation shows. The program itself is `programs/dockerode.mjs`."""

import pytest

from tests.clients.installed import node_program
from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


async def test_what_its_documentation_shows(cluster: Cluster) -> None:
    done = await cluster.manager_host.run(
        "node", node_program("dockerode.mjs"), cluster.api.removeprefix("unix://"), timeout=240
    )
    assert done.stdout.endswith(" shown\n")
