"""What a host's report of its volumes makes of records and claims."""

from __future__ import annotations

from typing import Any

import pytest

from common.model import StoredObject
from common.wire.volume_copy import SeenVolume
from manager.domain.volume_inventory import Inventory, decide
from manager.store.tables import Tables
from tests.fakes.volumes import claim, copy, service, task
from tests.unit.manager.schedule.worlds import node

ONE, OTHER = "1" * 32, "2" * 32
DB = service("db", "data")


def world(*values: StoredObject) -> Tables:
    view = Tables()
    for value in (node("a"), node("b"), DB, *values):
        view.of(type(value)).put(value)
    return view


def hear(view: Tables, *seen: SeenVolume, cut: bool = False, now: float = 50.0) -> Tables:
    decision = decide(Inventory("a", seen, cut), view, now)
    for value in decision.remove:
        view.of(type(value)).discard(value.id)
    for value in decision.put:
        view.of(type(value)).put(value)
    assert not decide(Inventory("a", seen, cut), view, now), "what was heard before changes nothing"
    return view


def seen(name: str = "data", data_id: str = ONE, generation: int = 1, **more: object) -> SeenVolume:
    return SeenVolume(name=name, data_id=data_id, generation=generation, **more)  # type: ignore[arg-type]


def test_a_volume_that_is_seen_gets_a_record() -> None:
    (found,) = hear(world(), seen(options={"type": "nfs"}, labels={"a": "b"})).volumes
    assert (found.id, found.data_id, found.generation, found.shared) == ("a/data", ONE, 1, True)


def test_a_claim_binds_when_its_volume_is_seen() -> None:
    waits = task(DB, node_id="a")
    view = world(
        waits, claim("db.1", "data", "a", bound=False, task_id=waits.id), claim("db.2", "data", "a", bound=False)
    )
    hear(view, seen())
    assert {each.holder: each.bound for each in view.volume_claims} == {"db.1": True, "db.2": False}


def test_what_nobody_uses_goes_with_its_record() -> None:
    assert not list(hear(world(copy("a", "data"))).volumes)
    assert list(hear(world(copy("a", "data")), cut=True).volumes), "of what is not in a cut list nothing is known"
    assert list(hear(world(copy("b", "data"))).volumes), "another node's"


def test_a_slots_data_that_is_gone_is_missed_until_it_is_back() -> None:
    view = world(copy("a", "data", ONE), claim("db.1", "data", "a"))
    assert [each.missing_since for each in hear(view).volumes] == [50.0]
    assert [each.missing_since for each in hear(view, now=60.0).volumes] == [50.0]
    assert [each.missing_since for each in hear(view, seen(), now=70.0).volumes] == [0.0]


@pytest.mark.parametrize("there", [(), (seen(data_id=OTHER),)])
def test_the_data_of_a_removed_service_is_missed_too(there: tuple[SeenVolume, ...]) -> None:
    """It may be deployed again, and is not to start empty then."""
    view = world(copy("a", "data", ONE), claim("gone.1", "data", "a"))
    assert [(each.data_id, each.missing_since) for each in hear(view, *there).volumes] == [(ONE, 50.0)]


def test_other_data_by_the_same_name_is_not_a_slots() -> None:
    view = world(copy("a", "data", ONE), claim("db.1", "data", "a"))
    (found,) = hear(view, seen(data_id=OTHER)).volumes
    assert (found.data_id, found.missing_since) == (ONE, 50.0)
    (found,) = hear(world(copy("a", "data", ONE, role="left")), seen(data_id=OTHER)).volumes
    assert (found.data_id, found.role) == (OTHER, "")


def test_older_data_than_the_slots_is_not_it() -> None:
    view = world(copy("a", "data", ONE, generation=3), claim("db.1", "data", "a"))
    assert [each.missing_since for each in hear(view, seen(generation=2)).volumes] == [50.0]
    assert [each.generation for each in hear(view, seen(generation=4)).volumes] == [4]


def test_a_host_that_has_joined_again_brings_its_data() -> None:
    view = world(copy("removed", "data", ONE), claim("db.1", "data", "removed"))
    hear(view, seen(data_id=OTHER))
    assert [each.node_id for each in view.volume_claims] == ["removed"]
    hear(view := world(copy("removed", "data", ONE), claim("db.1", "data", "removed")), seen())
    assert [each.node_id for each in view.volume_claims] == ["a"]
    assert [each.node_id for each in view.volumes] == ["a"]


@pytest.mark.parametrize("lost", [{"generation": 2}, {"updated_at": 1.0}])
def test_a_node_does_not_take_over_what_it_had_once(lost: dict[str, Any]) -> None:
    """The data was moved from it to another node, which was removed since. So it knows the lineage."""
    view = world(copy("removed", "data", ONE, **lost), claim("db.1", "data", "removed"))
    hear(view, seen())
    assert [each.node_id for each in view.volume_claims] == ["removed"]


def test_no_claim_binds_to_what_is_not_whole() -> None:
    """A slot came to a node before it was known that a copy to there had broken off: it is free to go elsewhere."""
    waits = task(DB, node_id="a")
    view = hear(world(waits, claim("db.1", "data", "a", bound=False, task_id=waits.id)), seen(generation=0))
    assert [each.bound for each in view.volume_claims] == [False]
