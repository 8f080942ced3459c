"""Backups: made while a manager runs, complete, private; and a manager made from one, here or elsewhere."""

import asyncio
import io
import random
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from common.clock import SystemClock
from common.errors import AlreadyExists, FailedPrecondition, InvalidArgument, SwarmError, Unavailable
from common.model import Cluster, Node, Secret, Service
from common.model.secret import SecretSpec
from common.model.service import ServiceSpec
from manager.backup import back_up, members
from manager.bootstrap import create_cluster
from manager.ca.files import ManagerFiles
from manager.ca.keyring import KeyFile, Locked, new_unlock_key
from manager.ca.migration import load_keyring
from manager.config import DataDir, ManagerConfig
from manager.main import cli
from manager.restore import Restored, restore_cluster
from manager.store.backends.sqlite import SqliteBackend
from manager.store.store import Store
from manager.whole_store import read_file
from tests.fakes.earlier_release import SECRET, back_up_before, write_before

CONFIG = ManagerConfig(node_id="m1", advertise_addr="192.0.2.1:2377", listen_addr=":2377", tls_names=("swarm.example",))


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """Make a manager with a service and a secret."""
    data = DataDir(tmp_path / "manager")

    async def make() -> None:
        await create_cluster(data, CONFIG, ("10.0.0.0/8",), SystemClock(), random.Random(1))
        async with Store(SqliteBackend(data.store, load_keyring(data).seal()), SystemClock()) as store:
            await store.update(lambda tx: tx.put(Service(id="s1", spec=ServiceSpec(name="web"))))
            await store.update(lambda tx: tx.put(Secret(id="x1", spec=SecretSpec(name="key", data=b"\x00\xff"))))

    asyncio.run(make())
    return data


def backup(data: DataDir) -> bytes:
    out = io.BytesIO()
    back_up(data, out, SystemClock(), data.path)
    return out.getvalue()


def restore(
    content: bytes,
    into: Path,
    configure: Callable[[ManagerConfig], ManagerConfig] = lambda before: before,
    unlock_key: str = "",
) -> Restored:
    return restore_cluster(DataDir(into), io.BytesIO(content), "b.backup", configure, SystemClock(), lambda: unlock_key)


def objects(data: DataDir) -> dict[str, object]:
    async def read() -> dict[str, object]:
        backend = SqliteBackend(data.store, load_keyring(data).seal())
        loaded = await backend.load()
        await backend.close()
        return {value.id: value for value in loaded.objects}

    return asyncio.run(read())


def records(data: DataDir) -> dict[str, object]:
    """Return all but the cluster's own record, which a restore takes to another generation."""
    return {key: value for key, value in objects(data).items() if not isinstance(value, Cluster)}


def test_what_was_backed_up_is_restored_and_for_its_owner_only(data: DataDir, tmp_path: Path):
    restored = restore(backup(data), tmp_path / "again")
    again = DataDir(tmp_path / "again")
    assert again.load() == CONFIG
    assert records(again) == records(data)
    assert not restored.moved
    after = ManagerFiles(again.path)
    assert after.covers(("192.0.2.1", "swarm.example"))
    assert after.node.identity().node_id == "m1"
    assert all(stat.S_IMODE(f.stat().st_mode) == 0o600 for f in again.path.rglob("*") if f.is_file())
    assert {f.name for f in data.path.iterdir()} == {
        "config.json",
        "certificates",
        "store.db",
        "store.db-confirmed",
        "store.key",
    }


def test_a_restored_store_is_sealed_with_a_key_that_nobody_had(data: DataDir, tmp_path: Path):
    """Who has the disk of a manager of before, or its key, reads nothing that the next one seals."""
    restore(backup(data), tmp_path / "again")
    again = DataDir(tmp_path / "again")
    before, after = load_keyring(data), load_keyring(again)
    assert not {*before.keys.values()} & {*after.keys.values()}
    assert not before.keys.keys() & after.keys.keys()
    with pytest.raises(Unavailable, match="sealed with key 2, which is not among this manager's keys"):
        read_file(again.store, before.seal())
    assert records(again) == records(data)


