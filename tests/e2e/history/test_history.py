"""Three managers on real engines, clients and faults for half a minute; `python -m tests.e2e.history` takes longer."""

import pytest

from tests.e2e.ci import long
from tests.e2e.history.checker import violations
from tests.e2e.history.life import Life
from tests.e2e.history.summary import summary
from tests.e2e.managers import Managers


@long
@pytest.mark.alone
@pytest.mark.timeout(400)
async def test_no_fault_of_managers_is_seen_in_what_clients_see() -> None:
    async with Managers("history", 3, small_disks=True) as cluster:
        life = Life(cluster, seed=3, told=print)
        await life.begin()
        history = await life.under_faults(30)
        print(summary(history))
        assert violations(history) == [], await life.story()
        assert history.faults
