"""How a node stands towards tasks."""

import pytest

from common.model import Node, Task
from common.model.node import NodeSpec, NodeStatus
from manager.orchestrate.node_availability import NodeAvailabilities, NodeAvailability, availability_of
from tests.fakes.world import World


def node(state: str, availability: str = "active", *, agent: bool = True) -> Node:
    return Node(id="n", spec=NodeSpec(availability=availability), status=NodeStatus(state=state), agent=agent)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (node("ready"), NodeAvailability.OPEN),
        (node("unknown"), NodeAvailability.KEEPING),
        (node("disconnected"), NodeAvailability.KEEPING),
        (node("ready", "pause"), NodeAvailability.KEEPING),
        (node("ready", "drain"), NodeAvailability.DRAINED),
        (node("disconnected", "drain"), NodeAvailability.DRAINED),
        (node("down", "drain"), NodeAvailability.LOST),
        (node("ready", agent=False), NodeAvailability.LOST),
        (None, NodeAvailability.LOST),
    ],
)
def test_state_and_availability_say_how(seen: Node | None, expected: NodeAvailability) -> None:
    assert availability_of(seen) is expected


def test_a_task_of_a_gone_node_is_lost_one_of_no_node_is_not() -> None:
    world = World()
    world.node("n1")
    found = NodeAvailabilities(world.tables)
    assert found.of(Task(id="t")) is NodeAvailability.OPEN
    assert not found.lost(Task(id="t", node_id="n1"))
    assert found.lost(Task(id="t", node_id="gone"))
