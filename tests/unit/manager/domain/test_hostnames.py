"""Of several nodes of one host name, constraints mean the one that had it first."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from common.model import Node
from common.model.node import ManagerStatus, NodeDescription, NodeSpec
from common.spec.constraints import parse, parse_all
from manager.domain import hostnames
from manager.orchestrate import hostnames as decider
from manager.store.changes import Change
from tests.fakes.world import World


def node(node_id: str, name: str = "h1", *, taken: bool = False, **fields: object) -> Node:
    values: dict[str, object] = {"certificate_serials": ("1",), "hostname_taken": taken, "agent": True} | fields
    return Node(id=node_id, description=NodeDescription(hostname=name), **values)  # type: ignore[arg-type]


def world(*nodes: Node) -> World:
    """Put the nodes one after the other: the first is the oldest."""
    made = World()
    for each in nodes:
        made.put(replace(each, created_at=made.now))
        made.now += 1
    return made


def decided(made: World) -> dict[str, bool]:
    """Let the decider follow; return whose name is another's."""
    decision = decider.decide(made.tables, list(decider.all_names(made.tables)), made.now, made.rng)
    made.put(*decision.put)
    return {each.id: each.hostname_taken for each in made.tables.nodes}


def meant(made: World, expression: str) -> list[str]:
    constraint = parse(expression)
    return [each.id for each in made.tables.nodes if constraint.matches(each)]


def test_a_node_that_comes_with_a_taken_name_does_not_have_it() -> None:
    made = world(node("a"))
    assert hostnames.with_new_name(made.tables, node("b", "H1")).hostname_taken
    assert not hostnames.with_new_name(made.tables, node("b", "h2")).hostname_taken
    assert not hostnames.with_new_name(made.tables, node("b", "")).hostname_taken
    assert not hostnames.with_new_name(world(node("a", certificate_serials=())).tables, node("b")).hostname_taken


def test_constraints_match_the_owner_of_a_name_and_exclude_all() -> None:
    made = world(node("a"), node("b", "H1", taken=True), node("c", "h2"))
    assert meant(made, "node.hostname==h1") == ["a"]
    assert meant(made, "NODE.hostname == H1") == ["a"]
    assert meant(made, "node.hostname!=h1") == ["c"]
    assert meant(made, "node.id==b") == ["b"]


def test_an_operators_name_for_a_node_precedes_its_join_name() -> None:
    made = world(node("a", spec=NodeSpec(name="vault")))
    assert meant(made, "node.hostname==vault") == ["a"]
    assert meant(made, "node.hostname==h1") == []


@pytest.mark.parametrize(
    "gone",
    [
        node("a", certificate_serials=()),
        node("a", "h2"),
        node("a", spec=NodeSpec(name="other")),
        None,
    ],
    ids=["left", "is another", "was renamed", "was removed"],
)
def test_the_next_has_the_name_when_the_first_has_it_no_more(gone: Node | None) -> None:
    made = world(node("a"), node("b", taken=True), node("c", taken=True))
    before = made.tables.nodes.get("a")
    assert before is not None
    assert decided(made) == {"a": False, "b": True, "c": True}
    made.put(gone) if gone is not None else made.remove(before)
    change = Change(before, made.tables.nodes.get("a"))
    assert "h1" in decider.concerned_names(change, made.tables)
    found = decided(made)
    assert (found["b"], found["c"]) == (False, True)


def test_a_manager_keeps_its_name_though_its_worker_has_left() -> None:
    left = node("a", certificate_serials=(), manager_status=ManagerStatus(leader=True))
    assert decided(world(left, node("b", taken=True))) == {"a": False, "b": True}


def test_of_a_store_from_before_the_oldest_has_the_name() -> None:
    assert decided(world(node("b"), node("a"), node("c"))) == {"b": False, "a": True, "c": True}


def test_one_that_is_down_has_its_name_still() -> None:
    made = World()
    down = made.node("a", state="down")
    made.put(replace(node("b", "A"), created_at=made.now + 1))
    assert decided(made) == {"a": False, "b": True}
    assert "a" in decider.concerned_names(Change(None, down), made.tables)


def test_what_changes_no_name_concerns_nobody() -> None:
    old = node("a")
    assert not list(decider.concerned_names(Change(old, replace(old, image_port=5)), World().tables))


def test_who_constrains_to_a_name_of_several_is_warned() -> None:
    made = world(node("a"), node("b", taken=True), node("c", "h2"))
    (warning,) = hostnames.ambiguous(made.tables, parse_all(["node.hostname==H1", "node.hostname==h2", "node.id==a"]))
    assert warning.startswith("constraint node.hostname==H1: 2 nodes have that host name, and it means a, which had it")
    assert not list(hostnames.ambiguous(made.tables, parse_all(["node.hostname!=h1"])))
