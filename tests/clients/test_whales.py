"""PyPI's `python-on-whales` on a cluster: what its documentation shows. The program is `programs/whales.py`."""

import pytest

from tests.clients.installed import PROGRAMS, python
from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


async def test_what_its_documentation_shows(cluster: Cluster) -> None:
    done = await cluster.manager_host.run(python(), PROGRAMS / "whales.py", cluster.api, timeout=240)
    assert done.stdout.count("shown") == 5
