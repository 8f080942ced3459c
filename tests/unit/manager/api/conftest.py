"""What the tests of the API share: a cluster behind it, and a client that calls it without HTTP."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster


@pytest.fixture
async def cluster() -> AsyncIterator[ApiCluster]:
    """A cluster in which only the API changes anything; `resume` lets its tasks run."""
    async with ApiCluster(idle=True) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: ApiCluster) -> Client:
    return Client(cluster.api)
