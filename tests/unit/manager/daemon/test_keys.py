"""A manager's own files are locked as the cluster says, whatever interrupts that."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.errors import Unavailable
from common.model import Cluster
from manager.bootstrap import create_cluster
from manager.ca.keyring import KeyFile, Locked, new_unlock_key
from manager.config import DataDir, ManagerConfig
from manager.daemon.keys import ManagerKeys
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store

CONFIG = ManagerConfig(node_id="m1", advertise_addr="192.0.2.1:2377", listen_addr=":2377")
FIRST, SECOND = new_unlock_key(), new_unlock_key()


@pytest.fixture
async def data(tmp_path: Path) -> DataDir:
    data = DataDir(tmp_path / "manager")
    await create_cluster(data, CONFIG, ("10.0.0.0/8",), SystemClock(), random.Random(1))
    return data


def locked(key: str) -> Cluster:
    return Cluster(id="c1", unlock_key=key)


def opened(data: DataDir) -> ManagerKeys:
    keys = ManagerKeys(data)
    assert keys.load()
    return keys


def all_bytes(data: DataDir) -> bytes:
    return b"".join(file.read_bytes() for file in data.path.rglob("*") if file.is_file())


async def test_a_lock_is_put_on_changed_and_taken_off(data: DataDir) -> None:
    keys = opened(data)
    store_key = keys.keyring.keys
    keys.relock(locked(FIRST))
    assert b"BEGIN PRIVATE KEY" not in all_bytes(data)
    assert not ManagerKeys(data).load()
    assert KeyFile(data.key).load(FIRST).keys == store_key
    assert keys.files.covers(["192.0.2.1"])
    keys.relock(locked(SECOND))
    assert KeyFile(data.key).load(SECOND).keys == store_key
    assert keys.files.covers(["192.0.2.1"])
    keys.relock(locked(""))
    assert KeyFile(data.key).load().keys == store_key
    assert opened(data).files.covers(["192.0.2.1"])


@pytest.mark.parametrize("after", range(8))
async def test_an_interrupted_lock_opens_with_one_of_the_two(
    data: DataDir, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """The disk fails after so many flushes; nothing of the keys in the clear is left once the lock is on."""
    keys = opened(data)
    store_key, flushes = keys.keyring.keys, 0

    def failing(descriptor: int) -> None:
        nonlocal flushes
        flushes += 1
        if flushes > after:
            raise OSError(28, "No space left on device")
        os.fdatasync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(Unavailable, match="could not be written"):
            keys.relock(locked(FIRST))
    again = ManagerKeys(data)
    if not again.load():
        with pytest.raises(Locked):
            KeyFile(data.key).load()
        unlocking = asyncio.create_task(again.unlock(FIRST))
        await again.opened()
        again.serve()
        await unlocking
    again.relock(locked(FIRST))
    assert again.keyring.keys == store_key
    assert not list(data.path.rglob(".*"))
    assert KeyFile(data.key).load(FIRST).keys == store_key


async def test_the_files_follow_the_cluster(data: DataDir) -> None:
    keys = opened(data)
    async with Store(MemoryBackend(), SystemClock()) as store:
        await store.update(lambda tx: tx.put(locked("")))
        following = asyncio.create_task(keys.follow(store))
        await store.update(lambda tx: tx.put(locked(FIRST)))
        while keys.keyring.unlock_key != FIRST:
            await asyncio.sleep(0)
        following.cancel()
    assert KeyFile(data.key).load(FIRST) == keys.keyring
