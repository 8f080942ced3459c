import contextlib
import sqlite3

import msgspec
import pytest

from common.errors import Unavailable
from common.model.network import Network, NetworkSpec
from common.model.node import TunnelKey
from common.model.secret import Config, ConfigSpec, Secret, SecretSpec
from common.model.task import TaskState, TaskStatus
from common.wire.messages import Assignments, Peer, ServiceEndpoint, TaskReport
from tests.unit.worker.worlds import make_task
from worker.assignments import AssignmentSet
from worker.database import LocalDatabase, _put_aside

FULL = Assignments(
    complete=True,
    results_in=7,
    tasks=(make_task("t1"), make_task("t2")),
    secrets=(Secret(id="s", spec=SecretSpec(name="key", data=b"top-secret-bytes")),),
    configs=(Config(id="c", spec=ConfigSpec(name="conf", data=b"x")),),
    networks=(Network(id="n", spec=NetworkSpec(name="back")),),
    endpoints=(ServiceEndpoint(service_id="s1", name="web"),),
    peers=(Peer(node_id="other", number=2, addr="10.0.0.2"),),
    node_number=5,
    address_pools=("10.0.0.0/8",),
    data_path_port=5789,
    hostname="web-3",
    tunnel_keys=(TunnelKey(generation=3, private=b"top-secret-private-key", public=b"p"),),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


async def reload(path):
    db = LocalDatabase(path)
    found = await db.load()
    await db.close()
    return found


async def saved(path, *messages):
    db = LocalDatabase(path)
    await db.load()
    for message in messages:
        await db.save(message)
    await db.close()
    return await reload(path)


async def test_a_set_comes_back_without_its_secrets_and_its_number(path):
    expected = AssignmentSet().apply(msgspec.structs.replace(FULL, secrets=(), results_in=0, tunnel_keys=None))
    assert await saved(path, FULL) == expected


async def test_no_secret_reaches_the_disk(path):
    db = LocalDatabase(path)
    await db.load()
    await db.save(FULL)
    assert not any(b"top-secret" in file.read_bytes() for file in path.parent.iterdir())
    await db.close()


async def test_an_incremental_message_changes_what_it_names(path):
    change = Assignments(
        complete=False,
        applies_to=7,
        results_in=8,
        tasks=(make_task("t3"),),
        removed_tasks=("t1",),
        removed_peers=("other",),
    )
    found = await saved(path, FULL, change)
    assert sorted(found.tasks) == ["t2", "t3"]
    assert found.peers == {}
    assert (found.node_number, found.address_pools) == (5, ("10.0.0.0/8",))
    assert list(found.networks) == ["n"]


@pytest.mark.parametrize(
    "removal",
    [
        Assignments(complete=False, results_in=2, removed_configs=("c7", "c8")),
        Assignments(complete=True, results_in=2, tasks=(make_task("t1"),)),
    ],
    ids=["removed", "replaced"],
)
async def test_nothing_is_left_on_disk_of_configs_that_are_gone(path, removal):
    configs = [Config(id=f"c{n}", spec=ConfigSpec(name=f"c{n}", data=b"plain-%d-text" % n * 300)) for n in range(9)]
    db = LocalDatabase(path)
    await db.load()
    await db.save(Assignments(complete=True, results_in=1, configs=tuple(configs)))
    await db.save(removal)

    def found():
        return {n for n in (7, 8) for file in path.parent.iterdir() if b"plain-%d-text" % n in file.read_bytes()}

    assert not found()
    await db.close()
    assert not found()


async def test_membership_survives_messages_with_only_a_part_of_it(path):
    found = await saved(path, FULL, Assignments(complete=False, applies_to=7, results_in=8, node_number=6))
    assert (found.node_number, found.address_pools, found.data_path_port) == (6, ("10.0.0.0/8",), 5789)


async def test_a_membership_stored_without_data_path_ports_is_read(path):
    await saved(path, FULL)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        place = msgspec.msgpack.encode((5, ("10.0.0.0/8",)))
        db.execute("UPDATE object SET data = ? WHERE kind = 'place'", (place,))
    found = await reload(path)
    assert (found.node_number, found.address_pools, found.data_path_port) == (5, ("10.0.0.0/8",), 0)


async def test_a_complete_message_replaces_all(path):
    found = await saved(path, FULL, Assignments(complete=True, results_in=9, tasks=(make_task("t9"),)))
    assert list(found.tasks) == ["t9"]
    assert (found.networks, found.node_number) == ({}, 0)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [(TaskState.RUNNING, TaskState.RUNNING), (TaskState.ACCEPTED, TaskState.PREPARING)],
    ids=["further", "behind what the manager knew"],
)
async def test_a_task_has_the_last_state_that_was_seen(path, seen, expected):
    task = msgspec.structs.replace(make_task("t1"), status=TaskStatus(state=TaskState.PREPARING))
    db = LocalDatabase(path)
    await db.load()
    await db.save(msgspec.structs.replace(FULL, tasks=(task,)))
    await db.save_states((TaskReport(task_id="t1", status=TaskStatus(state=seen)),))
    await db.close()
    assert (await reload(path)).tasks["t1"].status.state is expected


