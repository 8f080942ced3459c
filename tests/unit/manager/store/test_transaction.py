"""Layers of a state: what a transaction has changed is seen in it, and below it only when it is merged."""

import pytest

from common.errors import AlreadyExists
from common.model import Network, Node, Service
from common.model.network import NetworkSpec
from common.model.node import NodeDescription
from common.model.service import ServiceSpec
from manager.store.changes import Decision
from manager.store.tables import Tables
from manager.store.transaction import Transaction


def service(object_id: str, name: str, **other: object) -> Service:
    return Service(id=object_id, spec=ServiceSpec(name=name), **other)  # type: ignore[arg-type]


def test_a_change_is_seen_above_and_not_below() -> None:
    tables = Tables()
    tx = Transaction(tables, 5.0)
    tx.put(service("s", "web"))
    found = tx.services.get("s")
    assert found is not None
    assert (found.version.index, found.created_at, found.updated_at, found.spec_index) == (1, 5.0, 5.0, 1)
    assert len(tables.services) == 0
    tx.merge()
    assert tables.services.get("s") is found


def test_the_first_making_is_kept() -> None:
    tables = Tables()
    first = Transaction(tables, 5.0)
    first.put(service("s", "web"))
    first.merge()
    tables.index = 1
    second = Transaction(tables, 9.0)
    second.put(service("s", "web", pending_delete=True))
    found = second.services.get("s")
    assert found is not None
    assert (found.created_at, found.updated_at) == (5.0, 9.0)
    assert (found.version.index, found.spec_index) == (2, 1), "its specification has not changed"


def test_a_layer_may_stand_on_a_layer() -> None:
    batch = Transaction(Tables(), 1.0)
    batch.put(service("a", "a"))
    layer = Transaction(batch, 1.0)
    layer.put(service("b", "b"))
    layer.remove(service("a", "a"))
    assert [each.id for each in layer.services] == ["b"]
    assert [each.id for each in batch.services] == ["a"]
    layer.merge()
    assert [each.id for each in batch.services] == ["b"]


def test_names_are_unique_but_for_nodes_and_what_is_leaving() -> None:
    tx = Transaction(Tables(), 1.0)
    tx.put(service("a", "web"))
    with pytest.raises(AlreadyExists, match="web"):
        tx.put(service("b", "web"))
    tx.put(service("a", "web", pending_delete=True))
    tx.put(service("b", "web"))
    for node_id in ("n1", "n2"):
        tx.put(Node(id=node_id, description=NodeDescription(hostname="host")))
    assert len(tx.nodes.named("host")) == 2


def test_names_of_different_kinds_are_no_concern_of_each_other() -> None:
    tx = Transaction(Tables(), 1.0)
    tx.put(service("a", "web"))
    tx.put(Network(id="n", spec=NetworkSpec(name="web")))
    assert len(tx.networks.named("web")) == len(tx.services.named("web")) == 1


def test_to_remove_what_is_not_there_changes_nothing() -> None:
    tx = Transaction(Tables(), 1.0)
    tx.remove(service("a", "a"))
    assert not tx.change_set().changes


def test_a_decision_is_applied_as_it_stands() -> None:
    tx = Transaction(Tables(), 1.0)
    tx.put(service("a", "a"))
    tx.apply(Decision(put=(service("b", "b"),), remove=(service("a", "a"),)))
    assert [change.current.id for change in tx.change_set().changes] == ["b"]
