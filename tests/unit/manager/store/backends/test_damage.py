"""A store that is not all that was confirmed is refused, says what it lacks, and is left as it is."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.errors import Unavailable
from common.model import Secret, Task
from common.model.secret import SecretSpec
from manager.store.backends.confirmed import confirmed_path
from manager.store.backends.contents import read, read_best
from manager.store.backends.sealed import Unsealed
from manager.store.backends.sqlite import SqliteBackend
from manager.store.store import Store

# So that what is in the file can be looked for, and spoiled.
SEAL = Unsealed()

PAGE, HEADER, FRAME = 4096, 32, 24 + 4096
COMMITS = 12


async def write(path: Path, commits: int = COMMITS, *, fresh: bool = True) -> None:
    """Write so many commits, and leave the files as a manager that was killed leaves them."""
    live = path.parent / "live"
    live.mkdir()
    if not fresh:
        for file in path.parent.glob(f"{path.name}*"):
            shutil.copy(file, live)
    async with Store(SqliteBackend(live / path.name, SEAL, fresh=fresh), SystemClock()) as store:
        for number in range(store.index, store.index + commits):
            secret = Secret(id=f"x{number}", spec=SecretSpec(name=f"key{number}", data=b"%d" % number * 50))
            await store.update(lambda tx, secret=secret: tx.put(secret))
            await store.update(lambda tx, number=number: tx.put(Task(id=f"t{number}", service_id="web" * 100)))
        for file in live.glob(f"{path.name}*"):
            shutil.copy(file, path.parent)
    shutil.rmtree(live)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    await write(path)
    return path


async def load(path: Path) -> int:
    """Open and close the store, and return its index."""
    async with Store(SqliteBackend(path, SEAL), SystemClock()) as store:
        return store.index


def wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def files(path: Path) -> dict[str, bytes]:
    """Return what is in the store's files, but not in the index of the log, which readers make, and an empty log."""
    found = {file.name: file.read_bytes() for file in path.parent.glob(f"{path.name}*") if not file.match("*-shm")}
    return {name: content for name, content in found.items() if content or not name.endswith("-wal")}


async def refused(path: Path) -> str:
    """Say why the store is refused; that it was left as it is is checked here."""
    before = files(path)
    with pytest.raises(Unavailable) as caught:
        await load(path)
    assert files(path) == before
    return caught.value.message


def missing(message: str) -> int:
    """Return how many changes a refusal says are missing."""
    found = re.search(r"(\d+) changes? of the time from \S+Z to \S+Z are missing: version (\d+) was confirmed", message)
    assert found is not None, message
    assert int(found[2]) == 2 * COMMITS
    return int(found[1])


async def test_what_a_killed_manager_leaves_is_whole(path: Path) -> None:
    assert wal(path).stat().st_size > HEADER
    assert await load(path) == 2 * COMMITS
    assert await load(path) == 2 * COMMITS