async def test_states_of_tasks_that_are_gone_go_too(path):
    db = LocalDatabase(path)
    await db.load()
    await db.save_states((TaskReport(task_id="gone", status=TaskStatus(state=TaskState.RUNNING)),))
    await db.save(FULL)
    await db.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM state").fetchone() == (0,)
    connection.close()


async def in_db(db, statement):
    return await db._do(lambda: db._db.execute(statement).fetchone()[0])


async def test_a_full_disk_costs_the_memory_and_not_the_worker(path, caplog):
    """What was stored must not be taken for the whole truth once something was left out of it."""
    db = LocalDatabase(path)
    await db.load()
    await db.save(FULL)
    pages = await in_db(db, "PRAGMA page_count")
    await in_db(db, f"PRAGMA max_page_count = {pages}")
    big = Config(id="big", spec=ConfigSpec(name="big", data=b"x" * 100_000))
    await db.save(Assignments(complete=False, applies_to=7, results_in=8, configs=(big,), removed_tasks=("t1",)))
    await db.save_states([TaskReport(task_id=f"t{n}", status=TaskStatus(err="x" * 1000)) for n in range(1000)])
    assert [record.message.count("free some space") for record in caplog.records] == [1]
    await in_db(db, "PRAGMA max_page_count = 100000")
    await db.save(Assignments(complete=False, applies_to=8, results_in=9, tasks=(make_task("t3"),)))
    assert await in_db(db, "SELECT count(*) FROM object WHERE kind = 'task'") == 0
    await db.save(FULL)
    await db.save(Assignments(complete=False, applies_to=7, results_in=8, tasks=(make_task("t3"),)))
    await db.close()
    assert sorted((await reload(path)).tasks) == ["t1", "t2", "t3"]


async def test_a_file_that_cannot_be_had_is_left_alone(path):
    path.mkdir()
    with pytest.raises(Unavailable, match=r"state\.db.*unable to open"):
        await LocalDatabase(path).load()
    assert path.is_dir()


@pytest.mark.parametrize("damage", [b"not a database at all" * 500, b""], ids=["garbage", "empty"])
async def test_an_unreadable_file_is_put_aside(path, damage):
    path.write_bytes(damage)
    assert await saved(path) == AssignmentSet()
    assert list((await saved(path, FULL)).tasks) == ["t1", "t2"]
    assert path.with_suffix(".unreadable").exists() == bool(damage)


async def test_a_newer_schema_is_put_aside(path):
    await saved(path, FULL)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert await reload(path) == AssignmentSet()
    assert path.with_suffix(".unreadable").exists()


async def test_only_its_owner_may_read_it(path):
    await saved(path, FULL)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_kinds_of_another_release_are_left_out_and_told(path, caplog):
    await saved(path, FULL)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO object VALUES ('satellite', 'x', x'80')")
    found = await reload(path)
    assert list(found.tasks) == ["t1", "t2"]
    assert "does not know (satellite)" in caplog.text
    assert "install that release again" in caplog.text
    assert await saved(path, FULL) == await reload(path)
    caplog.clear()
    await reload(path)
    assert not caplog.records, "a complete set replaces what is not known, too"


def test_what_is_beside_an_unreadable_file_goes_aside_with_it(path):
    for ending in ("", "-wal"):
        path.with_name(f"state.db{ending}").write_text(ending)
    _put_aside(path)
    assert {file.name: file.read_text() for file in path.parent.iterdir()} == {
        "state.unreadable": "",
        "state.unreadable-wal": "-wal",
    }
