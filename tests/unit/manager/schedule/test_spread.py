"""Even shares for the values of labels that spread preferences name."""

from __future__ import annotations

from collections import Counter

from msgspec.structs import replace

from tests.unit.manager.schedule.worlds import (
    World,
    node,
    placed_by,
    reserving,
    task,
    tasks,
)


def test_preferences_even_out_the_labels_values_not_the_nodes():
    east, west = {"zone": "east"}, {"zone": "west"}
    world = World(node("a", labels=east), node("b", labels=east), node("c", labels=west), node("d"))
    world.put(*tasks(9, spec=placed_by(spread=("node.labels.zone",))))
    world.decide()
    assert Counter(world.nodes_of()) == {"a": 2, "b": 1, "c": 3, "d": 3}


def test_preferences_nest():
    def at(zone: str, rack: str) -> dict[str, str]:
        return {"zone": zone, "rack": rack}

    world = World(node("a", labels=at("1", "1")), node("b", labels=at("1", "2")), node("c", labels=at("1", "2")))
    world.put(
        node("d", labels=at("2", "1")), *tasks(8, spec=placed_by(spread=("node.labels.zone", "node.labels.rack")))
    )
    world.decide()
    assert Counter(world.nodes_of()) == {"a": 2, "b": 1, "c": 1, "d": 4}


def test_a_branch_without_room_leaves_its_share_to_the_others():
    spec = replace(placed_by(spread=("node.labels.zone",)), resources=reserving(cpus=1).resources)
    world = World(node("a", cpus=1, labels={"zone": "1"}), node("b", cpus=9, labels={"zone": "2"}))
    world.put(*tasks(5, spec=spec))
    world.decide()
    assert Counter(world.nodes_of()) == {"a": 1, "b": 4}


def test_single_tasks_of_many_services_are_spread_over_branches():
    world = World(node("a", labels={"zone": "1"}), node("b", labels={"zone": "2"}))
    spec = placed_by(spread=("node.labels.zone",))
    world.put(*(task(f"t{i}", f"s{i}", spec) for i in range(6)))
    world.decide()
    assert Counter(t.node_id for t in world.view.tasks) == {"a": 3, "b": 3}
