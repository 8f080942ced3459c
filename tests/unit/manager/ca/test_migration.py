"""A data directory of the release before becomes one of this: sealed, its authority in the store, nothing lost."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.errors import Unavailable
from common.model import Cluster, Secret
from common.model.secret import SecretSpec
from manager.ca.authority import Authority
from manager.ca.files import RootFiles
from manager.ca.migration import adopt_root, load_keyring
from manager.config import DataDir
from manager.store.backends.schema import VAULT, row_digest, wrap_sum
from manager.store.backends.sqlite import SqliteBackend
from manager.store.store import Store
from tests.fakes.earlier_release import CONFIG, SECRET, TUNNEL, write_before


@contextlib.asynccontextmanager
async def opened(data: DataDir):
    async with Store(SqliteBackend(data.store, load_keyring(data).seal()), SystemClock()) as store:
        await adopt_root(store, RootFiles(data.certificates))
        yield store


def anywhere(data: DataDir, *needles: bytes) -> list[tuple[str, bytes]]:
    files = [file for file in data.path.rglob("*") if file.is_file()]
    return [(file.name, each) for file in files for each in needles if each in file.read_bytes()]


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "manager")


async def test_everything_is_there_and_nothing_secret_is_readable(data: DataDir) -> None:
    values, certificate = write_before(data)
    cluster = values[0]
    assert isinstance(cluster, Cluster)
    secret = [SECRET, CONFIG, TUNNEL, cluster.join_tokens.worker.encode(), b"PRIVATE KEY"]
    assert {needle for _, needle in anywhere(data, *secret)} == set(secret)
    for _ in range(2):
        async with opened(data) as store:
            assert len(store.view.tasks) == 4
            assert [store.view.of(type(value)).get(value.id) for value in values] == values
            assert Authority.stored(store.view).root_certificate == certificate
            assert not anywhere(data, *secret)
    assert not anywhere(data, *secret)
    assert not RootFiles(data.certificates).exist()


@pytest.mark.parametrize("after", range(6))
async def test_an_interrupted_migration_is_completed_by_the_next_start(
    data: DataDir, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """The power fails after so many of the flushes of files outside the database."""
    values, certificate = write_before(data)
    flushes = 0

    def failing(flush: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            nonlocal flushes
            flushes += 1
            if flushes > after:
                raise OSError(5, "Input/output error")
            flush(descriptor)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(os.fsync))
        with pytest.raises(OSError, match="Input/output"):
            async with opened(data):
                pass
    async with opened(data) as store:
        assert [store.view.of(type(value)).get(value.id) for value in values] == values
        assert Authority.stored(store.view).root_certificate == certificate
    assert not RootFiles(data.certificates).exist()


async def test_a_store_sealed_by_a_migration_that_then_died_is_whole(data: DataDir) -> None:
    """The note beside the store is older than the sealed rows."""
    values, _ = write_before(data)
    note = data.store.with_name("store.db-confirmed").read_bytes()
    async with opened(data):
        pass
    with contextlib.closing(sqlite3.connect(data.store)) as database:
        assert database.execute(f"SELECT count(*) FROM {VAULT}").fetchone() == (5,)
    data.store.with_name("store.db-confirmed").write_bytes(note)
    async with opened(data) as store:
        assert [store.view.of(type(value)).get(value.id) for value in values] == values


async def test_a_store_without_its_key_is_refused_in_words(data: DataDir) -> None:
    write_before(data)
    async with opened(data):
        pass
    data.key.unlink()
    with pytest.raises(Unavailable, match=r"store\.key is missing"):
        load_keyring(data)


async def test_a_store_with_the_key_of_another_is_refused_in_words(data: DataDir, tmp_path: Path) -> None:
    other = DataDir(tmp_path / "other")
    for each in (data, other):
        write_before(each)
        async with opened(each):
            pass
    data.key.write_bytes(other.key.read_bytes())
    with pytest.raises(Unavailable, match=r"store\.db cannot be opened with its key: .*: put back the 'store\.key'"):
        async with opened(data):
            pass


async def test_a_row_moved_to_another_object_is_refused(data: DataDir) -> None:
    """Who can write the disk cannot give a secret's name another secret's content."""
    write_before(data)
    async with opened(data) as store:
        await store.update(lambda tx: tx.put(Secret(id="x2", spec=SecretSpec(name="other", data=b"o" * len(SECRET)))))
    with contextlib.closing(sqlite3.connect(data.store)) as database, database:
        bodies = dict(database.execute("SELECT id, body FROM vault WHERE kind = 'secret'").fetchall())
        change = row_digest("secret", "x1", bodies["x2"]) - row_digest("secret", "x1", bodies["x1"])
        digest = row_digest("secret", "x1", bodies["x2"])
        database.execute("UPDATE vault SET body = ?, digest = ? WHERE id = 'x1'", (bodies["x2"], digest))
        (checksum,) = database.execute("SELECT checksum FROM reached").fetchone()
        database.execute("UPDATE reached SET checksum = ?", (wrap_sum(checksum + change),))
    data.store.with_name("store.db-confirmed").unlink()
    with pytest.raises(Unavailable, match=r"secret/x1 does not open with key 1: it was changed or moved"):
        async with opened(data):
            pass