async def test_a_truncated_log_is_noticed_and_the_loss_reported(path: Path, tmp_path: Path) -> None:
    whole = wal(path).read_bytes()
    frames = (len(whole) - HEADER) // FRAME
    told = []
    for size in [0, HEADER // 2, *(HEADER + FRAME * n + more for n in range(frames) for more in (0, 1, FRAME // 2))]:
        wal(path).write_bytes(whole[:size])
        told.append(missing(await refused(path)))
    # The shorter it is, the more; nothing of it: all that came after the tables.
    assert told == sorted(told, reverse=True)
    assert told[-1] == 1
    assert set(told) >= set(range(1, 2 * COMMITS + 1))
    wal(path).write_bytes(whole)
    assert await load(path) == 2 * COMMITS


async def test_a_log_that_is_gone_is_noticed(path: Path) -> None:
    wal(path).unlink()
    assert missing(await refused(path)) == 2 * COMMITS


@pytest.mark.parametrize("damage", ["flip_bits", "change_header", "zero_some", "scribble", "cut"])
@pytest.mark.parametrize("checkpointed", [True, False])
async def test_whatever_bytes_are_changed_is_noticed_or_harmless(
    path: Path, damage: str, *, checkpointed: bool
) -> None:
    """Harmless is what nobody reads: free room of a page, frames of the log that later ones have made stale."""
    if checkpointed:  # all in the file but the last changes
        await load(path)
        await write(path, 2, fresh=False)
    intact, content = sorted(read_best(path, SEAL).objects, key=repr), files(path)
    refusals = 0
    for seed in range(80):
        rng = random.Random(seed)
        for file in path.parent.iterdir():
            file.unlink()
        for name, whole in content.items():
            path.with_name(name).write_bytes(whole)
        damaged = rng.choice([path, path, wal(path)])
        damaged.write_bytes(DAMAGES[damage](bytearray(damaged.read_bytes()), rng))
        before = files(path)
        backend = SqliteBackend(path, SEAL)
        try:
            assert sorted((await backend.load()).objects, key=repr) == intact
        except Unavailable:
            refusals += 1
            assert files(path) == before
        finally:
            await backend.close()
    assert refusals > 0


def flip_bits(content: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 1, 8])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def change_header(content: bytearray, rng: random.Random) -> bytes:
    content[rng.randrange(100)] = rng.randrange(256)
    return content


def zero_some(content: bytearray, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(content)), rng.randrange(1, 2 * PAGE)
    return content[:at] + bytes(min(length, len(content) - at)) + content[at + length :]


