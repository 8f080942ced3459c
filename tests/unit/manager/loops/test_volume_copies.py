"""Copies of volumes that are no moves: the source stays, its tasks go on."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from common.model import Cluster, StoredObject, TaskState, Transfer
from common.model.cluster import ClusterSpec
from manager.store.store import Store
from tests.fakes.volumes import claim, copy, running
from tests.unit.manager.loops.test_transfers import (
    COPY,
    DB,
    NEW,
    Workers,
    able,
    held,
    moving,
    phase,
    place,
    put,
    until,
    usual,
)


async def copied(workers: Workers, wanted: Transfer, *more: StoredObject) -> Store:
    """Make a copy to its end while a task has the data; return the store then."""
    for part in workers.says:
        workers.says[part] = held if workers.says[part] is usual else workers.says[part]
    async with moving(workers) as store:
        await put(store, able("a"), able("b"), DB, claim("db.1", "data", "a"), copy("a", "data", size=5), *more, wanted)
        await until(store, lambda: phase(store) in ("done", "failed"))
        return store


@pytest.mark.parametrize("target", ["a", "b"])
async def test_a_copy_pauses_and_stops_nothing(target: str) -> None:
    workers = Workers()
    store = await copied(workers, replace(COPY, target=target, limit=5e6), running(DB, "a"))
    found = store.view.transfers.get("m")
    assert found is not None
    assert (found.phase, found.downtime, found.stopped_at) == ("done", 0.7, 0.0)
    assert place(store) == "a"
    made = store.view.volumes.get(f"{target}/again")
    assert made is not None
    assert (made.data_id, made.generation, made.size, made.eligible) == (NEW, 2, 5, True)
    parts = {order.part: (order.volume, order.data_id) for order in workers.orders}
    if target == "a":
        assert parts == {"clone": ("data", "d" * 32)}
        assert (workers.orders[0].as_volume, workers.orders[0].as_data_id) == ("again", NEW)
    else:
        assert parts == {"send": ("data", "d" * 32), "receive": ("again", NEW)}
    assert workers.orders[0].limit == 5e6


async def test_a_copy_for_which_tasks_stop_lets_them_start_again() -> None:
    workers = Workers()
    async with moving(workers) as store:
        task = running(DB, "a")
        await put(store, able("a"), able("b"), DB, claim("db.1", "data", "a"), copy("a", "data"), task)
        await put(store, replace(COPY, hold="stop"))
        await until(store, lambda: phase(store) == "last")
        known = store.view.tasks.get(task.id)
        assert known is not None
        await put(store, replace(known, status=replace(known.status, state=TaskState.SHUTDOWN)))
        await until(store, lambda: phase(store) == "done")
        assert place(store) == "a"


async def test_a_copy_that_is_whole_is_not_made_again() -> None:
    workers = Workers()
    store = await copied(workers, COPY, copy("b", "again", NEW, generation=2))
    assert phase(store) == "done"
    assert not workers.orders


async def test_the_clusters_limit_holds_for_what_says_none() -> None:
    workers = Workers()
    cluster = Cluster(id="c", spec=ClusterSpec(labels={"swarm.x.transfer-limit": "50MB/s"}))
    await copied(workers, COPY, cluster)
    assert workers.orders[0].limit == 50 * 1024**2
