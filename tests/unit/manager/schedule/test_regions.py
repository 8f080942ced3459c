"""Nodes divided by what their records say, and the queue from which the emptiest is taken."""

from hypothesis import given
from hypothesis import strategies as st

from common.model import Node
from common.model.node import EngineDescription, NodeDescription, NodeSpec
from common.model.service import Placement, PlacementPreference, SpreadOver
from manager.schedule.node_load import NodeLoad
from manager.schedule.regions import BucketQueue, Region, RegionTree, label_value, label_values, levels_of


def load(node_id: str, zone: str | None, total: int = 0, *, is_open: bool = True) -> NodeLoad:
    found = NodeLoad(node_id)
    found.node = Node(id=node_id, spec=NodeSpec(labels={} if zone is None else {"zone": zone}))
    found.total = total
    found.open = is_open
    return found


def zone_of(each: NodeLoad) -> tuple[str, ...] | None:
    assert each.node is not None
    zone = each.node.spec.labels.get("zone")
    return None if zone is None else (zone,)


def ids(region: Region) -> list[str]:
    return [each.id for each in region]


def test_each_region_has_its_nodes_the_emptiest_first() -> None:
    loads = [load("a", "x", 2), load("b", "x", 1), load("c", "y", 5), load("d", None), load("e", "x", is_open=False)]
    tree = RegionTree(zone_of, loads)
    assert tree.update() == 5
    assert {name: (part.size, part.total) for name, part in tree.root.parts.items()} == {"x": (3, 3), "y": (1, 5)}
    assert ids(tree.root.parts["x"]) == ["b", "a"]
    assert tree.path("d") == ()
    assert tree.path("a") == (tree.root, tree.root.parts["x"])


def test_what_becomes_of_a_load_counts_when_it_is_settled() -> None:
    node = load("a", "x", 1)
    tree = RegionTree(zone_of, [node, load("b", "x", 2)])
    tree.update()
    node.total = 9
    tree.touch(node)
    assert tree.root.total == 3
    assert tree.update() == 1
    assert tree.root.total == 11
    assert ids(tree.root.parts["x"]) == ["b", "a"]


def test_a_region_without_nodes_is_gone() -> None:
    node = load("a", "x")
    tree = RegionTree(zone_of, [node])
    tree.update()
    node.node = None
    tree.touch(node)
    tree.update()
    assert tree.root.parts == {}
    assert (tree.root.size, tree.root.total) == (0, 0)


def test_a_node_with_another_label_moves() -> None:
    node = load("a", "x", 3)
    tree = RegionTree(zone_of, [node])
    tree.update()
    node.node = load("a", "y").node
    tree.touch(node)
    tree.update()
    assert set(tree.root.parts) == {"y"}
    assert tree.root.parts["y"].fullness == 3


def test_a_tree_that_nobody_used_is_idle() -> None:
    nodes = [load("a", "x"), load("b", "x")]
    tree = RegionTree(zone_of, nodes)
    tree.update()
    tree.touch(nodes[0])
    assert not tree.idle
    tree.touch(nodes[1])
    assert tree.idle


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5)), max_size=40))
def test_the_order_is_that_of_its_content_whatever_came_before(moves: list[tuple[str, int]]) -> None:
    order, numbers = BucketQueue(), dict[str, int]()
    for key, number in moves:
        if key in numbers:
            order.move(key, numbers[key], number)
        else:
            order.add(key, number)
        numbers[key] = number
        assert list(order) == sorted(numbers, key=lambda each: (numbers[each], each))
    for key, number in numbers.items():
        order.discard(key, number)
    assert list(order) == []


NODE = Node(
    spec=NodeSpec(labels={"zone": "a"}), description=NodeDescription(engine=EngineDescription(labels={"disk": "ssd"}))
)


def placement(*descriptors: str) -> Placement:
    return Placement(
        preferences=tuple(PlacementPreference(spread=SpreadOver(spread_descriptor=each)) for each in descriptors)
    )


def test_only_labels_divide_nodes() -> None:
    assert levels_of(None) == levels_of(Placement()) == ()
    found = levels_of(placement("node.labels.zone", "node.hostname", "Engine.Labels.disk"))
    assert found == ("node.labels.zone", "Engine.Labels.disk")


def test_a_node_has_a_value_for_each_level_or_none() -> None:
    assert label_values(NODE, ("node.labels.zone", "engine.labels.disk")) == ("a", "ssd")
    assert label_value(NODE, "node.labels.rack") == ""
    assert label_value(NODE, "NODE.LABELS.zone") == "a"
