"""Which of the nodes that would take a task gets it."""

from collections import Counter

from common.model import Node
from common.model.node import NodeDescription, NodeResources
from manager.schedule.node_load import NodeLoad
from manager.schedule.rank import Biased, Binpack, Demand, Spread, Strategy


def loads(*totals: int) -> list[NodeLoad]:
    found = []
    for number, total in enumerate(totals):
        each = NodeLoad(f"n{number}")
        each.total = total
        each.node = Node(id=each.id, description=NodeDescription(resources=NodeResources(nano_cpus=100)))
        found.append(each)
    return found


class Given:
    """A demand, and what it gave; a node takes no more than `room` tasks."""

    def __init__(self, counts: dict[str, int] | None = None, failing: frozenset[str] = frozenset(), room: int = 100):
        self.nodes: list[str] = []
        self.room = room
        self.demand = Demand(self.accepts, self.give, counts or {}, failing)

    def accepts(self, node: NodeLoad) -> bool:
        return self.nodes.count(node.id) < self.room

    def give(self, node: NodeLoad) -> None:
        self.nodes.append(node.id)
        node.total += 1
        node.cpu += 10


def placed(strategy: Strategy, nodes: list[NodeLoad], most: int, given: Given) -> int:
    return strategy.among(nodes, given.demand).place(most)


def test_spread_takes_nodes_without_the_service_first() -> None:
    given = Given(counts={"n0": 1})
    assert placed(Spread(), loads(0, 5, 9), 2, given) == 2
    assert given.nodes == ["n1", "n2"]


def test_spread_evens_out_the_services_tasks() -> None:
    given = Given(counts={"n0": 3})
    assert placed(Spread(), loads(0, 0, 0), 6, given) == 6
    assert Counter(given.nodes) == {"n1": 3, "n2": 3}


def test_nodes_where_a_service_fails_go_last() -> None:
    given = Given(failing=frozenset({"n0"}), room=2)
    assert placed(Spread(), loads(0, 9), 4, given) == 4
    assert given.nodes == ["n1", "n1", "n0", "n0"]


def test_fewer_are_placed_only_when_no_node_takes_another() -> None:
    for strategy in (Spread(), Biased({}), Binpack({})):
        given = Given(room=2)
        assert placed(strategy, loads(0, 0), 9, given) == 4
        assert Counter(given.nodes) == {"n0": 2, "n1": 2}


def test_a_bias_counts_as_tasks() -> None:
    given = Given()
    placed(Biased({"n0": 2, "n1": -1}), loads(0, 0), 3, given)
    assert given.nodes == ["n1", "n1", "n1"]


def test_binpack_fills_the_fullest_first() -> None:
    nodes = loads(0, 0, 0)
    nodes[2].cpu = 50
    nodes[1].cpu = 20
    given = Given(room=2)
    placed(Binpack({}), nodes, 5, given)
    assert given.nodes == ["n2", "n2", "n1", "n1", "n0"]
    given = Given()
    placed(Binpack({"n0": -1}), nodes, 1, given)
    assert given.nodes == ["n0"]
