"""What the load remembers of the nodes beside the counts, and how much of it."""

from __future__ import annotations

from manager.schedule.load import ClusterLoad
from manager.schedule.node_load import NodeLoad
from tests.unit.manager.schedule.worlds import World, node, placed_by, task

KEPT_UP = 16


def no_node(load: NodeLoad) -> bool:
    return False


def a_world_of(nodes: int) -> World:
    return World(*(node(f"n{number}", labels={"zone": f"z{number % 2}"}) for number in range(nodes)))


def use(load: ClusterLoad, number: int) -> bool:
    """Use one region of many; return whether it can be had."""
    tree = load.suitable_tree(number, no_node)
    if tree is not None:
        tree.update()
    return tree is not None


def test_so_many_regions_are_kept_up_and_no_more():
    load = a_world_of(2).load
    assert [use(load, number) for number in range(KEPT_UP + 1)] == [True] * KEPT_UP + [False]
    assert use(load, 0)


def test_preferences_beyond_the_maintained_ones_are_met_too():
    world = a_world_of(2)
    for number in range(KEPT_UP):
        use(world.load, number)
    world.put(*(task(f"t{number}", spec=placed_by(spread=("node.labels.zone",))) for number in range(2)))
    world.decide()
    assert world.nodes_of() == ["n0", "n1"]


def test_a_region_that_nobody_uses_any_more_makes_room():
    world = a_world_of(2)
    for number in range(KEPT_UP):
        use(world.load, number)
    world.put(node("n0", availability="drain"), node("n1", availability="drain"))
    in_use = world.load.suitable_tree(3, no_node)
    assert use(world.load, 3)
    assert use(world.load, KEPT_UP)
    assert world.load.suitable_tree(3, no_node) is in_use
