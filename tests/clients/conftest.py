"""What the suites of clients share: a cluster of three real engines for each file, and where its API is."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.cluster import Cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    name = request.module.__name__.rpartition("test_")[2].replace("_", "-")
    async with Cluster(name) as cluster:
        yield cluster
