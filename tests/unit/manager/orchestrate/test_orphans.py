"""Tasks whose node is gone."""

from __future__ import annotations

import pytest

from common.model import TaskState
from common.model.node import NodeStatus
from manager.orchestrate import orphans
from tests.fakes.world import replace
from tests.unit.manager.orchestrate.test_reaper import running


def test_a_removed_nodes_tasks_are_orphaned_and_replaced_at_once() -> None:
    world = running(2)
    node = world.tables.nodes.get("n1")
    assert node is not None
    world.remove(node)
    decision = world.decide(orphans.decide, "n1")
    assert {task.status.state for task in world.tasks} == {TaskState.ORPHANED}
    assert "its node was removed" in decision.reasons[0]
    world.decide()
    assert [task.desired_state for task in world.live] == [TaskState.RUNNING, TaskState.RUNNING]


@pytest.mark.parametrize("manages", [False, True])
def test_tasks_of_a_node_that_has_left_are_orphaned_at_once(manages: bool) -> None:
    """A manager stays a ready node without a worker: it is never removed, so nothing else would end them."""
    world = running(2)
    node = world.tables.nodes.get("n1")
    assert node is not None
    world.put(
        replace(
            node, status=NodeStatus(state="ready" if manages else "down"), agent=not manages, certificate_serials=()
        )
    )
    decision = world.decide(orphans.decide, "n1")
    assert {task.status.state for task in world.tasks} == {TaskState.ORPHANED}
    assert "its node's worker has left the cluster" in decision.reasons[0]


def test_a_node_that_is_down_for_a_day_is_given_up() -> None:
    world = running()
    world.node("n1", state="down")
    decision = world.decide(orphans.decide, "n1", "")
    assert decision.wake_at == {"n1": world.now + orphans.PATIENCE}
    world.pass_time(orphans.PATIENCE)
    world.decide(orphans.decide, "n1")
    assert [task.status.state for task in world.tasks] == [TaskState.ORPHANED]


def test_a_node_that_is_there_keeps_its_tasks() -> None:
    world = running()
    assert not world.decide(orphans.decide, "n1")
