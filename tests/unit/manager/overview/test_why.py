"""Why a task waits, where its data has to do with it."""

from __future__ import annotations

from msgspec.structs import replace

from common.model import Node, StoredObject, Task
from manager.overview.why import RefusingNodes, Why, why
from manager.schedule.load import ClusterLoad
from manager.store.changes import Change
from manager.store.tables import Tables
from tests.fakes.volumes import claim, copy, service, task
from tests.unit.manager.schedule.worlds import node

DB = service("db", "data")


def asked(wanted: Task, *values: StoredObject) -> Why:
    view, load = Tables(), ClusterLoad()
    for value in (*map(node, ("a", "b", "c")), *values):
        view.of(type(value)).put(value)
        if isinstance(value, Node):
            load.apply(Change(None, value))
    return why(wanted, view, load)


def test_only_the_node_with_its_data_would_take_a_task() -> None:
    found = asked(task(DB), DB, copy("b", "data"), claim("db.1", "data", "b"))
    assert (found.looked_at, found.fitting, found.waits) == (3, ("b",), "")
    assert found.refusing == (
        RefusingNodes(reason="the data of volume data is on b and not on 2 nodes", nodes=("a", "c")),
    )


def test_data_that_no_node_can_give_is_waited_for() -> None:
    found = asked(task(DB), DB, copy("b", "data", missing_since=9.0), claim("db.1", "data", "b"))
    assert (found.fitting, found.refusing) == ((), ())
    assert "was removed on b" in found.waits


def test_a_task_that_has_its_node_waits_for_data_elsewhere() -> None:
    moving = replace(task(DB), node_id="a")
    found = asked(moving, DB, copy("b", "data"), claim("db.1", "data", "b"))
    assert found.waits == "waits for volume data, which is on b"


def test_a_task_without_data_is_taken_by_all() -> None:
    assert asked(task(service("web"))).fitting == ("a", "b", "c")
