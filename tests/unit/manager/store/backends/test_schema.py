"""A specification is stored once, whatever number of tasks has it, and goes when none has it any more."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import SystemClock
from common.errors import Unavailable
from common.model import Task
from common.model.container import ContainerSpec
from common.model.service import TaskSpec
from manager.store.backends.contents import read
from manager.store.backends.schema import Referrer, named_spec, read_spec, read_task, refer_body
from manager.store.backends.sealed import Unsealed
from manager.store.backends.sqlite import SqliteBackend
from manager.store.store import Store

SEAL = Unsealed()


def spec(number: int) -> TaskSpec:
    return TaskSpec(container_spec=ContainerSpec(image=f"nginx:{number}", env=(f"MARK={number:06}",) * 20))


def task(number: int, version: int = 1) -> Task:
    return Task(id=f"t{number}", service_id="web", slot=number, spec_version=version, spec=spec(version))


def spec_ids(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [found for (found,) in database.execute("SELECT id FROM specs ORDER BY id")]


@given(st.integers(0, 3), st.integers(0, 9))
def test_a_task_is_read_as_it_was_written(version: int, slot: int) -> None:
    value = task(slot, version)
    row = Referrer().refer(value)
    assert read_task(row.body, read_spec(row.spec)) == value
    assert named_spec(row.body) == row.spec_id
    assert refer_body(msgspec.msgpack.encode(value)) == row
    assert len(row.body) < len(msgspec.msgpack.encode(value)) / 3


async def test_many_tasks_share_a_row_also_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
        await store.update(lambda tx: [tx.put(task(number)) for number in range(50)])
        await store.update(lambda tx: tx.put(task(50)))
        stored = list(store.view.tasks)
    assert len(spec_ids(path)) == 1
    async with Store(SqliteBackend(path, SEAL), SystemClock()) as store:
        assert list(store.view.tasks) == sorted(stored, key=lambda each: each.id)
        assert len({id(each.spec) for each in store.view.tasks}) == 1
        await store.update(lambda tx: tx.put(task(51)))
    assert len(spec_ids(path)) == 1
    assert not read(path, SEAL).damage()


async def test_what_no_task_names_goes_after_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
        await store.update(lambda tx: [tx.put(task(1)), tx.put(task(2, 2)), tx.put(task(3, 3))])
        await store.update(lambda tx: [tx.remove(task(1)), tx.remove(task(2))])
    assert len(spec_ids(path)) == 3
    async with Store(SqliteBackend(path, SEAL), SystemClock()) as store:
        await store.update(lambda tx: tx.put(task(4, 2)))  # one of the two is wanted again by then
        await store.update(lambda tx: tx.put(task(5, 1)))  # the other after it has gone
    assert not read(path, SEAL).damage()
    async with Store(SqliteBackend(path, SEAL), SystemClock()) as store:
        assert {each.id: each.spec for each in store.view.tasks} == {"t3": spec(3), "t4": spec(2), "t5": spec(1)}
        await store.update(lambda tx: tx.remove(task(5)))
    async with Store(SqliteBackend(path, SEAL), SystemClock()) as store:
        await store.update(lambda tx: tx.put(task(6, 3)))
    assert len(spec_ids(path)) == 2
    assert not read(path, SEAL).damage()


async def test_tasks_without_their_specification_are_damaged_and_named(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with Store(SqliteBackend(path, SEAL, fresh=True), SystemClock()) as store:
        await store.update(lambda tx: [tx.put(task(1)), tx.put(task(2, 2))])
    lost = Referrer().refer(task(1)).spec_id
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE specs SET body = x'80' WHERE id = ?", (lost,))
    found = read(path, SEAL)
    assert set(found.unreadable) == {("spec", lost), ("task", "t1")}
    assert [each.id for each in found.objects] == ["t2"]
    with pytest.raises(Unavailable, match=r"is damaged: 2 objects cannot be read \(spec \w+, task t1\)"):
        await Store(SqliteBackend(path, SEAL), SystemClock()).load()
