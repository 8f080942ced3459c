"""Moves of volumes: which go together, which cannot be, and what a commit writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from common.errors import FailedPrecondition
from common.model import Node, Service, StoredObject, Task, TaskState, Transfer, VolumeClaim
from common.model.service import Placement
from common.wire.volume_copy import MOST_GENERATIONS
from manager.domain.transfers import check, commit, ended_moves, is_stopped, moved_together, stays_behind, users
from manager.domain.volume_claims import Claims
from manager.domain.volumes import Nowhere, Only, places
from manager.store.tables import Tables
from tests.fakes.volumes import claim, copy, mount, running, service, task
from tests.unit.manager.schedule.worlds import node

DB = service("db", "data", "files")
EVERYWHERE = service("logs", "data")
MOVE = Transfer(id="m", volumes=("data",), source="a", target="b")


def able(name: str, **more: str) -> Node:
    found = node(name, **more)  # type: ignore[arg-type]
    return replace(found, description=replace(found.description, volumes=True))


def world(*values: StoredObject) -> Tables:
    view = Tables()
    for value in (able("a"), able("b"), *values):
        view.of(type(value)).put(value)
    return view


def test_volumes_of_slots_that_share_one_move_together() -> None:
    view = world(
        claim("db.1", "data", "a"),
        claim("db.1", "files", "a"),
        claim("app.1", "files", "a"),
        claim("app.1", "cache", "a"),
        claim("web.1", "other", "a"),
        claim("db.1", "elsewhere", "b"),
    )
    assert moved_together("a", "data", view) == ("data", "cache", "files")
    assert moved_together("a", "other", view) == ("other",)
    assert moved_together("a", "unclaimed", view) == ("unclaimed",)


names = st.sampled_from(["data", "files", "cache", "other"])


@given(st.lists(st.builds(claim, st.sampled_from(["db.1", "app.1", "web.1"]), names, st.just("a")), max_size=8), names)
def test_what_moves_together_is_the_same_from_each_of_it(claims: list[VolumeClaim], name: str) -> None:
    view = world(*claims)
    together = moved_together("a", name, view)
    assert together[0] == name
    assert all(set(moved_together("a", other, view)) == set(together) for other in together)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ((), "volume data on a has no mark that identifies its data: does it still exist?"),
        ((copy("a", "data", missing_since=5.0),), "volume data on a has no mark"),
        (
            (copy("a", "data", options={"type": "tmpfs"}),),
            "volume data cannot be copied: only volumes of the driver local",
        ),
        (
            (copy("a", "data", generation=MOST_GENERATIONS),),
            "claims to have been moved 2147483648 times, which is impossible",
        ),
        (
            (copy("a", "data"), copy("b", "data", "e" * 32)),
            "different volume data: choose another node, or swarm-manager volume rm b/data",
        ),
        ((copy("a", "data"), able("b", state="down")), "node b is down"),
        ((copy("a", "data"), node("b")), "the worker of node b is too old to copy volumes"),
        ((copy("a", "data"), replace(MOVE, id="other")), "volume data is being moved already"),
        ((copy("a", "data"), copy("b", "data", generation=2)), "node b has a newer copy of volume data"),
        (
            (copy("a", "data"), claim("db.2", "data", "b")),
            "node b is to have the volume data of db.2: choose another node",
        ),
        ((copy("a", "data"), running(EVERYWHERE, "a", slot=0)), "writes to volume data, too, and is not stopped"),
        (
            (copy("a", "data"), claim("db.1", "data", "a"), claim("db.1", "files", "a")),
            "other tasks share data now, and have further volumes: begin the move again",
        ),
    ],
)
def test_a_move_that_cannot_be_is_refused(values: tuple[StoredObject, ...], why: str) -> None:
    with pytest.raises(FailedPrecondition, match=why):
        check(MOVE, world(*values))


def test_a_move_is_not_to_where_the_tasks_may_not_be() -> None:
    spec = replace(DB.spec.task_template, placement=Placement(constraints=("node.hostname==a",)))
    bound: Service = replace(DB, spec=replace(DB.spec, task_template=spec))
    with pytest.raises(FailedPrecondition, match=r"db.1 may not be on node b: node.hostname==a"):
        check(MOVE, world(bound, copy("a", "data"), claim("db.1", "data", "a")))


def test_a_move_that_can_be_is_not_refused() -> None:
    check(MOVE, world(DB, copy("a", "data"), claim("db.1", "data", "a"), copy("b", "data", generation=0)))


def test_tasks_wait_for_the_end_of_the_last_pass() -> None:
    one: Service = service("db", "data")
    view = world(one, claim("db.1", "data", "a"), copy("a", "data"), MOVE)
    assert places(task(one), Claims(view)) == Only("a", "data")
    assert not is_stopped("a", "data", view)
    view.of(Transfer).put(replace(MOVE, phase="last"))
    assert places(task(one), Claims(view)) == Nowhere("volume data is moved from a to b: the last pass")
    assert is_stopped("a", "data", view)
    assert not is_stopped("b", "data", view)


def test_users_are_the_tasks_that_may_still_write() -> None:
    stopped: Task = running(DB, "a", number=2)
    stopped = replace(stopped, status=replace(stopped.status, state=TaskState.SHUTDOWN))
    view = world(claim("db.1", "data", "a"), running(DB, "a"), stopped, running(DB, "a", slot=2))
    assert [each.id for each in users(MOVE, view)] == ["db.1.1", "db.2.1"]  # the second slot has no claim yet


def test_the_commit_makes_the_target_the_place_of_the_data() -> None:
    view = world(
        copy("a", "data", generation=4),
        copy("b", "data", generation=2, role="retired"),
        claim("db.1", "data", "a"),
        claim("app.3", "data", "a"),
        claim("db.2", "data", "c"),
        replace(MOVE, phase="last", stopped_at=100.0),
    )
    for value in commit(MOVE, view, 102.5):
        view.of(type(value)).put(value)
    assert {each.holder: each.node_id for each in view.volume_claims} == {"db.1": "b", "app.3": "b", "db.2": "c"}
    found = {each.node_id: (each.generation, each.role) for each in view.volumes}
    assert found == {"a": (4, "retired"), "b": (5, "")}
    assert [(each.phase, each.downtime) for each in view.transfers] == [("done", 2.5)]


def test_what_no_task_has_is_moved_without_a_downtime() -> None:
    last = replace(MOVE, phase="last", stopped_at=100.0)
    view = world(copy("a", "data"), claim("db.2", "data", "c"), last)
    assert [each.downtime for each in commit(MOVE, view, 102.5) if isinstance(each, Transfer)] == [0.0]


def test_a_slot_that_came_meanwhile_is_not_parted_from_its_data() -> None:
    moving = replace(MOVE, phase="last")
    view = world(copy("a", "data"), copy("a", "files"), claim("db.1", "data", "a"), moving)
    commit(MOVE, view, 5.0)
    view.of(VolumeClaim).put(claim("app.1", "data", "a"))
    view.of(VolumeClaim).put(claim("app.1", "files", "a"))
    with pytest.raises(FailedPrecondition, match="other tasks share data now"):
        commit(MOVE, view, 5.0)


@pytest.mark.parametrize("phase", ["copying", "failed", "done"])
def test_a_move_that_was_ended_commits_nothing(phase: str) -> None:
    with pytest.raises(FailedPrecondition, match="ended meanwhile"):
        commit(MOVE, world(copy("a", "data"), replace(MOVE, phase=phase)), 5.0)


@pytest.mark.parametrize("hold", ["pause", "stop"])
def test_no_copy_stops_tasks_while_others_write(hold: str) -> None:
    """A global service's task has no slot, and does not stand still; it can be paused."""
    everywhere = replace(service("agent", "data"), id="agent")
    able = replace(node("a"), description=replace(node("a").description, volumes=True, snapshots=True))
    view = world(DB, claim("db.1", "data", "a"), copy("a", "data"), able, running(everywhere, "a", slot=0))
    wanted = Transfer(
        id="c", operation="copy", volumes=("data",), source="a", target="a", as_name="x", data_id="e" * 32, hold=hold
    )
    if hold == "pause":
        check(wanted, view)
        return
    with pytest.raises(
        FailedPrecondition, match="writes to volume data, too, and is not stopped by a copy: stop it first"
    ):
        check(wanted, view)


