"""Which of the nodes that would take a task gets it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from common.model import Cluster, Node, Service, Task, TaskState, TaskStatus
from common.model.cluster import ClusterSpec
from common.model.node import NodeDescription, NodeResources, NodeStatus
from common.model.service import Replicated, Reservations, Resources, ServiceMode, ServiceSpec, TaskSpec
from manager.schedule.balance import plan_moves, reason_to_stay
from manager.schedule.load import ClusterLoad
from manager.schedule.node_load import NodeLoad
from manager.schedule.rank import Biased, Binpack, Demand, Spread, Strategy
from manager.schedule.scheduler import schedule
from manager.store.tables import Tables


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


NOW = 1000.0


class World:
    """Nodes a, b, c of ten cores each, and services whose tasks reserve `cpu` of them."""

    def __init__(self, default: str = "") -> None:
        self.view = Tables()
        for letter in "abc":
            described = NodeDescription(hostname=letter, resources=NodeResources(nano_cpus=10))
            self.view.of(Node).put(Node(id=letter, agent=True, status=NodeStatus(state="ready"), description=described))
        labels = {"swarm.x.strategy": default} if default else {}
        self.view.of(Cluster).put(Cluster(id="cluster", spec=ClusterSpec(labels=labels)))

    def service(self, name: str, cpu: int = 0, placed: str = "", pending: int = 0, **labels: str) -> Service:
        template = TaskSpec(resources=Resources(reservations=Reservations(nano_cpus=cpu)) if cpu else None)
        spec = ServiceSpec(
            name=name,
            task_template=template,
            mode=ServiceMode(replicated=Replicated(replicas=1)),
            labels={f"swarm.x.{key.replace('_', '-')}": value for key, value in labels.items()},
        )
        service = Service(id=name, spec=spec)
        self.view.of(Service).put(service)
        for slot, node_id in enumerate([*placed, *([""] * pending)], 1):
            state = TaskState.RUNNING if node_id else TaskState.PENDING
            task = Task(
                id=f"{name}{slot:02}",
                service_id=name,
                slot=slot,
                spec=template,
                node_id=node_id,
                status=TaskStatus(state=state),
                desired_state=TaskState.RUNNING,
            )
            self.view.of(Task).put(task)
        return service

    def decided(self) -> dict[str, str]:
        """Return where each service's tasks go, as `"aab"`."""
        load = ClusterLoad.of(self.view)
        put = schedule(self.view, load, list(load.pending), NOW).decision.put
        assert load == ClusterLoad.of(self.view)
        found: dict[str, str] = {}
        for task in put:
            assert isinstance(task, Task)
            found[task.service_id] = found.get(task.service_id, "") + task.node_id
        return {name: "".join(sorted(nodes)) for name, nodes in found.items()}


def test_binpack_fills_a_node_before_the_next() -> None:
    world = World()
    world.service("web", cpu=3, pending=7, strategy="binpack")
    assert world.decided() == {"web": "aaabbbc"}


def test_binpack_begins_where_most_is_reserved() -> None:
    world = World()
    world.service("big", cpu=6, placed="c")
    world.service("many", placed="bbb")
    world.service("web", cpu=2, pending=4, strategy="binpack")
    assert world.decided() == {"web": "bbcc"}


def test_the_clusters_strategy_counts_where_a_service_has_none() -> None:
    world = World("binpack")
    world.service("web", cpu=1, pending=3)
    world.service("db", cpu=1, pending=3, strategy="spread")
    assert world.decided() == {"web": "aaa", "db": "abc"}


def test_an_affinity_is_worth_its_weight_in_tasks() -> None:
    world = World()
    world.service("db", placed="b")
    world.service("web", pending=5, affinity="db=2")
    assert world.decided() == {"web": "abbbc"}


def test_an_anti_affinity_holds_while_it_outweighs_the_spread() -> None:
    world = World()
    world.service("db", placed="a")
    world.service("web", pending=4, anti_affinity="db=2")
    assert world.decided() == {"web": "bbcc"}
    world = World()
    world.service("db", placed="a")
    world.service("web", pending=7, anti_affinity="db=2")
    assert Counter(world.decided()["web"]) == {"a": 1, "b": 3, "c": 3}


def test_what_is_liked_but_nowhere_changes_nothing() -> None:
    world = World()
    world.service("web", pending=3, affinity="none=9,other", anti_affinity="more")
    assert world.decided() == {"web": "abc"}


@pytest.mark.parametrize(
    ("labels", "default", "stays"),
    [
        ({}, "spread", False),
        ({}, "binpack", True),
        ({"strategy": "spread"}, "binpack", False),
        ({"strategy": "binpack"}, "spread", True),
        ({"affinity": "db"}, "spread", True),
        ({"on_rotate": "restart"}, "spread", False),
    ],
)
def test_only_what_is_spread_is_made_even(labels: dict[str, Any], default: str, stays: bool) -> None:
    world = World(default)
    service = world.service("web", placed="aaa", **labels)
    assert bool(reason_to_stay(service, default)) == stays
    assert bool(plan_moves(world.view, ClusterLoad.of(world.view), [service], NOW)) != stays