def scribble(content: bytearray, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + rng.randbytes(64) + content[at + 64 :]


def cut(content: bytearray, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


DAMAGES: dict[str, Callable[[bytearray, random.Random], bytes]] = {
    each.__name__: each for each in (flip_bits, change_header, zero_some, scribble, cut)
}


@pytest.mark.parametrize("log", [True, False], ids=["killed", "stopped"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.unlink(), "the file is missing"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "is damaged: "),
        (lambda path: path.write_bytes(path.read_bytes()[:PAGE]), "is damaged: "),
        (lambda path: path.write_bytes(b"text" * 5000), "is damaged: "),
    ],
    ids=["empty", "missing", "zeroed", "cut", "no database"],
)
async def test_a_file_that_is_lost_is_no_new_store(
    path: Path, damage: Callable[[Path], object], said: str, *, log: bool
) -> None:
    if not log:
        await load(path)
        wal(path).unlink(missing_ok=True)
    damage(path)
    # SQLite has all of a young store in its log, and the file does not matter then.
    if log and said == "is damaged: ":
        with contextlib.suppress(Unavailable):
            assert await load(path) == 2 * COMMITS
        return
    assert said in await refused(path)


async def test_a_log_that_hides_what_the_file_has_is_noticed(path: Path) -> None:
    """A checkpoint has brought the log into the file; then an early part of the log is damaged."""
    frames = (wal(path).stat().st_size - HEADER) // FRAME
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM vault").fetchone()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
            for file in files(path):
                (path.parent / f"kept-{file}").write_bytes((path.parent / file).read_bytes())
    told = []
    for frame in range(frames):
        for present in path.parent.glob("store.db*"):
            present.unlink()
        for kept in path.parent.glob("kept-*"):
            (path.parent / kept.name.removeprefix("kept-")).write_bytes(kept.read_bytes())
        content = bytearray(wal(path).read_bytes())
        content[HEADER + frame * FRAME + 100] ^= 1
        wal(path).write_bytes(content)
        # Before the end of the first commit nothing of the log counts.
        told.append(bool(read(path, SEAL).damage()))
        if told[-1]:
            await refused(path)
        found = read_best(path, SEAL)
        assert found.consistent
        assert found.position.index == len(found.objects) == 2 * COMMITS
    assert told == sorted(told)
    assert sum(told) > frames - 3


async def test_the_index_of_the_log_is_made_anew(path: Path) -> None:
    path.with_name("store.db-shm").write_bytes(random.Random(1).randbytes(32768))
    assert await load(path) == 2 * COMMITS


async def test_a_store_put_back_from_an_older_copy_is_noticed(path: Path) -> None:
    await load(path)
    older = path.read_bytes()
    await write(path, 3, fresh=False)
    await load(path)
    path.write_bytes(older)
    assert "6 changes of the time from" in await refused(path)


async def test_another_store_of_the_same_length_is_noticed(path: Path, tmp_path: Path) -> None:
    await load(path)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / path.name
    async with Store(SqliteBackend(other, SEAL, fresh=True), SystemClock()) as store:
        for number in range(2 * COMMITS):
            await store.update(lambda tx, number=number: tx.put(Task(id=f"t{number}")))
    path.write_bytes(other.read_bytes())
    assert f"are not those that were confirmed as version {2 * COMMITS}" in await refused(path)


@pytest.mark.parametrize("damage", [lambda note: note.unlink(), lambda note: note.write_bytes(b"\xff" * 8192)])
async def test_a_store_without_its_note_is_used_and_the_log_says_so(
    path: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    damage(confirmed_path(path))
    assert await load(path) == 2 * COMMITS
    assert "whether changes are missing is not known" in caplog.text
    caplog.clear()
    assert await load(path) == 2 * COMMITS
    assert not caplog.text


async def test_a_half_damaged_note_is_read_from_its_other_half(path: Path) -> None:
    note = confirmed_path(path)
    whole = note.read_bytes()
    found = []
    for half in (0, 4096):
        note.write_bytes(whole[:half] + bytes(64) + whole[half + 64 :])
        confirmed = read(path, SEAL).confirmed
        assert confirmed is not None
        found.append(confirmed.index)
        assert await load(path) == 2 * COMMITS
    assert sorted(found) == [2 * COMMITS - 1, 2 * COMMITS]


LOAD = """
import asyncio, sys
from pathlib import Path
from common.errors import Unavailable
from manager.store.backends.sealed import Unsealed
from manager.store.backends.sqlite import SqliteBackend
try:
    asyncio.run(SqliteBackend(Path(sys.argv[1]), Unsealed()).load())
except Unavailable as error:
    print(error)
"""
# As the manager's unit runs it: as root, without root's right to every file.
UNPRIVILEGED = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.geteuid() == 0 else []


@pytest.mark.parametrize("name", ["store.db", "store.db-wal", "store.db-shm", "store.db-confirmed"])
@pytest.mark.parametrize("mode", [0o000, 0o400])
async def test_a_file_that_may_not_be_read_or_written_is_named(path: Path, name: str, mode: int) -> None:
    file = path.with_name(name)
    file.touch()
    file.chmod(mode)
    if UNPRIVILEGED:
        os.chown(file, 0, 0)
    said = subprocess.run([*UNPRIVILEGED, sys.executable, "-c", LOAD, path], capture_output=True, text=True, check=True)
    assert not said.stderr
    assert f"the store {path} failed: " in said.stdout
    file.chmod(0o600)
    assert await load(path) == 2 * COMMITS


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of its own needs root")
async def test_a_full_disk_fails_a_commit_and_the_next_one_goes_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], check=True)
    try:
        path = disk / "store.db"
        big = Secret(id="big", spec=SecretSpec(name="big", data=b"x" * 500_000))
        small = Secret(id="small", spec=SecretSpec(name="small", data=b"y"))
        async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
            with pytest.raises(Unavailable, match="database or disk is full: free some space on that disk"):
                await store.update(lambda tx: tx.put(big))
            await store.update(lambda tx: tx.put(small))
        async with Store(SqliteBackend(path, SEAL), SystemClock()) as store:
            assert [secret.id for secret in store.view.secrets] == ["small"]
            assert store.index == 1
    finally:
        subprocess.run(["umount", disk], check=True)
