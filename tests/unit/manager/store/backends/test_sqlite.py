"""The SQLite backend: durable, private, versioned, and clear about what is wrong with its disk."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.errors import Unavailable
from common.model import Secret, Service, Task
from common.model.secret import SecretSpec
from common.model.service import ServiceSpec
from manager.store.backends.schema import MIGRATIONS, row_digest
from manager.store.backends.sealed import Unsealed
from manager.store.backends.sqlite import SqliteBackend
from manager.store.store import Store

# So that what is in the file can be looked for, and spoiled.
SEAL = Unsealed()


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    secret = Secret(id="x1", spec=SecretSpec(name="key", data=b"\x00\xff"))
    async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
        await store.update(lambda tx: tx.put(Service(id="s1", spec=ServiceSpec(name="web", labels={"a": "b"}))))
        await store.update(lambda tx: tx.put(secret))
        await store.update(lambda tx: tx.put(Task(id="t1", service_id="s1", slot=1)))
        await store.update(lambda tx: tx.remove(Task(id="t1")))
        before = (store.view.services.get("s1"), store.view.secrets.get("x1"), store.index)
    async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
        assert (store.view.services.get("s1"), store.view.secrets.get("x1"), store.index) == before
        assert len(store.view.tasks) == 0


async def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
        await store.update(lambda tx: tx.put(Service(id="s1")))
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
        await store.update(lambda tx: tx.put(Service(id="s1")))
        with pytest.raises(Unavailable, match="is in use: another process has it open"):
            await Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()).load()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    database.close()
    with pytest.raises(Unavailable, match="install a newer one"):
        await SqliteBackend(path, SEAL, fresh=True).load()


def insert(kind: str, body: bytes) -> tuple[str, tuple[object, ...]]:
    return "INSERT INTO records VALUES (?, 'x', ?, ?)", (kind, body, row_digest(kind, "x", body))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (insert("satellite", b"\x80"), "'satellite', which .* does not know: it was written by a newer"),
        (insert("service", b"\x01"), "has a service 'x' that release .* cannot read"),
        (("UPDATE records SET body = x'ff'", ()), r"is damaged: 1 object cannot be read \(service s1\): restore"),
        (("DELETE FROM records", ()), "is damaged: of 1 object only 0 can be found"),
        (("DELETE FROM reached", ()), "is damaged: it does not say how far it got"),
        (("UPDATE reached SET last_index = -3", ()), "is damaged: it does not say how far it got"),
        (("UPDATE reached SET time = 1e300", ()), "is damaged: it does not say how far it got"),
        (("UPDATE reached SET checksum = checksum + 1", ()), "the objects are not all those of version 1"),
        (("DROP TABLE records", ()), "is damaged: its tables are not the expected ones"),
    ],
)
async def test_an_unknown_store_is_refused_and_left_unchanged(
    tmp_path: Path, change: tuple[str, tuple[object, ...]], said: str
) -> None:
    path = tmp_path / "store.db"
    async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
        await store.update(lambda tx: tx.put(Service(id="s1")))
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(*change)
    before = path.read_bytes()
    backend = SqliteBackend(path, SEAL)
    with pytest.raises(Unavailable, match=rf"store\.db.*{said}"):
        await backend.load()
    await backend.close()
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"not a database, but long enough to be read as a header of one" * 20)
    with pytest.raises(Unavailable, match=r"store\.db is damaged: file is not a database: restore a backup"):
        await SqliteBackend(path, SEAL, fresh=True).load()


async def test_a_failed_write_stores_nothing_of_its_batch(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    backend = SqliteBackend(path, SEAL, fresh=True)
    async with Store(backend, SystemClock()) as store:
        await store.update(lambda tx: tx.put(Service(id="s1", spec=ServiceSpec(name="one"))))
        database = backend._file._database
        assert database is not None
        pages = await backend._in_thread(lambda: database.execute("PRAGMA page_count").fetchone()[0])
        await backend._in_thread(lambda: database.execute(f"PRAGMA max_page_count = {pages}"))
        big = Secret(id="big", spec=SecretSpec(name="big", data=b"x" * 100_000))
        with pytest.raises(Unavailable, match="free some space"):
            await store.update(lambda tx: tx.put(big))
        assert "big" not in store.view.secrets
        await backend._in_thread(lambda: database.execute("PRAGMA max_page_count = 100000"))
        await store.update(lambda tx: tx.put(big))
    async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
        assert {s.id for s in store.view.services} == {"s1"}
        assert "big" in store.view.secrets
