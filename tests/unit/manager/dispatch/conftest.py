from collections.abc import AsyncIterator

import pytest

from tests.fakes.dispatching import Manager


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    async with Manager().running() as running:
        yield running
