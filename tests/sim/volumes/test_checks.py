"""Each check of what must hold of volumes is tried by breaking the manager."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from common.model import Service, Task, Transfer
from common.model.container import ContainerSpec
from common.model.service import Replicated, RestartPolicy, ServiceMode, ServiceSpec, TaskSpec, UpdateConfig
from manager.domain import transfers, volumes
from manager.domain.defaults import fill_defaults
from manager.loops.transfers import Transfers
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.store.view import View
from tests.fakes.volumes import mount
from tests.sim import clock
from tests.sim.cluster import Cluster
from tests.sim.invariants import Broken
from tests.sim.volumes.test_volumes import settle

MOVE = Transfer(id="move", volumes=("data",), source="a", target="b")
SNAPSHOT = Transfer(
    id="copy",
    operation="copy",
    volumes=("data",),
    source="b",
    target="b",
    as_name="again",
    data_id="e" * 32,
    hold="stop",
)


def db() -> Service:
    container = ContainerSpec(image="v1", mounts=(mount("data"),))
    template = TaskSpec(container_spec=container, restart_policy=RestartPolicy(delay=0))
    mode = ServiceMode(replicated=Replicated(replicas=2))
    update = UpdateConfig(order="start-first", parallelism=0, monitor=0)
    spec = ServiceSpec(name="db", task_template=template, mode=mode, update_config=update)
    return Service(id="db", spec=fill_defaults(spec))


async def story(seed: int = 1) -> None:
    """Move and copy a volume while tasks count, update their service, drain; and all is well."""
    cluster = Cluster(seed)
    async with cluster.running():
        await cluster.add_host("a")
        await cluster.create(db())
        await settle(cluster)
        await cluster.add_host("b")
        await asyncio.sleep(5.0)  # the host says that it is ready, and the other which volumes it has
        await cluster.update(lambda tx: tx.put(MOVE))
        await settle(cluster)
        cluster.check()
        moved = cluster.view.transfers.get("move")
        assert moved is not None
        assert moved.phase == "done", moved.error
        await cluster.update(lambda tx: tx.put(SNAPSHOT))
        await settle(cluster)
        copied = cluster.view.transfers.get("copy")
        assert copied is not None
        assert copied.phase == "done", copied.error
        template = db().spec.task_template
        await cluster.change("db", task_template=replace(template, force_update=1))
        await asyncio.sleep(10.0)
        await cluster.add_host("c")
        await cluster.change_node("b", availability="drain")
        await asyncio.sleep(20.0)
        cluster.check()
        await cluster.change_node("b", availability="active")
        await settle(cluster)


def test_all_is_well_with_a_manager_that_is_not_broken() -> None:
    clock.run(story())


def _without(kind: str, name: str = "commit") -> Callable[..., Any]:
    """Return a commit that leaves out what it does to one kind of objects."""
    whole = getattr(transfers, name)

    def commit(*given: Any) -> Any:
        return tuple(each for each in whole(*given) if type(each).__name__ != kind)

    return commit


def _for_moves(users: Callable[[Transfer, View], list[Task]]) -> Callable[[Transfer, View], list[Task]]:
    """Return what overlooks those who write to what is copied."""
    return lambda transfer, view: users(transfer, view) if transfer.operation == "move" else []


async def _never(*_: object) -> None:
    return


def _stories() -> None:
    """Live through some, for what is a matter of chance."""
    for seed in range(8):
        clock.run(story(seed))


@pytest.mark.parametrize(
    ("where", "name", "instead", "found"),
    [
        (transfers, "users", lambda *_: [], "data is moved from under|was acknowledged"),
        (transfers, "commit", _without("VolumeClaim"), "data is moved, and db.1, db.2 has data at the source"),
        (transfers, "commit", _without("Volume"), "data is moved, and its generation"),
        (transfers, "commit_copy", _without("Volume", "commit_copy"), "data is copied to "),
        (transfers, "users", _for_moves(transfers.users), "data is copied from under|again is a copy of data"),
        (transfers, "arrived", lambda node, copy, _: replace(copy, id=f"{node}/data", node_id=node), "its generation"),
        (volumes, "places", lambda *_: volumes.Anywhere(), "without a move|was acknowledged"),
        (Transfers, "_move", _never, "the move of data is copying"),
        (ServiceContext, "has_one_writer", False, "writes to data while"),
    ],
)
def test_a_broken_manager_is_found(
    where: object, name: str, instead: object, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, instead)
    with pytest.raises(Broken, match=found):
        _stories()