def test_a_volume_of_each_slot_is_not_the_one_it_is_named_for() -> None:
    """What a task of scope `slot` writes to is called data.2."""
    able_too = replace(node("a"), description=replace(node("a").description, volumes=True, snapshots=True))
    cache = running(service("cache", mount("data", "slot")), "a", slot=2)
    view = world(DB, claim("db.1", "data", "a"), copy("a", "data"), able_too, cache)
    wanted = Transfer(
        id="c", operation="copy", volumes=("data",), source="a", target="a", as_name="x", data_id="e" * 32, hold="stop"
    )
    check(wanted, view)
    check(MOVE, view)


def test_a_task_says_why_its_data_stays_on_a_drained_node() -> None:
    db = service("db", "data", volume_policy="move")
    left = replace(able("a"), spec=replace(able("a").spec, availability="drain"))
    there = running(db, "a")
    failed = Transfer(id="f", volumes=("data",), source="a", phase="failed", error="no other node", updated_at=5.0)
    view = world(left, db, there, claim("db.1", "data", "a"), failed)
    assert stays_behind(there, view) == (
        "node a is drained, but volume data cannot be moved off it: no other node. The move is tried again "
        "every minute: make room on another node, or make a active"
    )
    view.transfers.put(replace(failed, id="g", phase="copying", updated_at=4.0))  # type: ignore[attr-defined]
    assert not stays_behind(there, view), "it is being moved"
    assert not stays_behind(there, world(left, service("db", "data"), there, failed)), "its policy is to stay"
    assert not stays_behind(there, world(able("a"), db, there, failed)), "the node is active again"


@given(st.lists(st.tuples(st.sampled_from(["copying", "last", "done", "failed"]), st.integers(0, 9)), max_size=12))
def test_the_oldest_of_what_has_ended_is_forgotten(moves: list[tuple[str, int]]) -> None:
    made = [Transfer(id=str(n), phase=phase, updated_at=at) for n, (phase, at) in enumerate(moves)]
    gone = ended_moves(world(*made), 3)
    kept = [each for each in made if not each.active and each not in gone]
    assert len(kept) == min(3, len(kept) + len(gone))
    assert all(not each.active and all(each.updated_at <= other.updated_at for other in kept) for each in gone)


def test_a_target_marked_in_a_last_pass_is_no_obstacle_to_it() -> None:
    view = world(copy("a", "data"), copy("b", "data", generation=2))
    with pytest.raises(FailedPrecondition, match="node b has a newer copy of volume data"):
        check(MOVE, view)
    last = replace(MOVE, phase="last")
    check(last, view)
    view.volumes.put(copy("b", "data", generation=3))  # type: ignore[attr-defined]
    with pytest.raises(FailedPrecondition, match="node b has a newer copy of volume data"):
        check(last, view)
