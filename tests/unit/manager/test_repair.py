"""What is left of a damaged store is told, and becomes the store when a person says so; what was damaged is kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from common.clock import SystemClock
from common.errors import FailedPrecondition, Unavailable
from common.model import Cluster, Node, Secret, Service, StoredObject
from common.model.node import ANY_CERTIFICATE, NodeSpec, NodeStatus
from common.model.secret import SecretSpec
from common.model.service import ServiceSpec
from manager.bootstrap import create_cluster
from manager.ca.migration import load_keyring
from manager.commands import DAMAGED_STATUS
from manager.config import DataDir, ManagerConfig
from manager.main import cli
from manager.repair import accept_loss, examine
from manager.store.backends.sealed import Seal
from manager.store.backends.sqlite import SqliteBackend
from manager.store.store import Store

CONFIG = ManagerConfig(node_id="m1", advertise_addr="192.0.2.1:2377", listen_addr=":2377")
WORKER = Node(
    id="w1",
    agent=True,
    spec=NodeSpec(role="worker"),
    status=NodeStatus(state="ready", addr="192.0.2.2"),
    certificate_serials=("17",),
)
SECRETS = 40


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """Make a manager that was killed: all but its first records is in its store's log."""
    live, killed = DataDir(tmp_path / "live"), DataDir(tmp_path / "manager")

    async def make() -> None:
        await create_cluster(live, CONFIG, ("10.0.0.0/8",), SystemClock(), random.Random(1))
        async with Store(SqliteBackend(live.store, load_keyring(live).seal()), SystemClock()) as store:
            await store.update(lambda tx: [tx.put(Service(id="s1", spec=ServiceSpec(name="web"))), tx.put(WORKER)])
            for number in range(SECRETS):
                secret = Secret(id=f"x{number:02}", spec=SecretSpec(name=f"key{number}", data=b"%d" % number * 200))
                await store.update(lambda tx, secret=secret: tx.put(secret))
            shutil.copytree(live.path, killed.path)

    asyncio.run(make())
    shutil.rmtree(live.path)
    return killed


def stopped(data: DataDir) -> None:
    """Stop the manager in order, so that all is in the file and nothing in the log."""
    objects(data)


def objects(data: DataDir) -> dict[str, StoredObject]:
    async def read() -> dict[str, StoredObject]:
        backend = SqliteBackend(data.store, seal_of(data))
        loaded = await backend.load()
        await backend.close()
        return {each.id: each for each in loaded.objects} | {"index": loaded.index}

    return asyncio.run(read())


