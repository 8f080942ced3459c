"""A store moves into etcd and back with all that is in it, and one that does not fit stays as it is."""

from __future__ import annotations

import asyncio
import io
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from common.clock import SystemClock
from common.errors import FailedPrecondition, Unavailable
from common.model import Cluster, Node, Secret, Service, StoredObject, Task
from common.model.node import ManagerStatus
from common.model.secret import SecretSpec
from common.model.service import ServiceSpec
from manager import init
from manager.backup import back_up
from manager.bootstrap import create_cluster
from manager.ca.migration import load_keyring
from manager.config import DataDir, ManagerConfig
from manager.convert import convert
from manager.restore import restore_cluster
from manager.store.backend import Loaded
from manager.store.backends.sqlite import SqliteBackend
from manager.store.store import Store
from manager.whole_store import compare, read_file, write_file
from tests.fakes.ports import free_port

CLOCK = SystemClock()
needs_etcd = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDir:
    monkeypatch.setattr(init, "ETCD_PORT", free_port())
    data = DataDir(tmp_path / "manager")
    config = ManagerConfig(node_id="m1", advertise_addr="127.0.0.1:2377", listen_addr="127.0.0.1:2377")

    async def make() -> None:
        await create_cluster(data, config, ("10.0.0.0/8",), CLOCK, random.Random(1))
        async with Store(SqliteBackend(data.store, load_keyring(data).seal()), CLOCK) as store:
            await store.update(lambda tx: tx.put(Service(id="s1", spec=ServiceSpec(name="web"))))
            await store.update(lambda tx: tx.put(Secret(id="x1", spec=SecretSpec(name="key", data=b"\x00\xff"))))
            await store.update(lambda tx: [tx.put(Task(id=f"t{n}", service_id="s1", slot=n)) for n in range(1200)])

    asyncio.run(make())
    return data


def stored(data: DataDir) -> Loaded:
    return read_file(data.store, load_keyring(data).seal())


def without_managers(objects: Sequence[StoredObject]) -> set[bytes]:
    """Leave out what is about who manages, which changes."""
    return {msgspec.json.encode(each) for each in objects if not isinstance(each, Node | Cluster)}


def unasked() -> str:
    raise AssertionError("its keys are not locked")


@needs_etcd
def test_it_moves_into_etcd_and_back_with_all_that_is_in_it(data: DataDir, tmp_path: Path) -> None:
    before = stored(data)
    there = convert(data, "etcd", CLOCK, unasked)
    assert data.load().etcd is not None
    assert (data.path / "store.db.before").exists()
    assert not data.store.exists()
    assert without_managers(there.objects) == without_managers(before.objects)
    backup = io.BytesIO()
    back_up(data, backup, CLOCK, data.path)

    back = convert(data, "sqlite", CLOCK, unasked)
    assert data.load().etcd is None
    assert (data.path / "etcd.before").exists()
    compare(back, stored(data))
    assert without_managers(back.objects) == without_managers(before.objects)
    (node,) = (each for each in back.objects if isinstance(each, Node))
    assert node.etcd_addr == ""
    generations = [next(e for e in each.objects if isinstance(e, Cluster)).generation for each in (before, there, back)]
    assert generations == [0, 1, 2]

    again = DataDir(tmp_path / "again")
    backup.seek(0)
    restore_cluster(again, backup, "b", lambda config: msgspec.structs.replace(config, etcd=None), CLOCK, unasked)
    assert without_managers(stored(again).objects) == without_managers(before.objects)


@needs_etcd
def test_one_of_several_managers_keeps_its_etcd(data: DataDir) -> None:
    async def add() -> None:
        async with Store(SqliteBackend(data.store, load_keyring(data).seal()), CLOCK) as store:
            await store.update(lambda tx: tx.put(Node(id="m2", manager_status=ManagerStatus())))

    asyncio.run(add())
    convert(data, "etcd", CLOCK, unasked)
    with pytest.raises(FailedPrecondition, match="this is one of 2 managers"):
        convert(data, "sqlite", CLOCK, unasked)
    assert data.load().etcd is not None
    assert data.etcd.exists()


def test_what_it_is_already_is_refused(data: DataDir) -> None:
    with pytest.raises(FailedPrecondition, match="in a file already"):
        convert(data, "sqlite", CLOCK, unasked)


def test_a_manager_that_runs_is_left_alone(data: DataDir) -> None:
    async def beside() -> None:
        async with Store(SqliteBackend(data.store, load_keyring(data).seal()), CLOCK):
            with pytest.raises(Unavailable, match="another process has it open"):
                await asyncio.to_thread(convert, data, "etcd", CLOCK, unasked)

    asyncio.run(beside())
    assert data.load().etcd is None


def test_what_is_read_back_otherwise_is_noticed(data: DataDir, tmp_path: Path) -> None:
    loaded, seal = stored(data), load_keyring(data).seal()
    write_file(tmp_path / "copy.db", seal, loaded)
    found = read_file(tmp_path / "copy.db", seal)
    compare(loaded, found)
    with pytest.raises(Unavailable, match=r"1 of \d+ objects differ"):
        compare(loaded, Loaded(found.index, found.objects[1:]))
    with pytest.raises(Unavailable, match="0 of"):
        compare(loaded, Loaded(found.index + 1, found.objects))
