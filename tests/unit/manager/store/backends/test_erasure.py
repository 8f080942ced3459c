"""What was secret and is removed or replaced is in no file of the store any more, while the manager runs and after."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.clock import SystemClock
from common.model import Cluster, Config, Node, Secret, Service, StoredObject, Task
from common.model.cluster import JoinTokens
from common.model.node import TunnelKey
from common.model.secret import ConfigSpec, SecretSpec
from common.model.service import ServiceSpec
from manager.store.backends.schema import kind_of, migrate
from manager.store.backends.sealed import Unsealed
from manager.store.backends.sqlite import SqliteBackend, snapshot
from manager.store.store import Store

# So that what is in the file can be looked for, and spoiled.
SEAL = Unsealed()

MARK = b"plain-%06d-text"


def secret(number: int, size: int = 0) -> Secret:
    data = MARK % number
    return Secret(id=f"s{number}", spec=SecretSpec(name=f"s{number}", data=data * (1 + size // len(data))))


def key(generation: int, private: bytes) -> TunnelKey:
    return TunnelKey(generation=generation, private=private * 32, public=b"x" * 32)


def found(folder: Path, *needles: bytes) -> list[tuple[str, bytes]]:
    """Return which of these are in which files of a folder."""
    return [(file.name, each) for file in folder.iterdir() for each in needles if each in file.read_bytes()]


@pytest.mark.parametrize(
    ("before", "after", "secrets"),
    [
        (secret(1), None, [MARK % 1]),
        (Config(id="c1", spec=ConfigSpec(name="c1", data=MARK % 1)), None, [MARK % 1]),
        (
            Node(id="n1", tunnel_keys=(key(1, b"a"), key(2, b"b"))),
            Node(id="n1", tunnel_keys=(key(2, b"b"),)),
            [b"a" * 32],
        ),
        (Node(id="n1", tunnel_keys=(key(1, b"a"),)), None, [b"a" * 32]),
        (
            Cluster(id="c1", join_tokens=JoinTokens(worker="SWMTKN-1-first", manager="SWMTKN-1-second")),
            Cluster(id="c1", join_tokens=JoinTokens(worker="SWMTKN-1-third", manager="SWMTKN-1-second")),
            [b"SWMTKN-1-first"],
        ),
    ],
    ids=["secret", "config", "rotated key", "key of a removed node", "join token"],
)
async def test_what_is_removed_or_replaced_is_gone_at_once(
    tmp_path: Path, before: StoredObject, after: StoredObject | None, secrets: list[bytes]
) -> None:
    async with Store(SqliteBackend(tmp_path / "store.db", SEAL, fresh=True), SystemClock()) as store:
        await store.update(lambda tx: tx.put(before))
        assert {needle for _, needle in found(tmp_path, *secrets)} == set(secrets)
        await store.update(lambda tx: tx.remove(before) if after is None else tx.put(after))
        assert not found(tmp_path, *secrets)
    assert not found(tmp_path, *secrets)


@pytest.mark.parametrize("size", [50, 900, 3000, 20_000])
async def test_no_copy_is_left_behind_by_pages_that_were_rearranged(tmp_path: Path, size: int) -> None:
    """SQLite moves rows between pages as they come and go; `secure_delete` alone misses some of the copies."""
    rng = random.Random(size)
    kept: list[Secret] = []
    removed: list[bytes] = []
    async with Store(SqliteBackend(tmp_path / "store.db", SEAL, fresh=True), SystemClock()) as store:
        for number in range(150):
            if kept and rng.random() < 0.4:
                gone = kept.pop(rng.randrange(len(kept)))
                removed.append(gone.spec.data[: len(MARK % 0)])
                await store.update(lambda tx, gone=gone: tx.remove(gone))
            else:
                kept.append(secret(number, rng.randrange(size)))
                task = Task(id=f"t{number}", service_id="x" * rng.randrange(size))
                await store.update(lambda tx, new=(kept[-1], task): [tx.put(each) for each in new])
        assert not found(tmp_path, *removed)
        assert {each.id for each in store.view.secrets} == {each.id for each in kept}
    assert not found(tmp_path, *removed)
    assert len(removed) > 30


async def test_a_reader_delays_but_does_not_prevent_truncating_the_log(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
        await store.update(lambda tx: tx.put(secret(1)))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM vault").fetchone()
            await store.update(lambda tx: tx.remove(secret(1)))
            assert {name for name, _ in found(tmp_path, MARK % 1)} >= {"store.db-wal"}
            await store.update(lambda tx: tx.put(Service(id="s1", spec=ServiceSpec(name="web"))))
        while found(tmp_path, MARK % 1):
            await asyncio.sleep(0.05)


async def test_what_a_crash_left_unerased_goes_at_the_next_start(tmp_path: Path) -> None:
    path, crashed = tmp_path / "store.db", tmp_path / "crashed"
    crashed.mkdir()
    async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
        await store.update(lambda tx: tx.put(secret(1)))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM vault").fetchone()
            await store.update(lambda tx: tx.remove(secret(1)))
            for file in (path, tmp_path / "store.db-wal", tmp_path / "store.db-confirmed"):
                (crashed / file.name).write_bytes(file.read_bytes())
    assert found(crashed, MARK % 1)
    async with Store(SqliteBackend(crashed / "store.db", SEAL), SystemClock()):
        assert not found(crashed, MARK % 1)


async def test_a_store_of_an_earlier_release_is_cleaned_once(tmp_path: Path) -> None:
    """Its free pages still have what was removed before."""
    path = tmp_path / "store.db"
    kept: list[StoredObject] = [secret(900), Service(id="web", spec=ServiceSpec(name="web")), Cluster(id="c1")]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript("PRAGMA secure_delete=OFF; PRAGMA journal_mode=WAL;")
        migrate(database, SEAL, 1)
        for value in [*kept, *(secret(number, 3000) for number in range(50))]:
            row = (kind_of(value), value.id, msgspec.msgpack.encode(value))
            database.execute("INSERT INTO objects VALUES (?, ?, ?)", row)
        database.execute("DELETE FROM objects WHERE kind = 'secret' AND id != 's900'")
        database.execute("UPDATE position SET last_index = 52")
    removed = [MARK % number for number in range(50)]
    assert found(tmp_path, *removed)
    async with Store(SqliteBackend(path, SEAL), SystemClock()) as store:
        assert not found(tmp_path, *removed)
        assert store.index == 54  # it was sealed, and tasks' specifications were set apart
        tables: Any = store.view
        assert [tables.of(type(value)).get(value.id) for value in kept] == kept
        await store.update(lambda tx: tx.remove(secret(900)))
    assert not found(tmp_path, *removed, MARK % 900)
    async with Store(SqliteBackend(path, SEAL), SystemClock()) as store:
        assert store.index == 55
        tables = store.view
        assert [tables.of(type(value)).get(value.id) for value in kept] == [None, *kept[1:]]


async def test_a_copy_has_nothing_that_was_removed(tmp_path: Path) -> None:
    path, copies = tmp_path / "store.db", tmp_path / "copies"
    copies.mkdir()
    async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
        await store.update(lambda tx: [tx.put(secret(number)) for number in range(3)])
        await store.update(lambda tx: tx.remove(secret(1)))
        snapshot(path, copies / "copy.db")
    assert {needle for _, needle in found(copies, *(MARK % number for number in range(3)))} == {MARK % 0, MARK % 2}