def run(data: DataDir, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--data-dir", str(data.path)])


def files(data: DataDir) -> dict[str, bytes]:
    return {str(f): f.read_bytes() for f in data.path.rglob("*") if f.is_file() and not f.name.endswith("-shm")}


def seal_of(data: DataDir) -> Seal:
    return load_keyring(data).seal()


def spoil(data: DataDir, object_id: str) -> None:
    """Change one bit of an object of the vault where it is in the file, of which nothing is in the log."""
    with contextlib.closing(sqlite3.connect(data.store)) as database:
        (body,) = database.execute("SELECT body FROM vault WHERE id = ?", (object_id,)).fetchone()
    start = body[:32]  # the rest may be on another page
    content = data.store.read_bytes()
    assert content.count(start) == 1
    data.store.write_bytes(content.replace(start, start[:-1] + bytes([start[-1] ^ 1])))


def wal(data: DataDir) -> Path:
    return data.store.with_name("store.db-wal")


def cut_log(data: DataDir) -> None:
    content = wal(data).read_bytes()
    wal(data).write_bytes(content[: len(content) // 2])


def test_a_whole_store_is_said_to_be_whole(data: DataDir) -> None:
    for _ in range(2):
        result = run(data, "repair")
        assert result.exit_code == 0
        assert (
            f"store.db is whole: 1 cluster, 1 network, 2 nodes, 1 root key, {SECRETS} secrets, 1 service, as of"
        ) in result.output
        stopped(data)


def test_a_truncated_logs_loss_is_told_and_accepted_by_a_person(data: DataDir) -> None:
    cut_log(data)
    before = files(data)
    told = run(data, "repair")
    assert told.exit_code == 1
    assert "changes of the time from" in told.output
    assert "Nothing was changed." in told.output
    assert f"swarm-manager repair --accept-loss --data-dir {data.path}" in told.output
    assert files(data) == before
    left = examine(data, seal_of(data))
    assert 0 < left.missing_changes < SECRETS

    accepted = run(data, "repair", "--accept-loss")
    assert accepted.exit_code == 0, accepted.output
    (aside,) = data.path.glob("damaged-*")
    assert str(aside) in accepted.output
    assert stat.S_IMODE(aside.stat().st_mode) == 0o700
    assert {name: (aside / name).read_bytes() for name in ("store.db", "store.db-wal", "store.db-confirmed")} == {
        name: before[f"{data.path}/{name}"] for name in ("store.db", "store.db-wal", "store.db-confirmed")
    }
    assert not list(data.path.glob(".repair-*"))
    after = objects(data)
    assert left.confirmed is not None
    assert after.pop("index") > left.confirmed.index
    assert {i for i in after if i.startswith("x")} == {f"x{n:02}" for n in range(SECRETS - left.missing_changes)}
    assert [each for each in left.objects if not isinstance(each, Node)] == [
        each for each in after.values() if not isinstance(each, Node)
    ]
    worker = after["w1"]
    assert isinstance(worker, Node)
    assert worker.certificate_serials == (ANY_CERTIFICATE,)
    assert worker.status.state == "unknown"
    assert run(data, "repair").exit_code == 0


def test_unreadable_objects_are_named_and_the_others_kept(data: DataDir) -> None:
    stopped(data)
    spoil(data, "x11")
    told = run(data, "repair")
    assert "is damaged: 1 object cannot be read (secret x11)" in told.output
    assert "cannot be read: secret x11" in told.output
    assert run(data, "repair", "--accept-loss").exit_code == 0
    assert {i for i in objects(data) if i.startswith("x")} == {f"x{n:02}" for n in range(SECRETS) if n != 11}


def test_what_is_on_both_sides_of_a_damaged_page_is_kept(data: DataDir) -> None:
    stopped(data)
    with contextlib.closing(sqlite3.connect(data.store)) as database:
        (body,) = database.execute("SELECT body FROM vault WHERE id = 'x20'").fetchone()
    content = data.store.read_bytes()
    page = content.index(body) // 4096 * 4096
    data.store.write_bytes(content[:page] + bytes(4096) + content[page + 4096 :])
    assert run(data, "repair").exit_code == 1
    assert run(data, "repair", "--accept-loss").exit_code == 0
    kept = {i for i in objects(data) if i.startswith("x")}
    assert {"x00", f"x{SECRETS - 1}"} <= kept
    assert SECRETS - 20 < len(kept) < SECRETS
    assert {"s1", "m1", "w1"} <= set(objects(data))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.store.write_bytes(bytes(100_000)),
        lambda data: data.store.write_bytes(b""),
        lambda data: data.store.unlink(),
        lambda data: data.store.write_bytes(b"no database" * 999),
    ],
    ids=["zeroed", "empty", "missing", "other"],
)
def test_of_what_holds_nothing_nothing_is_made(data: DataDir, damage: Callable[[DataDir], object]) -> None:
    stopped(data)
    wal(data).unlink(missing_ok=True)
    damage(data)
    before = files(data)
    assert "What is left: nothing" in run(data, "repair").output
    refused = run(data, "repair", "--accept-loss")
    assert refused.exit_code == 1
    assert f"go back to a backup: mv {data.path} {data.path}.damaged && swarm-manager restore FILE" in refused.output
    assert {name: content for name, content in files(data).items() if content or name in before} == before


def test_a_cluster_record_that_is_lost_is_not_made_up(data: DataDir) -> None:
    stopped(data)
    spoil(data, next(i for i, each in objects(data).items() if isinstance(each, Cluster)))
    assert "cannot be read: cluster" in run(data, "repair").output
    with pytest.raises(FailedPrecondition, match="the cluster's own record is missing"):
        accept_loss(data, examine(data, seal_of(data)), seal_of(data), SystemClock())


def test_a_manager_that_runs_is_left_alone(data: DataDir) -> None:
    async def beside() -> Result:
        async with Store(SqliteBackend(data.store, seal_of(data)), SystemClock()):
            return await asyncio.to_thread(run, data, "repair", "--accept-loss")

    result = asyncio.run(beside())
    assert result.exit_code == 1
    assert "another process has it open" in result.output


def test_without_a_manager_there_is_nothing_to_repair(tmp_path: Path) -> None:
    assert "no manager in" in run(DataDir(tmp_path), "repair").output


@pytest.mark.parametrize("step", range(8))
def test_an_interrupted_repair_leaves_the_old_or_the_new_store(
    data: DataDir, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Power may fail between any two of the moves: what was lost must not be forgotten."""
    cut_log(data)
    moves = []

    def interrupted(function: Callable[..., object]) -> Callable[..., object]:
        def move(*arguments: object, **options: object) -> object:
            if len(moves) == step:
                raise OSError(5, "Input/output error")
            moves.append(arguments)
            return function(*arguments, **options)

        return move

    left, before = examine(data, seal_of(data)), files(data)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", interrupted(os.link))
        patch.setattr(Path, "unlink", interrupted(Path.unlink))
        patch.setattr(Path, "replace", interrupted(Path.replace))
        with pytest.raises(Unavailable, match="Input/output error"):
            accept_loss(data, left, seal_of(data), SystemClock())
    if (found := examine(data, seal_of(data))).damage():
        assert all(content in files(data).values() for content in before.values())
        with pytest.raises(Unavailable, match="missing"):
            objects(data)
    else:
        assert left.confirmed is not None
        assert found.position.index > left.confirmed.index
    assert run(data, "repair", "--accept-loss").exit_code == 0


def test_a_daemon_with_a_damaged_store_says_so_and_stays_stopped(data: DataDir) -> None:
    cut_log(data)
    command = [sys.executable, "-m", "manager.main", "run", "--data-dir", str(data.path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == DAMAGED_STATUS
    assert result.stderr.startswith(f"the store {data.store} is damaged: ")
    assert "run 'swarm-manager repair' to see what is left" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_damaged_store_is_not_called_a_backup(data: DataDir, tmp_path: Path) -> None:
    cut_log(data)
    before = files(data)
    result = run(data, "backup", str(tmp_path / "b.backup"))
    assert result.exit_code == 1
    assert "are missing: version" in result.output
    assert files(data) == before
    assert not (tmp_path / "b.backup").exists()


def test_a_backup_of_a_store_of_another_content_is_refused(data: DataDir, tmp_path: Path) -> None:
    stopped(data)
    with sqlite3.connect(data.store) as database:
        database.execute("DELETE FROM vault WHERE id = 'x07'")
    database.close()
    result = run(data, "backup", str(tmp_path / "b.backup"))
    assert result.exit_code == 1
    assert f"of {SECRETS + 6} objects only {SECRETS + 5} can be found" in result.output
