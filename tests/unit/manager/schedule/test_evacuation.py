"""Data leaves a drained node where its service wants that, and its task runs until it is taken along."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from common.model import Node, StoredObject, Task, TaskState, Transfer
from common.model.node import NodeSpec
from common.model.service import Placement
from manager.orchestrate.reconcile import services
from manager.schedule.evacuation import RETRY_SECONDS, concerned_nodes, decide, drained_nodes
from manager.store.changes import Change, Decision
from manager.store.tables import Tables
from tests.fakes.volumes import claim, copy, running, service
from tests.unit.manager.schedule.worlds import node

NOW = 1000.0
DB = replace(service("db", "data", volume_policy="move"), spec_version=1)
RUNNING = replace(running(DB, "a"), spec_version=1)


def able(name: str, availability: str = "active") -> Node:
    found = node(name)
    described = replace(found.description, volumes=True, snapshots=True)
    return replace(found, description=described, spec=NodeSpec(availability=availability))


def world(*values: StoredObject, availability: str = "drain") -> Tables:
    view = Tables()
    bound = (claim("db.1", "data", "a"), copy("a", "data"))
    for value in (able("a", availability), able("b"), DB, RUNNING, *bound, *values):
        view.of(type(value)).put(value)
    return view


def decided(view: Tables) -> Decision:
    return decide(view, ["a"], NOW, Random(1))


def slot(view: Tables) -> list[Task]:
    """Return what the service's orchestrator changes of its tasks."""
    return [each for each in services.decide(view, [DB.id], NOW, Random(1)).put if isinstance(each, Task)]


def test_a_drained_nodes_data_moves_and_its_task_runs_on() -> None:
    view = world()
    (move,) = decided(view).put
    assert isinstance(move, Transfer)
    assert (move.volumes, move.source, move.target, move.phase) == (("data",), "a", "b", "copying")
    assert not slot(view)
    view.transfers.put(move)  # type: ignore[attr-defined]
    assert not decided(view)
    view.transfers.put(replace(move, phase="last"))  # type: ignore[attr-defined]
    stopped = {task.id: task.desired_state for task in slot(view)}
    assert stopped[RUNNING.id] is TaskState.SHUTDOWN


def test_nothing_moves_off_a_node_that_is_not_drained() -> None:
    assert not decided(world(availability="pause"))
    assert not decided(world(replace(able("a", "drain"), status=replace(able("a").status, state="down"))))


def test_a_service_that_does_not_want_it_keeps_its_data() -> None:
    view = world(replace(service("db", "data"), spec_version=1))
    assert not decided(view)
    assert slot(view)


def test_what_failed_is_tried_again_later() -> None:
    failed = Transfer(id="m", volumes=("data",), source="a", target="b", phase="failed", updated_at=NOW - 1)
    found = decided(world(failed))
    assert (found.put, found.wake_at) == ((), {"a": NOW - 1 + RETRY_SECONDS})
    assert decided(world(replace(failed, updated_at=NOW - RETRY_SECONDS))).put


def test_where_none_can_take_it_that_is_said_and_tried_again() -> None:
    found = decided(world(able("b", "drain")))
    assert found.wake_at == {"a": NOW + RETRY_SECONDS}
    assert "volume data is not moved off the drained node a: no other node can take volume data" in found.reasons[0]
    (record,) = found.put
    assert isinstance(record, Transfer)
    assert (record.phase, record.volumes, record.source, record.target) == ("failed", ("data",), "a", "")
    later = decided(world(able("b", "drain"), replace(record, updated_at=NOW - RETRY_SECONDS)))
    assert later.put == (replace(record, updated_at=NOW - RETRY_SECONDS),), "one record, however often it is tried"


def test_a_node_with_other_data_of_the_name_is_passed_over() -> None:
    """As where each node has a cache: the one with the least to do need not be one that can take it."""
    other = copy("b", "data", "e" * 32)
    (move,) = decided(world(other, able("c"), running(service("web"), "c"))).put
    assert isinstance(move, Transfer)
    assert move.target == "c"
    (move,) = decided(world(other)).put
    assert isinstance(move, Transfer)
    assert (move.phase, move.target) == ("failed", "")
    assert move.error.startswith("no other node can take volume data: node b has a different volume data: ")


def test_what_may_be_news_wakes_it() -> None:
    view = world()
    assert list(drained_nodes(view)) == ["a"]
    ended = Transfer(id="m", volumes=("data",), source="a", target="b", phase="failed")
    for value in (able("a", "drain"), claim("db.1", "data", "a"), ended):
        assert list(concerned_nodes(Change(old=None, new=value), view)) == ["a"]
    for value in (able("a"), replace(ended, phase="copying"), RUNNING):
        assert not list(concerned_nodes(Change(old=None, new=value), view))


def test_constraints_that_were_removed_meanwhile_keep_nothing() -> None:
    """The task was made with them, and is not replaced for their sake."""
    there = replace(RUNNING, spec=replace(RUNNING.spec, placement=Placement(constraints=("node.id==a",))))
    (move,) = decided(world(there)).put
    assert isinstance(move, Transfer)
    assert (move.phase, move.target) == ("copying", "b")