def test_a_restore_that_cannot_seal_anew_leaves_nothing(data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise Unavailable("no space left on device")

    content = backup(data)
    monkeypatch.setattr("manager.restore.write_file", full)
    with pytest.raises(Unavailable, match="no space left"):
        restore(content, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_backup_of_the_release_before_is_restored_and_sealed(tmp_path: Path):
    before, again = DataDir(tmp_path / "before"), DataDir(tmp_path / "again")
    values, _ = write_before(before)
    restore(back_up_before(before), again.path)
    found = objects(again)
    kept = [each for each in values if not isinstance(each, Node | Cluster)]
    assert [found[each.id] for each in kept] == kept
    assert "root" in found
    assert SECRET not in b"".join(file.read_bytes() for file in again.path.rglob("*") if file.is_file())


def test_a_backup_shows_no_secret_beside_its_key(data: DataDir, tmp_path: Path):
    """Its store is as sealed as the manager's own."""
    with members(io.BytesIO(backup(data)), "b.backup") as (_, found):
        contents = {name: content.read() for name, content in found}
    assert list(contents) == ["config.json", "store.key", "store.db"]
    assert b"SWMTKN" not in contents["store.db"]
    assert b"PRIVATE KEY" not in contents["store.db"]


def test_a_locked_managers_backup_opens_with_the_unlock_key(data: DataDir, tmp_path: Path):
    keyring = load_keyring(data).locked_with(new_unlock_key())
    before = records(data)
    KeyFile(data.key).save(keyring)
    content = backup(data)
    with pytest.raises(InvalidArgument, match="invalid key provided"):
        restore(content, tmp_path / "again", unlock_key=new_unlock_key())
    assert not (tmp_path / "again").exists()
    restore(content, tmp_path / "again", unlock_key=keyring.unlock_key)
    again = DataDir(tmp_path / "again")
    with pytest.raises(Locked):
        load_keyring(again)
    assert ManagerFiles(again.path, keyring.unlock_key).covers(("192.0.2.1",))
    KeyFile(again.key).save(KeyFile(again.key).load(keyring.unlock_key).locked_with(""))
    assert records(again) == before


async def test_a_backup_is_made_while_a_manager_writes(data: DataDir, tmp_path: Path):
    """It holds all that was stored before it began, and never half of a change."""
    async with Store(SqliteBackend(data.store, load_keyring(data).seal()), SystemClock()) as store:
        stop = asyncio.Event()

        async def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                pair = [Service(id=f"{side}{number}", spec=ServiceSpec(name=f"{side}{number}")) for side in "ab"]
                await store.update(lambda tx, pair=pair: [tx.put(each) for each in pair])

        writer = asyncio.create_task(write())
        await store.update(lambda tx: tx.put(Service(id="last", spec=ServiceSpec(name="last"))))
        content = await asyncio.to_thread(backup, data)
        stop.set()
        await writer
    await asyncio.to_thread(restore, content, tmp_path / "again")
    found = await asyncio.to_thread(objects, DataDir(tmp_path / "again"))
    assert "last" in found
    assert {name[1:] for name in found if name[0] == "a"} == {name[1:] for name in found if name[0] == "b"}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda content: b"", "is not a backup"),
        (lambda content: b"x" * 10_000, "is not a backup"),
        (lambda content: content[: len(content) // 2], "damaged"),
        (lambda content: content[:-600] + bytes(600), "damaged"),
    ],
)
def test_what_is_no_whole_backup_is_refused_and_leaves_nothing(
    data: DataDir, tmp_path: Path, spoil: Callable[[bytes], bytes], said: str
):
    with pytest.raises(InvalidArgument, match=rf"b\.backup .*{said}"):
        restore(spoil(backup(data)), tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_manager_that_is_there_is_not_written_over(data: DataDir):
    content, before = backup(data), data.store.read_bytes()
    with pytest.raises(AlreadyExists):
        restore(content, data.path)
    assert data.store.read_bytes() == before


def test_a_store_that_cannot_be_read_is_not_called_a_backup(data: DataDir, tmp_path: Path):
    data.store.write_bytes(b"not a database, but long enough to be read as a header of one" * 20)
    file = tmp_path / "b.backup"
    said = CliRunner().invoke(cli, ["backup", "--data-dir", str(data.path), str(file)])
    assert isinstance(said.exception, SwarmError | SystemExit)
    assert not file.exists()
    with pytest.raises(Unavailable, match=r"store\.db"):
        back_up(data, io.BytesIO(), SystemClock(), data.path)


def test_without_a_manager_there_is_nothing_to_back_up(tmp_path: Path):
    with pytest.raises(FailedPrecondition, match="no manager in"):
        back_up(DataDir(tmp_path), io.BytesIO(), SystemClock(), tmp_path)


def test_a_backup_to_another_disk_needs_no_room_on_the_managers(
    data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    used = []
    make = tempfile.TemporaryDirectory
    monkeypatch.setattr(tempfile, "TemporaryDirectory", lambda **how: used.append(how["dir"]) or make(**how))
    said = CliRunner().invoke(cli, ["backup", "--data-dir", str(data.path), str(tmp_path / "b.backup")])
    assert said.exit_code == 0, said.output
    assert used == [tmp_path]


def test_the_file_of_a_backup_is_private(data: DataDir, tmp_path: Path):
    file = tmp_path / "b.backup"
    said = CliRunner().invoke(cli, ["backup", "--data-dir", str(data.path), str(file)])
    assert said.exit_code == 0, said.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [f.name for f in tmp_path.iterdir() if f.is_file()] == ["b.backup"]


# --- what the records become ------------------------------------------------------------------------------------------


# --- where it is now --------------------------------------------------------------------------------------------------
