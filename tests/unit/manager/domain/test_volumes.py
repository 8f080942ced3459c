"""Where tasks may be for their data, and what a placement makes of claims."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from common.model import Node, StoredObject, Task, TaskState, TaskStatus, Transfer, Volume, VolumeClaim
from common.model.node import NodeSpec
from common.model.service import Global, Placement, ServiceMode
from manager.domain.volume_claims import Claims, data_node, has_one_writer, holders
from manager.domain.volumes import Anywhere, Nowhere, Only, Places, places, settle, waits_for
from manager.store.tables import Tables
from tests.fakes.volumes import claim, copy, mount, running, service, task
from tests.unit.manager.schedule.worlds import node

NODES = ("a", "b", "c")
DB = service("db", "data")


def world(*values: StoredObject) -> Tables:
    view = Tables()
    for value in (*map(node, NODES), *values):
        view.of(type(value)).put(value)
    return view


def where(view: Tables, wanted: Task) -> Places:
    return places(wanted, Claims(view))


def settled(view: Tables, wanted: Task, node_id: str) -> Task | None:
    """Place a task, store what follows, and return it; None where its data is elsewhere."""
    found = settle(replace(wanted, node_id=node_id, status=TaskStatus(state=TaskState.ASSIGNED)), Claims(view))
    if found is None:
        return None
    for value in (found[0], *found[1]):
        view.of(type(value)).put(value)
    return found[0]


def test_a_task_without_named_volumes_goes_anywhere() -> None:
    view = world(plain := service("web"))
    assert where(view, task(plain)) == Anywhere()


def test_a_slot_without_data_goes_anywhere_and_claims_it() -> None:
    view = world(DB)
    assert where(view, task(DB)) == Anywhere()
    settled(view, task(DB), "b")
    assert [(each.holder, each.node_id, each.bound) for each in view.volume_claims] == [("db.1", "b", False)]


@pytest.mark.parametrize("service_name", ["gone", "db"])
def test_a_redeployed_slot_waits_for_data_that_is_missing(service_name: str) -> None:
    view = world(DB, copy("b", "data", missing_since=9.0), claim(f"{service_name}.1", "data", "b"))
    found = where(view, task(DB))
    assert isinstance(found, Nowhere) == (service_name == "db")
    if isinstance(found, Nowhere):
        assert "was removed on b" in found.reason


def test_another_service_begins_anew_where_data_is_missing() -> None:
    view = world(DB, copy("b", "data", "1" * 32, missing_since=9.0), claim("gone.1", "data", "b"))
    assert settled(view, task(DB), "b") is not None
    assert [(each.data_id, each.generation) for each in view.volumes] == [("", 0)]


def test_a_claim_binds_only_once_the_engine_has_the_volume() -> None:
    view = world(DB)
    first = settled(view, task(DB), "b")
    assert first is not None
    view.tasks.put(replace(first, status=TaskStatus(state=TaskState.REJECTED)))  # type: ignore[attr-defined]
    assert where(view, task(DB, number=2)) == Anywhere()  # its image could not be had
    view.tasks.put(replace(first, status=TaskStatus(state=TaskState.RUNNING)))  # type: ignore[attr-defined]
    assert where(view, task(DB, number=2)) == Only("b", "data")


def test_a_claimed_slot_goes_to_its_data_and_carries_its_lineage() -> None:
    view = world(DB, claim("db.1", "data", "b"), copy("b", "data", "e" * 32, generation=3))
    assert where(view, task(DB)) == Only("b", "data")
    assert settled(view, task(DB), "a") is None
    placed = settled(view, task(DB), "b")
    assert placed is not None
    assert [(each.name, each.data_id, each.generation) for each in placed.volumes] == [("data", "e" * 32, 3)]


def test_each_slot_has_a_copy_of_its_own() -> None:
    three = service("db", "data", replicas=3)
    view = world(three, *(claim(f"db.{n}", "data", where) for n, where in enumerate(NODES, start=1)))
    assert [where(view, task(three, slot)) for slot in (1, 2, 3)] == [Only(each, "data") for each in NODES]


def test_a_service_that_is_deployed_again_finds_its_data() -> None:
    view = world(claim("db.1", "data", "c"), copy("c", "data"))
    assert where(view, task(DB)) == Only("c", "data")


def test_a_volume_that_is_there_already_is_taken() -> None:
    assert where(world(DB, copy("b", "data")), task(DB)) == Only("b", "data")


def test_a_copy_that_was_left_behind_is_never_chosen() -> None:
    view = world(DB, copy("b", "data", role="left"), copy("c", "data", missing_since=5.0))
    assert where(view, task(DB)) == Anywhere()


def test_services_that_name_one_volume_share_it() -> None:
    app, job = service("app", "data"), service("backup", "data", replicas=2)
    view = world(DB, app, job, claim("db.1", "data", "b"), copy("b", "data"), copy("a", "data"))
    assert where(view, task(app)) == Only("b", "data")  # rather than the copy that nobody uses
    view = world(DB, job, claim("db.1", "data", "b"), copy("b", "data"))
    settled(view, task(job), "b")
    assert where(view, task(job, 2)) == Only("b", "data")


def test_more_copies_than_slots_are_asked_about() -> None:
    view = world(DB, copy("a", "data"), copy("c", "data"))
    found = where(view, task(DB))
    assert isinstance(found, Nowhere)
    assert found.reason == (
        "volume data is on a, c, and nobody has said which one is meant: swarm-manager volume claim NODE/data db.1"
    )
    assert where(world(two := service("db", "data", replicas=2), copy("a", "data"), copy("c", "data")), task(two))


def test_a_volume_that_was_removed_by_hand_is_not_made_anew() -> None:
    view = world(DB, claim("db.1", "data", "b"), copy("b", "data", missing_since=7200.0))
    found = where(view, task(DB))
    assert isinstance(found, Nowhere)
    assert found.reason == (
        "volume data was removed on b at 1970-01-01T02:00:00Z, not by the cluster: restore it, or "
        "swarm-manager volume release data to start empty"
    )


def test_data_on_a_removed_node_is_waited_for() -> None:
    found = where(world(DB, claim("db.1", "data", "gone")), task(DB))
    assert isinstance(found, Nowhere)
    assert "was on node gone, which was removed" in found.reason


def test_volumes_on_two_nodes_are_told() -> None:
    app = service("app", "db", "files")
    view = world(app, claim("app.1", "db", "a"), claim("app.1", "files", "b"))
    assert where(view, task(app)) == Nowhere("no node has both db (a) and files (b): move one")


def test_a_new_volume_comes_beside_the_data_that_is_there() -> None:
    app = service("app", "db", "new")
    assert where(world(app, claim("app.1", "db", "c")), task(app)) == Only("c", "db")


def test_scope_one_is_one_copy_for_all_tasks() -> None:
    app = service("app", mount("data", "one"), replicas=3)
    view = world(app)
    assert where(view, task(app)) == Anywhere(alone=True)
    settled(view, task(app), "c")
    assert where(view, task(app, 2)) == Only("c", "data")


def test_scope_slot_names_the_volume_by_its_slot() -> None:
    app = service("app", mount("data", "slot"), replicas=2)
    view = world(app)
    settled(view, task(app, 2), "c")
    assert [each.volume for each in view.volume_claims] == ["data.2"]


def test_shared_and_nodes_own_volumes_bind_nobody() -> None:
    for each in (mount("data", "node"), mount("data", "shared"), mount("data", type="nfs", device=":/x")):
        app = service("app", each)
        view = world(app, copy("b", "data"))
        assert where(view, task(app)) == Anywhere()
        assert settled(view, task(app), "a") == replace(
            task(app), node_id="a", status=TaskStatus(state=TaskState.ASSIGNED)
        )
        assert not list(view.volume_claims)
    by_hand = world(DB, copy("b", "data", shared=True))  # `docker volume create --opt type=nfs`
    assert where(by_hand, task(DB)) == Anywhere()
    for value in settle(replace(task(DB), node_id="b"), Claims(by_hand)) or ():
        assert isinstance(value, Task) or not value
    by_hand.tasks.put(running(DB, "b"))  # type: ignore[attr-defined]
    assert not has_one_writer(task(DB), by_hand)
    assert data_node(running(DB, "b"), by_hand) == ""


def test_a_claim_ends_when_its_node_calls_the_volume_shared() -> None:
    view = world(DB, claim("db.1", "data", "b"))
    assert where(view, task(DB)) == Only("b", "data")
    view.volumes.put(copy("b", "data", shared=True))  # type: ignore[attr-defined]
    assert where(view, task(DB)) == Anywhere()
    assert not holders("b", "data", view)


def test_no_other_node_can_say_that_data_is_shared() -> None:
    view = world(DB, claim("db.1", "data", "b"), copy("b", "data"), running(DB, "b"), copy("c", "data", shared=True))
    assert where(view, task(DB, number=2)) == Only("b", "data")
    assert settled(view, task(DB, number=2), "c") is None
    assert data_node(running(DB, "b"), view) == "b"
    assert has_one_writer(task(DB), view)
    assert where(world(DB, copy("b", "data"), copy("c", "data", shared=True)), task(DB)) == Only("b", "data")


def test_a_name_with_the_node_or_the_task_in_it_has_no_rule() -> None:
    for name in ("data-{{.Node.ID}}", "data-{{.Node.Hostname}}", "data-{{.Task.ID}}", "data-{{.Task.Name}}"):
        app = service("app", name)
        assert settled(view := world(app), task(app), "a")
        assert not list(view.volume_claims)
    app = service("app", "data-{{.Task.Slot}}")
    settled(view := world(app), task(app, 7), "a")
    assert [each.volume for each in view.volume_claims] == ["data-7"]


def test_global_tasks_claim_nothing() -> None:
    app = service("app", "data")
    app = replace(app, spec=replace(app.spec, mode=ServiceMode(global_=Global())))
    assert settled(view := world(app), task(app, 0), "a")
    assert not list(view.volume_claims)


def test_fresh_starts_empty_elsewhere_and_leaves_the_copy_behind() -> None:
    cache = service("cache", "data", volume_policy="fresh")
    drained = replace(node("b"), spec=NodeSpec(availability="drain"))
    view = world(cache, claim("cache.1", "data", "b"), copy("b", "data"))
    assert where(view, task(cache)) == Only("b", "data")
    view.nodes.put(drained)  # type: ignore[attr-defined]
    assert where(view, task(cache)) == Anywhere()
    settled(view, task(cache), "a")
    assert [(each.node_id, each.role) for each in view.volumes] == [("b", "left")]
    assert [each.node_id for each in view.volume_claims] == ["a"]


def test_a_task_on_its_datas_node_is_tied_unless_fresh() -> None:
    cache = service("cache", "data", volume_policy="fresh")
    view = world(DB, cache, claim("db.1", "data", "b"), claim("cache.1", "data", "b"))
    assert data_node(running(DB, "b"), view) == "b"
    assert data_node(running(cache, "b"), view) == ""
    assert data_node(running(service("web"), "b"), view) == ""


@pytest.mark.parametrize(
    "there",
    [
        copy("b", "data", "e" * 32, generation=0),
        copy("b", "data", "e" * 32, role="retired"),
        copy("b", "data", generation=2),  # marked by a move that came to no commit
        Transfer(id="m", volumes=("data",), source="a", target="b"),
    ],
)
def test_no_slot_begins_on_what_is_old_or_not_whole(there: StoredObject) -> None:
    view = world(service("db", "data", replicas=2), claim("db.1", "data", "a"), copy("a", "data"), there)
    assert where(view, task(DB, slot=2)) == Anywhere(alone=True, unfit=frozenset({"b"}), volume="data")
    assert settled(view, task(DB, slot=2), "b") is None
    assert settled(view, task(DB, slot=2), "c") is not None


def test_who_may_leave_its_data_joins_no_last_pass() -> None:
    """The simulation found it (seed 186): a slot that starts empty elsewhere came to the source, and wrote there."""
    fresh = service("db", "data", volume_policy="fresh")
    view = world(fresh, claim("db.1", "data", "c"), claim("app.1", "data", "a"), copy("a", "data"))
    view.of(Node).put(node("c", availability="drain"))
    view.of(Transfer).put(Transfer(id="m", volumes=("data",), source="a", target="b", phase="last"))
    assert where(view, task(fresh)) == Anywhere(alone=True, unfit=frozenset({"a", "b"}), volume="data")
    assert settled(view, task(fresh), "a") is None


def test_nobody_joins_a_copy_in_its_last_pass() -> None:
    app = service("app", "data")
    view = world(DB, app, claim("db.1", "data", "a"), copy("a", "data"))
    move = Transfer(id="m", volumes=("data",), source="a", target="b")
    view.of(Transfer).put(move)
    assert where(view, task(app)) == Only("a", "data")
    view.of(Transfer).put(replace(move, phase="last"))
    assert where(view, task(app)) == Nowhere("volume data is moved from a to b: the last pass")


def test_writers_may_be_many_by_the_services_word() -> None:
    many = service("app", "data", volume_writers="many")
    view = world(DB, many)
    assert has_one_writer(task(DB), view)
    assert not has_one_writer(task(many), view)
    assert not has_one_writer(task(service("app", mount("data", type="nfs"))), view)


def test_only_services_that_there_are_hold_a_copy() -> None:
    view = world(DB, claim("db.1", "data", "b"), claim("gone.1", "data", "b"))
    assert holders("b", "data", view) == ["db.1"]


BACKUP = service("backup", mount("data", snapshot="pause"))


def test_a_task_with_a_snapshot_goes_where_the_data_is() -> None:
    view = world(DB, BACKUP, claim("db.1", "data", "b"), copy("b", "data"), copy("c", "data"))
    assert where(view, task(BACKUP)) == Only("b", "data")
    settled(view, task(BACKUP), "b")
    assert [each.holder for each in view.volume_claims] == ["db.1"]


def test_a_snapshot_of_what_is_on_two_nodes_is_asked_about() -> None:
    view = world(DB, BACKUP, claim("db.1", "data", "b"), claim("db.2", "data", "c"))
    assert where(view, task(BACKUP)) == Nowhere(
        "volume data is on b, c: say of which one the snapshot is to be, with a constraint"
    )
    narrowed = replace(BACKUP.spec.task_template, placement=Placement(constraints=("node.id==c",)))
    assert where(view, task(BACKUP, spec=narrowed)) == Only("c", "data")


def test_a_snapshot_of_nothing_waits() -> None:
    found = where(world(BACKUP), task(BACKUP))
    assert isinstance(found, Nowhere)
    assert found.reason.startswith("waits for volume data, of which it mounts a snapshot")


def test_what_is_wrong_with_its_node_is_told() -> None:
    view = world(replace(node("a", state="down"), updated_at=60.0))
    view.nodes.put(node("b", availability="drain"))  # type: ignore[attr-defined]
    assert waits_for("data", "a", view) == "waits for volume data on a, which is down since 1970-01-01T00:01:00Z"
    assert waits_for("data", "b", view) == (
        "waits for volume data on b, which is drained: make it active, or swarm-manager volume move data NODE"
    )
    assert waits_for("data", "c", view) == ""


claims = st.builds(
    lambda holder, volume, where, bound: claim(holder, volume, where, bound=bound),
    st.sampled_from(("db.1", "db.2", "app.1", "gone.1")),
    st.sampled_from(("data", "files")),
    st.sampled_from(NODES),
    st.booleans(),
)
copies = st.builds(
    lambda where, name, role: copy(where, name, role=role),
    st.sampled_from(NODES),
    st.sampled_from(("data", "files")),
    st.sampled_from(("", "", "left", "retired")),
)


@given(st.lists(claims | copies, max_size=10), st.integers(1, 2), st.sampled_from(NODES))
def test_a_slot_is_never_placed_away_from_its_data(known: list[VolumeClaim | Volume], slot: int, chosen: str) -> None:
    both = service("db", "data", "files", replicas=2)
    view = world(both, service("app", "data"), *known)
    own = {each.node_id for each in view.volume_claims if each.service == "db" and each.slot == slot and each.bound}
    match where(view, wanted := task(both, slot)):
        case Only(node_id=node_id):
            assert own <= {node_id}
            chosen = node_id
        case Anywhere(unfit=unfit) if chosen in unfit:
            assert settled(view, wanted, chosen) is None
            return
        case Anywhere():
            assert not own
        case Nowhere():
            assert settled(view, wanted, chosen) is None
            return
    placed = settled(view, wanted, chosen)
    assert placed is not None
    assert where(view, task(both, slot, number=2)) in (Only(chosen, "data"), Only(chosen, "files"))
