"""Of several nodes of one name, exactly one has it."""

from common.model import Node
from common.model.node import NodeDescription
from manager.orchestrate.hostnames import all_names, concerned_names, decide
from manager.store.changes import Change
from tests.fakes.world import World, replace


def node(node_id: str, name: str = "Host", *, taken: bool = False, serials: tuple[str, ...] = ("1",)) -> Node:
    return Node(
        id=node_id,
        description=NodeDescription(hostname=name),
        agent=True,
        certificate_serials=serials,
        hostname_taken=taken,
    )


def world(*nodes: Node) -> World:
    found = World()
    for each in nodes:
        found.put(each)
        found.now += 1
    return found


def taken(found: World) -> dict[str, bool]:
    return {each.id: each.hostname_taken for each in found.tables.nodes}


def test_the_one_that_came_first_has_the_name() -> None:
    found = world(node("b"), node("a", "HOST"))
    found.decide(decide, "host")
    assert taken(found) == {"b": False, "a": True}
    assert not found.decide(decide, "host")


def test_the_next_one_has_it_when_the_first_has_left() -> None:
    found = world(node("b", serials=()), node("a", taken=True), node("c", taken=True))
    decision = found.decide(decide, "host")
    assert taken(found) == {"b": False, "a": False, "c": True}
    assert "is its own from now on" in decision.reasons[0]


def test_only_news_of_a_name_concerns_it() -> None:
    old = node("a", "One")
    tables = World().tables
    assert concerned_names(Change(None, old), tables) == {"one"}
    assert concerned_names(Change(old, node("a", "Two")), tables) == {"one", "two"}
    assert concerned_names(Change(old, replace(old, certificate_serials=())), tables) == {"one"}
    assert concerned_names(Change(old, replace(old, number=5)), tables) == ()
    assert concerned_names(Change(node("a", ""), None), tables) == set()


def test_all_names_are_those_of_nodes() -> None:
    assert all_names(world(node("a", "One"), node("b", "ONE"), node("c", "")).tables) == {"one"}
